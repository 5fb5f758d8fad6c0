import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, lstatSync, mkdirSync, readlinkSync, realpathSync, symlinkSync } from 'node:fs'
import { dirname, join } from 'node:path'

const KEPT = /^\/(usr\/)?(bin|lib|lib64|include|libexec)\//

/** Whether this host is a Debian whose installed packages match. */
export function hasPackages(wanted: RegExp): boolean {
  return existsSync('/usr/bin/dpkg-query') && packageNames(wanted).length > 0
}

/** Copies the programs, libraries and headers of installed Debian packages below `root`, with what those programs are linked to. */
export function layOutPackages(root: string, wanted: RegExp): void {
  const listed = execFileSync('/usr/bin/dpkg-query', ['-L', ...packageNames(wanted)], { encoding: 'utf8', maxBuffer: 64 * 1024 ** 2 })
  const files = [...new Set(listed.split('\n'))].filter((path) => KEPT.test(path) && existsSync(path) && !lstatSync(path).isDirectory())
  for (const path of files) copyOne(root, path)
  const programs = files.filter(
    (path) => !lstatSync(path).isSymbolicLink() && /(\.so(\.[\d.]+)?|\/bin\/[^/]+|\/(cc1|collect2|lto1))$/.test(path),
  )
  for (const library of librariesOf(programs)) copyOne(root, library)
}

function packageNames(wanted: RegExp): string[] {
  const installed = execFileSync('/usr/bin/dpkg-query', ['-W', '-f', '${db:Status-Abbrev} ${binary:Package}\n'], { encoding: 'utf8' })
  return [...installed.matchAll(/^ii {2}(\S+)$/gm)].map((match) => match[1] ?? '').filter((name) => wanted.test(name.replace(/:.*$/, '')))
}

/** A link as a link, and what it leads to beside it. */
function copyOne(root: string, path: string): void {
  const to = join(root, path)
  if (lexists(to)) return
  mkdirSync(dirname(to), { recursive: true })
  if (!lstatSync(path).isSymbolicLink()) {
    cpSync(realpathSync(path), to)
    return
  }
  const target = readlinkSync(path)
  symlinkSync(target, to)
  const leadsTo = target.startsWith('/') ? target : join(dirname(path), target)
  if (existsSync(leadsTo) && !lstatSync(leadsTo).isDirectory()) copyOne(root, leadsTo)
}

function librariesOf(programs: readonly string[]): ReadonlySet<string> {
  const found = new Set<string>()
  for (const program of programs) {
    const text = linkedText(program)
    for (const [, library = ''] of text.matchAll(/(\/\S+) \(0x/g)) found.add(library)
  }
  return found
}

/** Scripts are linked to nothing. */
function linkedText(program: string): string {
  try {
    return execFileSync('ldd', [program], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
  } catch {
    return ''
  }
}

function lexists(path: string): boolean {
  return lstatSync(path, { throwIfNoEntry: false }) !== undefined
}
