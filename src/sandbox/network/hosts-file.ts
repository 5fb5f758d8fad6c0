import { open } from 'node:fs/promises'

export interface NamedAddress {
  readonly name: string
  readonly address: string
}

/** Name of the host itself, for what its owner lets a project reach there. */
export const HOST_NAME = 'host.shiplock.internal'

/**
 * Names that a member finds without asking a resolver: itself, the host, services of its environment, and what the host's own file says about
 * other machines. `localhost` is 127.0.0.1 only: an app that listens on `localhost` must be reachable from outside of its namespace.
 */
export function hostsText(host: string, hostname: string, named: readonly NamedAddress[], ofHost: string): string {
  const others = ofHost.split('\n').filter((line) => {
    const address = /^\s*(\S+)\s+\S/.exec(line)?.[1] ?? ''
    return /^\d+\.\d+\.\d+\.\d+$/.test(address) && !/^(127|169\.254|0)\./.test(address)
  })
  const own = /^[A-Za-z0-9.-]{1,253}$/.test(hostname) && hostname !== 'localhost' ? [`127.0.1.1 ${hostname}`] : []
  const services = named.map(({ name, address }) => `${address} ${name}`)
  return `${['127.0.0.1 localhost', '::1 ip6-localhost ip6-loopback', ...own, `${host} ${HOST_NAME}`, ...services, ...others].join('\n')}\n`
}

const BLOCK = 4096

/**
 * Replaces the content of a file that living sandboxes have mounted, so it must stay the same file: in one write, padded with empty lines,
 * so that nobody reads half of it and nothing of a longer text stays behind.
 */
export async function rewriteMounted(path: string, text: string): Promise<void> {
  const file = await open(path, 'a+', 0o644)
  await file.close()
  const same = await open(path, 'r+')
  try {
    const { size } = await same.stat()
    const length = Math.max(size, Math.ceil(Buffer.byteLength(text) / BLOCK) * BLOCK)
    const content = Buffer.alloc(length, '\n')
    content.write(text)
    await same.write(content, 0, length, 0)
  } finally {
    await same.close()
  }
}
