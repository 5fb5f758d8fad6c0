/** A server in miniature that tests kill: opens a process runtime and starts instances; says `started <id>` for each, then idles. */
import { join } from 'node:path'
import { silentLogger } from '../../src/core/log.ts'
import type { InstanceId } from '../../src/domain/ids.ts'
import { ProcessRuntime } from '../../src/runtimes/process/process-runtime.ts'
import type { InstanceSpec } from '../../src/runtimes/runtime.ts'
import { createSandbox } from '../../src/sandbox/create-sandbox.ts'
import { memoryOf } from './memory-directories.ts'

const [stateDirectory = '', kind, cgroups, specs = '[]'] = process.argv.slice(2)
const memory = await memoryOf(stateDirectory)
const sandbox = await createSandbox({
  memory,
  stateDirectory: join(stateDirectory, 'sandbox'),
  logger: silentLogger,
  kind: kind === 'none' ? 'none' : 'auto',
  cgroups: cgroups === 'true',
})
const runtime = new ProcessRuntime({ stateDirectory, sandbox, memory, logger: silentLogger })
await runtime.open()
process.stdout.write('open\n')
for (const spec of JSON.parse(specs) as InstanceSpec[]) {
  const status = await runtime.start(spec, 1, new AbortController().signal)
  process.stdout.write(`started ${spec.id satisfies InstanceId} ${status.state}\n`)
}
setInterval(() => {}, 1000)
