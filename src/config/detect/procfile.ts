import { LIMITS } from '../../core/limits.ts'
import { printable } from '../../core/printable.ts'
import type { SourceFiles } from '../source-files.ts'

/** What a Procfile names (the Heroku convention): process → command. Of two lines for one process the first counts. */
export type Procfile = ReadonlyMap<string, string>

/** As editors of every system leave it: with a byte order mark, with CRLF, with comments. Lines of another form are passed over. */
export function parseProcfile(text: string): Procfile {
  const processes = new Map<string, string>()
  for (const line of text.replace(/^\uFEFF/, '').split(/\r\n|\r|\n/)) {
    const [, name, command] = /^\s*([A-Za-z0-9_-]+)\s*:\s*(\S.*)$/.exec(line) ?? []
    if (name !== undefined && command !== undefined && !processes.has(name)) processes.set(name, command.trim())
  }
  return processes
}

export async function readProcfile(files: SourceFiles): Promise<Procfile> {
  return parseProcfile((await files.read('Procfile', LIMITS.configBytes)) ?? '')
}

/** The command of the `web` process; null without one. */
export async function procfileWeb(files: SourceFiles): Promise<string | null> {
  return (await readProcfile(files)).get('web') ?? null
}

/** The release command, and a sentence for everything else that a Procfile asks for. */
export function besidesWeb(procfile: Procfile): { readonly release: string | null; readonly reasons: readonly string[] } {
  const release = procfile.get('release') ?? null
  const others = [...procfile.keys()].filter((name) => name !== 'web' && name !== 'release')
  return {
    release,
    reasons: [
      ...(release === null
        ? []
        : [`Procfile names a release command: \`${printable(release)}\`, run once per deployment before the new version takes traffic`]),
      ...(others.length === 0
        ? []
        : [
            `Procfile also names ${others.map(printable).join(', ')}: not started, only web is (make a service of its own of each, with that command as run.start)`,
          ]),
    ],
  }
}
