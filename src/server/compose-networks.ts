import { join } from 'node:path'
import { isLoopback } from '../config/listen-address.ts'
import type { Settings } from '../config/settings.ts'
import type { Finding } from '../contract/server.ts'
import type { Logger } from '../core/log.ts'
import type { ProcessRuntime } from '../runtimes/process/process-runtime.ts'
import { openNetworks } from '../sandbox/network/open-networks.ts'
import type { SandboxNetworks } from '../sandbox/sandbox.ts'

/** Networks of the process runtime's instances. What the world reaches at the edge, instances reach there too. */
export function composeNetworks(settings: Settings, logger: Logger): Promise<SandboxNetworks> {
  const { dataDirectory, instanceNetwork: mode, hostAccess, edgeListen } = settings
  // A proxy of this host before the edge is where the world comes in.
  const front = settings.edgeFront === null ? [] : [settings.edgeFront.port]
  const openPorts = [...front, ...(isLoopback(edgeListen) || edgeListen.port === 0 ? [] : [edgeListen.port])]
  return openNetworks({ stateDirectory: join(dataDirectory, 'sandbox'), mode, hostAccess, openPorts, logger })
}

/** What holds, for `doctor`. `trees` = the runtime of a running server, whose services of before are looked at. */
export async function networkFinding(networks: SandboxNetworks, trees: ProcessRuntime | null): Promise<Finding> {
  const name = 'network'
  if (!networks.isOn) {
    const hint =
      'Ports of this host are free to all instances; that a port is the instance’s own is proved at readiness and while it serves.'
    return { name, status: 'warning', summary: networks.summary, hint }
  }
  const uses = (await trees?.hostUse()) ?? []
  const refused = uses.map(
    ({ title, port }) => `${title} uses 127.0.0.1:${port} until its next start (SHIPLOCK_HOST_ACCESS=${title.split('/')[0]}=${port})`,
  )
  const hints = [...(await networks.obstacles()), ...refused]
  return {
    name,
    status: hints.length === 0 ? 'ok' : 'warning',
    summary: networks.summary,
    hint: hints.length === 0 ? null : `${hints.join('; ')}.`,
  }
}
