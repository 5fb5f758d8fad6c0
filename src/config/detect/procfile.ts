import { LIMITS } from '../../core/limits.ts'
import type { SourceFiles } from '../source-files.ts'

/** The command of the `web` process in a Procfile (the Heroku convention); null without one. */
export async function procfileWeb(files: SourceFiles): Promise<string | null> {
  const text = await files.read('Procfile', LIMITS.configBytes)
  const match = /^web:[ \t]*(\S.*)$/m.exec(text ?? '')
  return match?.[1]?.trim() ?? null
}
