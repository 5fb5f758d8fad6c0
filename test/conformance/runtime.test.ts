import { FakeHost, FakeRuntime } from '../../src/runtimes/fake.ts'
import { processHarness } from '../support/runtime-harness.ts'
import { processSuite } from './runtime-process-suite.ts'
import { runtimeSuite } from './runtime-suite.ts'

const CONFINED = () => processHarness({ kind: 'auto', cgroups: true, networks: {} })
const BARE = () => processHarness({ kind: 'none', cgroups: true })
const BAREST = () => processHarness({ kind: 'none', cgroups: false })

runtimeSuite('process, confined as far as this host allows', CONFINED, true)
processSuite('process, confined as far as this host allows', CONFINED, { sandbox: false, cgroups: false, networks: false })
runtimeSuite('process without a sandbox', BARE, true)
processSuite('process without a sandbox', BARE, { sandbox: true, cgroups: false, networks: true })
runtimeSuite('process with neither sandbox nor cgroups', BAREST, true)
processSuite('process with neither sandbox nor cgroups', BAREST, { sandbox: true, cgroups: true, networks: true })

runtimeSuite(
  'fake',
  async () => {
    const host = new FakeHost()
    let runtime = new FakeRuntime({ host })
    return {
      get runtime() {
        return runtime
      },
      sandbox: null,
      stateDirectory: '',
      reopen: async () => {
        runtime = new FakeRuntime({ host })
        return runtime
      },
      close: async () => {
        await host.close()
        return []
      },
    }
  },
  false,
)
