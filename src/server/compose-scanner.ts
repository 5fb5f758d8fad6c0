import { join } from 'node:path'
import type { Settings } from '../config/settings.ts'
import type { ContainerEngine } from '../container-engine/engine.ts'
import { systemClock } from '../core/clock.ts'
import { findEngineImage } from '../runtimes/docker/image-of.ts'
import type { LeakScanner } from '../scanner/leak-scanner.ts'
import { createLeakScanner } from '../scanner/leaks.ts'
import { DEFAULT_ON_FAILURE, type Scanner } from '../scanner/scanner.ts'
import { createTrivyScanner } from '../scanner/trivy.ts'
import type { ImageEngine } from '../scanner/trivy-command.ts'
import { parseReportOffLoop } from './off-loop.ts'

/** `engine`: the one that has the images; null = there is none. */
export function composeScanner(settings: Settings, engine: ContainerEngine | null): Scanner {
  const { scanWithoutScanner: all } = settings
  return createTrivyScanner({
    program: settings.trivy,
    searchPath: settings.searchPath,
    cacheDirectory: settings.trivyCacheDirectory ?? join(settings.dataDirectory, 'trivy'),
    server: settings.trivyServer === null ? null : { url: settings.trivyServer, token: settings.trivyToken },
    databaseRepositories: settings.trivyDbRepository,
    javaDatabaseRepositories: settings.trivyJavaDbRepository,
    isOffline: settings.trivyOffline,
    timeoutMs: settings.scanTimeoutMs,
    engine: engine === null ? null : imageEngine(engine),
    rules: { onFailure: all === null ? DEFAULT_ON_FAILURE : { image: all, tree: all }, reuseMs: settings.scanReuseMs },
    clock: systemClock,
    readReport: parseReportOffLoop,
  })
}

/** Looks into images where they are. */
export function composeLeakScanner(engine: ContainerEngine | null): LeakScanner {
  return createLeakScanner({
    saveImage: async (artifact, signal) => {
      const image = engine === null ? null : await findEngineImage(engine, artifact, signal)
      if (engine === null || image === null) return null
      const { body } = await engine.stream('GET', `/images/${encodeURIComponent(image.id)}/get`, { signal, timeoutMs: null })
      return body
    },
  })
}

/** What is scanned is what will run: found by the same rule. */
function imageEngine(engine: ContainerEngine): ImageEngine {
  return {
    environment: { DOCKER_HOST: engine.address },
    findImage: async (artifact, signal) => (await findEngineImage(engine, artifact, signal))?.id ?? null,
  }
}
