import type { Builder } from '../../src/builders/builder.ts'
import { createDockerfileBuilder } from '../../src/builders/dockerfile/dockerfile-builder.ts'
import type { ContainerEngine } from '../../src/container-engine/engine.ts'
import { parseEngineAddress } from '../../src/container-engine/engine-address.ts'
import { createContainerEngine } from '../../src/container-engine/http-engine.ts'
import type { MemoryDirectory } from '../../src/core/memory-directory.ts'
import type { TestDockerd } from './dockerd.ts'
import { SYSTEM_PATH } from './test-network.ts'

/** A Docker that gives itself out as Podman, which has no BuildKit. */
export function withoutBuildKit(real: ContainerEngine): ContainerEngine {
  return {
    address: real.address,
    isLocal: real.isLocal,
    isReachable: true,
    version: async (signal) => ({ ...(await real.version(signal)), name: 'Podman Engine 4.3.1' }),
    json: (method, path, request) => real.json(method, path, request),
    stream: (method, path, request) => real.stream(method, path, request),
    close: () => real.close(),
  }
}

/** A builder on an engine without BuildKit. */
export function createClassicBuilder(dockerd: TestDockerd, memory: MemoryDirectory): Builder {
  const address = parseEngineAddress(dockerd.host)
  if ('problem' in address) throw new Error(address.problem)
  return createDockerfileBuilder({
    engine: withoutBuildKit(createContainerEngine({ address })),
    owner: 'test',
    memory,
    searchPath: SYSTEM_PATH,
  })
}
