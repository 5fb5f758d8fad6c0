import { existsSync } from 'node:fs'
import { ShiplockError } from '../../core/errors.ts'
import { runCommand } from '../../core/exec.ts'
import { LIMITS } from '../../core/limits.ts'
import { admitGroup, hostRuleset, memberRuleset, routerRuleset } from './rulesets.ts'

/** Programs of the host that make namespaces and rules, by path. */
export interface NetworkTools {
  readonly ip: string
  readonly nft: string
  readonly nsenter: string
  readonly unshare: string
}

/** Where `ip netns` keeps names of namespaces. */
export const NAMESPACES = '/run/netns'
const PATH = '/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin'

/** Looks for the programs and tries them in a namespace that is gone afterwards. A text says what is missing. */
export async function findNetworkTools(): Promise<NetworkTools | string> {
  if (process.getuid?.() !== 0) return 'the server does not run as root'
  const [ip, nft, nsenter, unshare] = [findProgram('ip'), findProgram('nft'), findProgram('nsenter'), findProgram('unshare')]
  if (ip === null) return 'the program ip is not there (apt-get install iproute2)'
  if (nft === null) return 'the program nft is not there (apt-get install nftables)'
  if (nsenter === null || unshare === null) return 'the program nsenter is not there (apt-get install util-linux)'
  const tools = { ip, nft, nsenter, unshare }
  const problem = await tryOut(tools)
  return problem === null ? tools : `this kernel or container does not allow it (${problem})`
}

/** IP NFT: stdin is a ruleset. */
const TRY_SCRIPT = `
"$1" link add try0 type veth peer name eth0 && echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet && exec "$2" -f -
`.trim()

/** Every kind of rule that will be needed, in a namespace of its own: their presence as programs says nothing in a container. */
async function tryOut(tools: NetworkTools): Promise<string | null> {
  const plan = { hostInterface: 'try0', hostTable: 'try', range: '10.64.0.0/20', host: '10.64.0.1', router: '10.64.0.2' }
  const rules = [
    hostRuleset(plan, { ports: [5432], open: [80], resolver: '127.0.0.1', uplinks: ['eth0'], guarded: ['eth0'] }),
    routerRuleset(plan, { groups: [1001], hostPorts: [{ group: 1001, port: 5432 }], resolvers: ['169.254.0.53'] }),
    admitGroup(1002, [5432]),
    memberRuleset(plan, 8080, [5432]),
  ]
  const args = ['--net', '--mount', '--', '/bin/sh', '-c', TRY_SCRIPT, 'shiplock', tools.ip, tools.nft]
  try {
    await runTool(tools.unshare, args, rules.join('\n'))
    return null
  } catch (error) {
    return (error as Error).message
  }
}

/** stdout. @throws RUNTIME_UNAVAILABLE with the first line of what the program complained about. */
export async function runTool(file: string, args: readonly string[], input = ''): Promise<string> {
  const result = await runCommand(file, args, { env: { PATH, LC_ALL: 'C' }, input, timeoutMs: LIMITS.networkToolMs })
  if (result.exitCode === 0) return result.stdout
  const said = result.stderrTail.find((line) => line.trim() !== '') ?? (result.timedOut ? 'no answer' : `exit code ${result.exitCode}`)
  throw new ShiplockError('RUNTIME_UNAVAILABLE', `the network of an instance could not be made: ${said}`, {
    hint: '`shiplock doctor` says what holds here. SHIPLOCK_INSTANCE_NETWORK=host goes without networks of their own.',
    details: { program: file, arguments: args.slice(0, 4) },
  })
}

export function findProgram(name: string): string | null {
  return (
    PATH.split(':')
      .map((directory) => `${directory}/${name}`)
      .find((path) => existsSync(path)) ?? null
  )
}
