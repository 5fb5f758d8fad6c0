import { createHash } from 'node:crypto'
import { existsSync, readdirSync, realpathSync } from 'node:fs'
import { join } from 'node:path'
import { silentLogger } from '../../src/core/log.ts'
import { openNetworks } from '../../src/sandbox/network/open-networks.ts'

/** What is on this host of the networks of a sandbox's directory: namespaces, interface, entry of the register, and with it the route. */
export function networksOf(sandboxDirectory: string): readonly string[] {
  const engine = engineOf(sandboxDirectory)
  return ['/run/netns', '/proc/sys/net/ipv4/conf', '/run/shiplock-networks'].flatMap((directory) =>
    existsSync(directory)
      ? readdirSync(directory).flatMap((name) =>
          name.startsWith(`shiplock-${engine}`) || name === `sl${engine}` || name === engine ? [join(directory, name)] : [],
        )
      : [],
  )
}

/** As the next server would that wants none of it. Everything that ran there must have ended. */
export async function removeNetworks(sandboxDirectory: string): Promise<void> {
  if (networksOf(sandboxDirectory).length === 0) return
  const options = { stateDirectory: sandboxDirectory, mode: 'host', hostAccess: new Map(), openPorts: [], logger: silentLogger }
  const networks = await openNetworks(options)
  await networks.open(() => false)
  await networks.close()
}

function engineOf(directory: string): string {
  const path = existsSync(directory) ? realpathSync(directory) : directory
  return createHash('sha256').update(path).digest('hex').slice(0, 12)
}
