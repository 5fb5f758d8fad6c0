import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { acquireDirectoryLock } from '../../src/core/directory-lock.ts'
import { isAlive, type ProcessIdentity } from '../../src/core/process-identity.ts'
import { eventually } from './eventually.ts'

/**
 * A network namespace of a test's own, joined to the host by a veth pair: what runs in it may rewrite all of iptables without touching
 * the host's. Several test runs may share the host, so every network claims a number that decides its addresses.
 */
export interface TestNetwork {
  readonly number: number
  /** Name under /run/netns. */
  readonly namespace: string
  readonly hostInterface: string
  readonly innerInterface: string
  /** The host, seen from inside. */
  readonly hostAddress: string
  /** Where the host reaches what listens in the namespace. */
  readonly innerAddress: string
  /** For containers; the host has a route to it. */
  readonly containerSubnet: string
  /** First address of the subnet, with its mask. */
  readonly bridgeAddress: string
}

/** Claims live here: one directory per number, and what must be put back when the last one goes. */
const CLAIMS = '/run/shiplock-test-networks'
const FORWARD_BEFORE = join(CLAIMS, 'ip-forward-before')
const IP_FORWARD = '/proc/sys/net/ipv4/ip_forward'
const NUMBERS = 250

interface Claim {
  readonly keeper: ProcessIdentity
  /** Data of the dockerd that uses the network. */
  readonly directory: string
}

export function networkOf(number: number): TestNetwork {
  return {
    number,
    namespace: `slt${number}`,
    hostInterface: `slt${number}h`,
    innerInterface: `slt${number}n`,
    hostAddress: `10.213.${number}.1`,
    innerAddress: `10.213.${number}.2`,
    containerSubnet: `10.214.${number}.0/24`,
    bridgeAddress: `10.214.${number}.1/28`,
  }
}

/** A network that nobody else uses; `keeper` is the process that answers for its removal. */
export function openTestNetwork(claim: Claim): Promise<TestNetwork> {
  return underLock(() => {
    const network = takeNumber(claim)
    try {
      if (!existsSync(FORWARD_BEFORE)) writeFileSync(FORWARD_BEFORE, readFileSync(IP_FORWARD, 'utf8'))
      writeFileSync(IP_FORWARD, '1')
      build(network)
      return network
    } catch (error) {
      dismantle(network)
      throw error
    }
  })
}

/** Removes it; a missing one is success. The last one puts the host's forwarding back. */
export function closeTestNetwork(number: number): Promise<void> {
  return underLock(() => dismantle(networkOf(number)))
}

/** What was left by a run whose processes were all killed: the directories of their daemons, by network number. */
export function abandonedNetworks(): ReadonlyMap<number, string> {
  const abandoned = new Map<number, string>()
  for (const number of claimed()) {
    const claim = readClaim(number)
    if (claim !== null && !isAlive(claim.keeper)) abandoned.set(number, claim.directory)
  }
  return abandoned
}

function takeNumber(claim: Claim): TestNetwork {
  const used = `${output('ip', ['-o', 'address'])}${output('ip', ['route'])}${output('ip', ['netns', 'list'])}`
  for (let number = 1; number <= NUMBERS; number++) {
    const network = networkOf(number)
    const isUsed = [`10.213.${number}.`, `10.214.${number}.`, `${network.namespace} `, `${network.namespace}\n`].some((text) =>
      used.includes(text),
    )
    if (isUsed || existsSync(join(CLAIMS, String(number)))) continue
    mkdirSync(join(CLAIMS, String(number)))
    writeFileSync(join(CLAIMS, String(number), 'claim.json'), JSON.stringify(claim))
    return network
  }
  throw new Error('no test network is free')
}

function build(network: TestNetwork): void {
  const { namespace, hostInterface, innerInterface, hostAddress, innerAddress, containerSubnet } = network
  const inside = ['-n', namespace]
  ip('netns', 'add', namespace)
  ip('link', 'add', hostInterface, 'type', 'veth', 'peer', 'name', innerInterface)
  ip('link', 'set', innerInterface, 'netns', namespace)
  ip('address', 'add', `${hostAddress}/30`, 'dev', hostInterface)
  ip('link', 'set', hostInterface, 'up')
  ip(...inside, 'address', 'add', `${innerAddress}/30`, 'dev', innerInterface)
  ip(...inside, 'link', 'set', innerInterface, 'up')
  ip(...inside, 'link', 'set', 'lo', 'up')
  ip(...inside, 'route', 'add', 'default', 'via', hostAddress)
  ip('route', 'add', containerSubnet, 'via', innerAddress)
  for (const rule of hostRules(network)) run('iptables', ['-w', '-t', rule.table, '-I', ...rule.rule])
}

/** The way out (package registries), also where a user's own Docker has set FORWARD to DROP. */
function hostRules({ number, hostInterface }: TestNetwork) {
  const mark = ['-m', 'comment', '--comment', `shiplock-test-${number}`]
  return [
    { table: 'nat', rule: ['POSTROUTING', '-s', `10.213.${number}.0/30`, '!', '-o', hostInterface, ...mark, '-j', 'MASQUERADE'] },
    { table: 'filter', rule: ['FORWARD', '-i', hostInterface, ...mark, '-j', 'ACCEPT'] },
    { table: 'filter', rule: ['FORWARD', '-o', hostInterface, ...mark, '-j', 'ACCEPT'] },
  ]
}

function dismantle(network: TestNetwork): void {
  for (const { table, rule } of hostRules(network)) attempt('iptables', ['-w', '-t', table, '-D', ...rule])
  attempt('ip', ['link', 'delete', network.hostInterface])
  attempt('ip', ['netns', 'delete', network.namespace])
  rmSync(join(CLAIMS, String(network.number)), { recursive: true, force: true })
  if (claimed().length > 0 || !existsSync(FORWARD_BEFORE)) return
  writeFileSync(IP_FORWARD, readFileSync(FORWARD_BEFORE, 'utf8'))
  rmSync(FORWARD_BEFORE)
}

function claimed(): number[] {
  if (!existsSync(CLAIMS)) return []
  return readdirSync(CLAIMS)
    .map(Number)
    .filter((number) => number > 0)
}

function readClaim(number: number): Claim | null {
  try {
    return JSON.parse(readFileSync(join(CLAIMS, String(number), 'claim.json'), 'utf8'))
  } catch {
    return null
  }
}

async function underLock<T>(act: () => T): Promise<T> {
  mkdirSync(CLAIMS, { recursive: true })
  const lock = await eventually(() => acquireDirectoryLock(CLAIMS, 'test-networks'), { withinMs: 60_000 })
  try {
    return act()
  } finally {
    await lock.release()
  }
}

function ip(...args: string[]): void {
  run('ip', args)
}

function run(file: string, args: readonly string[]): void {
  execFileSync(file, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: SYSTEM_PATH } })
}

function attempt(file: string, args: readonly string[]): void {
  try {
    run(file, args)
  } catch {}
}

function output(file: string, args: readonly string[]): string {
  return execFileSync(file, args, { encoding: 'utf8', env: { PATH: SYSTEM_PATH } })
}

export const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
