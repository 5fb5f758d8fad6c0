import { execFileSync, spawn } from 'node:child_process'
import { chmodSync, copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { removeTree } from '../../src/core/remove-tree.ts'
import { dockerClient, type TestDockerd } from './dockerd.ts'
import { inTurn } from './in-turn.ts'
import { layOutPackages } from './package-files.ts'
import { SYSTEM_PATH } from './test-network.ts'

/**
 * `node`: this host's Node with npm, its libraries, and busybox. `busybox`: a static busybox with its applets. `python`: Debian's Python of
 * this host. `compiler`: `node` with the C compiler of this host.
 */
export type BaseImage = 'node' | 'busybox' | 'python' | 'compiler'

const NAMES = {
  node: 'shiplock-test/node:20',
  busybox: 'shiplock-test/busybox:1',
  python: 'shiplock-test/python:3',
  compiler: 'shiplock-test/node-gcc:20',
} as const
/** Of Debian and Ubuntu, whatever their versions. */
export const PACKAGES = {
  python: /^((lib)?python3(\.\d+)?(-minimal|-stdlib)?|libc6)$/,
  compiler:
    /^(gcc(-\d+)?|cpp(-\d+)?|binutils(-common|-x86-64-linux-gnu|-aarch64-linux-gnu)?|libc6(-dev)?|linux-libc-dev|libgcc-\d+-dev|libcrypt-dev)$/,
} as const
/** Users that images name: root, one as in the official Node image, and nobody. */
const PASSWD = 'root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000:node:/home/node:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n'
const GROUP = 'root:x:0:\nnode:x:1000:\nnogroup:x:65534:\n'

const imported = new WeakMap<TestDockerd, Map<BaseImage, Promise<string>>>()

/**
 * Makes a base image from the programs of this host, since tests pull nothing from outside; once per engine. Resolves with its name.
 * The node image has the name `node:20-slim` too, which Dockerfiles of real apps begin with.
 */
export function importBaseImage(dockerd: TestDockerd, kind: BaseImage): Promise<string> {
  const known = imported.get(dockerd) ?? new Map<BaseImage, Promise<string>>()
  imported.set(dockerd, known)
  const image = known.get(kind) ?? inTurn(dockerd.directory, 'test-image', () => importOnce(dockerd, kind))
  known.set(kind, image)
  return image
}

async function importOnce(dockerd: TestDockerd, kind: BaseImage): Promise<string> {
  const name = NAMES[kind]
  if ((await dockerd.docker(['image', 'inspect', name])).exitCode === 0) return name
  const root = mkdtempSync('/tmp/sl-image-')
  try {
    layOutBusybox(root)
    if (kind === 'node' || kind === 'compiler') layOutNode(root)
    if (kind === 'python' || kind === 'compiler') layOutPackages(root, PACKAGES[kind])
    if (kind === 'compiler') symlinkSync('gcc', join(root, 'usr/bin/cc'))
    await importTree(dockerd, root, name, kind === 'node' ? 'CMD ["node"]' : 'CMD ["sh"]')
    if (kind === 'node') await dockerd.dockerText('tag', name, 'node:20-slim')
    return name
  } finally {
    await removeTree(root)
  }
}

function layOutBusybox(root: string): void {
  for (const directory of ['bin', 'etc', 'home/node', 'proc', 'root', 'sys', 'tmp', 'usr/bin', 'usr/local/bin', 'var/tmp']) {
    mkdirSync(join(root, directory), { recursive: true })
  }
  chmodSync(root, 0o755)
  for (const directory of ['tmp', 'var/tmp']) chmodSync(join(root, directory), 0o1777)
  const program = ['/bin/busybox', '/usr/bin/busybox'].find((path) => existsSync(path))
  if (program === undefined) throw new Error('busybox-static is not installed')
  copyFileSync(program, join(root, 'bin/busybox'))
  chmodSync(join(root, 'bin/busybox'), 0o755)
  const applets = execFileSync(program, ['--list'], { encoding: 'utf8' }).split('\n')
  for (const applet of applets) if (applet !== '' && applet !== 'busybox') symlinkSync('busybox', join(root, 'bin', applet))
  symlinkSync('/bin/env', join(root, 'usr/bin/env'))
  writeFileSync(join(root, 'etc/passwd'), PASSWD)
  writeFileSync(join(root, 'etc/group'), GROUP)
}

function layOutNode(root: string): void {
  const node = realpathSync(process.execPath)
  placeProgram(root, node, 'usr/local/bin/node')
  // Of util-linux, as in every real image of this kind: shiplock-once needs it.
  placeProgram(root, '/usr/bin/flock', 'usr/bin/flock')
  const npm = join(dirname(node), '../lib/node_modules/npm')
  if (!existsSync(npm)) return
  cpSync(npm, join(root, 'usr/local/lib/node_modules/npm'), { recursive: true, verbatimSymlinks: true })
  symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', join(root, 'usr/local/bin/npm'))
}

/** With the libraries that it is linked to. */
function placeProgram(root: string, program: string, path: string): void {
  place(program, join(root, path))
  const listed = execFileSync('ldd', [program], { encoding: 'utf8' })
  for (const [, library = ''] of listed.matchAll(/(\/\S+) \(0x/g)) place(realpathSync(library), join(root, library))
}

function place(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true })
  // Not a hard link: others may link the same file at this moment, and tar then says that it changed.
  copyFileSync(from, to)
}

async function importTree(dockerd: TestDockerd, root: string, name: string, change: string): Promise<void> {
  const env = { PATH: SYSTEM_PATH, HOME: dockerd.directory, DOCKER_HOST: dockerd.host }
  const search = 'ENV PATH=/usr/local/bin:/usr/bin:/bin'
  const tar = spawn('tar', ['--numeric-owner', '--owner=0', '--group=0', '-C', root, '-cf', '-', '.'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const docker = spawn(dockerClient(), ['import', '--change', search, '--change', change, '-', name], {
    stdio: ['pipe', 'ignore', 'inherit'],
    env,
  })
  tar.stdout.pipe(docker.stdin)
  const ended = [tar, docker].map(
    (child) => new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve)),
  )
  const codes = await Promise.all(ended)
  if (codes.some((code) => code !== 0)) throw new Error(`the import of ${name} failed (${codes.join(', ')})`)
}
