import { expect } from 'vitest'
import type { HostileWorld } from './hostile-world.ts'

/** What a shell of his is told to do, in builds and in the app. DATA = the server's directory, VICTIM = that of an instance of another project. */
export const COMMANDS: readonly [string, string][] = [
  ['read the server’s files', 'cat DATA/admin-token DATA/secret-key DATA/edge/probe-token /etc/shadow; ls -laR DATA 2>&1 | head -200'],
  ['read the files of others', 'ls -la VICTIM; cat VICTIM/* VICTIM/*/* VICTIM/*/*/*'],
  [
    'read what processes say of themselves',
    "cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n'; cat /proc/*/maps /proc/net/unix | head -500",
  ],
  [
    'walk through the roots of other processes',
    'for p in /proc/[0-9]*; do cat $p/root/DATA/admin-token $p/cwd/private.txt $p/root/etc/shadow; ls $p/fd; done',
  ],
  [
    'search for secrets',
    'find / -xdev -type f \\( -name admin-token -o -name secret-key -o -name "environment*" -o -name private.txt -o -name "*.key" \\) -exec cat {} + | head -c 1000000',
  ],
  [
    'talk to sockets of the server',
    socketsOf(['DATA/edge/control.sock', 'DATA/postgres/run/.s.PGSQL.5432', '/var/run/docker.sock', '/run/docker.sock']),
  ],
  [
    'become somebody else',
    'id; unshare -Urmn id; unshare -m true; chroot / id; mount -t tmpfs x /mnt; mknod /tmp/disk b 8 0; nsenter -t 1 -a id; su -c id; sudo -n id',
  ],
  [
    'change the server’s files',
    'echo x > DATA/hostile; rm -rf DATA/edge DATA/instances VICTIM; touch /tmp/hostile /var/tmp/hostile /dev/shm/hostile',
  ],
  [
    'plant links in his own place',
    'ln -sf DATA/admin-token token; ln -sf / everything; ln DATA/admin-token hard; cp -r /proc/1/root/etc copied; cat token hard',
  ],
  [
    'end everything he can see',
    'for p in /proc/[0-9]*; do n=${p#/proc/}; [ $n -gt 2 ] && [ $n != $$ ] && kill -STOP $n; kill -CONT $n; done 2>/dev/null; kill -9 $(pgrep -f shiplock) $(pgrep -f story-app); true',
  ],
]

function socketsOf(paths: readonly string[]): string {
  const program = `for (const path of ${JSON.stringify(paths)}) require('net').connect(path).on('connect', function () { console.log('REACHED ' + path); this.end() }).on('error', (e) => console.log(path, e.code))`
  return `node -e '${program.replaceAll("'", '"')}'`
}

/** A command that tries the instances of all others, and these places. */
export async function reachOf(world: HostileWorld, places: readonly { readonly host: string; readonly port: number }[]): Promise<string> {
  const instances = await world.addresses()
  expect(instances.length).toBeGreaterThan(3)
  const program = `for (const { host, port } of ${JSON.stringify([...places, ...instances])}) require("net").connect({ host, port, timeout: 3000 }).on("connect", function () { console.log("REACHED", host, port); this.destroy() }).on("timeout", function () { this.destroy() }).on("error", (e) => console.log(host, port, e.code))`
  return `node -e '${program}'`
}

/** With the places of this world. */
export const filled = (command: string, world: HostileWorld) =>
  command
    .replaceAll('DATA', world.server.dataDirectory)
    .replaceAll('VICTIM', world.instanceDirectories().find((path) => !path.includes('evil')) ?? '/nowhere')
