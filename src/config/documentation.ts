import { z } from 'zod'
import { LIMITS } from '../core/limits.ts'
import { DIALECTS } from './dialects/dialects.ts'
import { manifestSchema } from './manifest/schema.ts'
import { serviceDefaults } from './service-defaults.ts'
import type { SettingDefinition } from './setting-definition.ts'
import { SETTING_DEFINITIONS } from './setting-definitions.ts'
import { settingFileKey } from './settings.ts'

/** The tables of docs/configuration.md that are printed from the code, by the name of their markers. */
export function documentationTables(): Readonly<Record<string, string>> {
  return { keys: keysTable(), settings: settingsTable(), files: filesTable(), bounds: boundsTable() }
}

/** Replaces what stands between `<!-- name -->` and `<!-- /name -->`. A missing marker is a mistake in the document. */
export function fillTables(document: string, tables: Readonly<Record<string, string>>): string {
  let text = document
  for (const [name, table] of Object.entries(tables)) {
    const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`]
    const [from, to] = [text.indexOf(begin), text.indexOf(end)]
    if (from < 0 || to < from) throw new Error(`docs/configuration.md has no ${begin} … ${end}`)
    text = `${text.slice(0, from + begin.length)}\n${table}\n${text.slice(to)}`
  }
  return text
}

function settingsTable(): string {
  const rows = Object.entries(SETTING_DEFINITIONS)
    .map(([key, definition]) => ({
      key: settingFileKey(key as keyof typeof SETTING_DEFINITIONS),
      ...(definition as SettingDefinition<unknown>),
    }))
    .filter((row) => row.isInternal !== true)
    .map((row) => [`\`${row.variable}\``, `\`${row.key}\``, row.defaultText, row.about, `\`${row.example}\``])
  return table(['Variable', 'Key in shiplock.server.yaml', 'Default', 'What it does', 'Example'], rows)
}

function filesTable(): string {
  return table(
    ['Order', 'File', 'Kind'],
    DIALECTS.map((dialect, index) => [String(index + 1), dialect.fileNames.map((name) => `\`${name}\``).join(' or '), dialect.name]),
  )
}

const BOUNDS: readonly (readonly [what: string, bound: number, unit: string])[] = [
  ['a configuration file', LIMITS.configBytes / 1024, 'KiB'],
  ['its keys and list items, together', LIMITS.configNodes, ''],
  ['its levels', LIMITS.configDepth, ''],
  ['services in it', LIMITS.services, ''],
  ['items of one list', LIMITS.configListItems, ''],
  ['one pattern (`deployFiles`, `cache`, `watch`, a line of an ignore file)', LIMITS.patternCharacters, 'characters'],
  ['ways that the braces of one pattern make', LIMITS.patternAlternatives, ''],
  ['one `.gitignore` or `.deployignore`', LIMITS.ignoreFileBytes / 1024, 'KiB'],
  ['rules of one', LIMITS.ignoreFileRules, ''],
  ['steps of one list of patterns against one tree', LIMITS.matchSteps, ''],
  ['steps of `trigger.watch` against the paths of one push', LIMITS.triggerMatchSteps, ''],
]

function boundsTable(): string {
  const rows = BOUNDS.map(([what, bound, unit]) => [what, `${bound.toLocaleString('en')} ${unit}`.trim()])
  return table(['What', 'At most'], rows)
}

/** Every key of a service with its default, as `config explain` would show an empty file, and its description in the schema. */
function keysTable(): string {
  const defaults = serviceDefaults()
  const rows = leaves(manifestSchema.shape.services, 'services.<name>').map(({ path, about }) => {
    const key = path.replace('services.<name>.', '')
    return [`\`${key}\``, formatDefault(defaults.get(key)), about]
  })
  return table(['Key', 'Default', 'What it does'], rows)
}

interface Leaf {
  readonly path: string
  readonly about: string
}

function leaves(schema: z.ZodType, path: string): readonly Leaf[] {
  const inner = schema instanceof z.ZodOptional ? (schema.unwrap() as z.ZodType) : schema
  if (inner instanceof z.ZodRecord && path === 'services.<name>') return leaves(inner.valueType as z.ZodType, path)
  const section = inner instanceof z.ZodUnion ? (inner.options as z.ZodType[]).find((option) => option instanceof z.ZodObject) : inner
  if (!(section instanceof z.ZodObject)) return [{ path, about: schema.description ?? '' }]
  return Object.entries(section.shape as Record<string, z.ZodType>).flatMap(([key, child]) => leaves(child, `${path}.${key}`))
}

function formatDefault(value: unknown): string {
  if (value === undefined || value === null) return '–'
  if (typeof value === 'object' && Object.keys(value).length === 0) return '–'
  return `\`${typeof value === 'object' ? JSON.stringify(value) : String(value)}\``
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return ['', line(head), line(head.map(() => '---')), ...rows.map(line), ''].join('\n')
}
