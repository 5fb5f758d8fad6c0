import type { SandboxNetwork } from '../sandbox.ts'

/** HOSTS RESOLV -- COMMAND…: shows them in place of the host's files, to this command only. */
const FILES_SCRIPT = `
while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 125; shift 2; done
shift
exec "$@"
`.trim()

/** Arguments that run what follows in that network; its files are bound over the host's where nothing else shows them (no bubblewrap). */
export function enterNetwork(network: SandboxNetwork | null, showsFiles: boolean): readonly string[] {
  if (network === null) return []
  const enter = ['/usr/bin/nsenter', `--net=${network.namespace}`, '--']
  if (showsFiles) return enter
  const files = network.files.flatMap(({ source, target }) => [source, target])
  return [...enter, '/usr/bin/unshare', '--mount', '--', '/bin/sh', '-c', FILES_SCRIPT, 'shiplock', ...files, '--']
}
