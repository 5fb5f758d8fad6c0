import { parse as parseToml } from 'smol-toml'
import { printable } from '../../core/printable.ts'
import { readYaml } from '../manifest/read-yaml.ts'
import type { SourceFiles } from '../source-files.ts'
import type { Detection } from './detector.ts'
import { inPython, withPython3 } from './python-start.ts'

type Found = Extract<Detection, { found: true }>

/** What the configuration of another platform says that is of use here; null where it says nothing of it. */
export interface PlatformWords {
  readonly start: string | null
  readonly release: string | null
  readonly healthPath: string | null
}

type Data = Readonly<Record<string, unknown>>

/** Each platform's file, how it is written and where it says what. */
const PLATFORMS: readonly {
  readonly file: string
  readonly format: 'toml' | 'json' | 'yaml'
  readonly words: (data: Data) => PlatformWords
}[] = [
  {
    file: 'fly.toml',
    format: 'toml',
    words: (data) => {
      const service = record(data.http_service)
      const check = [service.checks, record(list(data.services)[0]).http_checks].flatMap(list).map(record)[0]
      return words(null, record(data.deploy).release_command, check?.path)
    },
  },
  { file: 'railway.json', format: 'json', words: (data) => railway(record(data.deploy)) },
  { file: 'railway.toml', format: 'toml', words: (data) => railway(record(data.deploy)) },
  { file: 'nixpacks.toml', format: 'toml', words: (data) => words(record(data.start).cmd, null, null) },
  {
    file: 'render.yaml',
    format: 'yaml',
    words: (data) => {
      const web = list(data.services)
        .map(record)
        .filter(({ type, rootDir }) => type === 'web' && rootDir === undefined)
      const [only] = web
      if (only === undefined || web.length > 1) return words(null, null, null)
      return words(only.startCommand, only.preDeployCommand, only.healthCheckPath)
    },
  },
  {
    file: 'app.json',
    format: 'json',
    words: (data) =>
      words(
        null,
        null,
        list(record(data.healthchecks).web)
          .map(record)
          .find(({ path }) => path !== undefined)?.path,
      ),
  },
  { file: 'config/deploy.yml', format: 'yaml', words: (data) => words(null, null, record(record(data.proxy).healthcheck).path) },
]

/** The words of every platform whose file is there and can be read; what can't be read says nothing. */
export async function platformWords(files: SourceFiles): Promise<readonly (PlatformWords & { readonly file: string })[]> {
  const found: (PlatformWords & { readonly file: string })[] = []
  for (const { file, format, words: wordsOf } of PLATFORMS) {
    const text = await files.readIfText(file)
    const data = text === null ? null : dataOf(text, file, format)
    if (data !== null) found.push({ file, ...wordsOf(data) })
  }
  return found
}

/** Adds what another platform's file says and detection can't know: the path that tells health, and the release command. */
export async function withPlatforms(files: SourceFiles, found: Found): Promise<Found> {
  if (found.input.run?.start === undefined) return found
  let deploy = found.input.deploy ?? {}
  const reasons: string[] = []
  for (const { file, release, healthPath } of await platformWords(files)) {
    const taken: string[] = []
    if (healthPath !== null && deploy.readinessCheck === undefined) {
      deploy = { ...deploy, readinessCheck: { httpGet: { path: healthPath } } }
      taken.push(`its health path ${printable(healthPath)} must answer before the new version takes traffic`)
    }
    if (release !== null && deploy.releaseCommand === undefined) {
      deploy = { ...deploy, releaseCommand: found.what.startsWith('Python') ? inPython(withPython3(release)) : release }
      taken.push(`its release command \`${printable(release)}\` runs once per deployment`)
    }
    reasons.push(
      `${file} is there: ${taken.length === 0 ? 'nothing of it is taken over' : `${taken.join(', ')}; nothing else of it is taken over`}`,
    )
  }
  const input = Object.keys(deploy).length === 0 ? found.input : { ...found.input, deploy }
  return { ...found, input, reasons: [...found.reasons, ...reasons] }
}

function railway(deploy: Data): PlatformWords {
  return words(deploy.startCommand, list(deploy.preDeployCommand)[0] ?? deploy.preDeployCommand, deploy.healthcheckPath)
}

function words(start: unknown, release: unknown, healthPath: unknown): PlatformWords {
  const path = textOf(healthPath)
  return { start: textOf(start), release: textOf(release), healthPath: path !== null && /^\/[\x21-\x7e]{0,500}$/.test(path) ? path : null }
}

function dataOf(text: string, file: string, format: 'toml' | 'json' | 'yaml'): Data | null {
  try {
    if (format === 'yaml') return record(readYaml(text, file, new Set()).data)
    return record(format === 'toml' ? parseToml(text) : JSON.parse(text.replace(/^\uFEFF/, '')))
  } catch {
    return null
  }
}

function record(value: unknown): Data {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Data) : {}
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : []
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' && value.trim() !== '' && value.length <= 1000 && !/[\0\n]/.test(value) ? value.trim() : null
}
