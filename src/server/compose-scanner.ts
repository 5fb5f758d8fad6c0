import { join } from 'node:path'
import type { Settings } from '../config/settings.ts'
import { systemClock } from '../core/clock.ts'
import { DEFAULT_ON_FAILURE, type Scanner } from '../scanner/scanner.ts'
import { createTrivyScanner } from '../scanner/trivy.ts'

/** `engine`: how Trivy reaches the container engine that has the images, as variables of its environment; null = there is none. */
export function composeScanner(settings: Settings, engine: Readonly<Record<string, string>> | null = null): Scanner {
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
    engine,
    rules: { onFailure: all === null ? DEFAULT_ON_FAILURE : { image: all, tree: all }, reuseMs: settings.scanReuseMs },
    clock: systemClock,
  })
}
