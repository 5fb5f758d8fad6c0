import { openApiDocument } from '../contract/openapi.ts'
import type { RouteSpec } from '../contract/route.ts'
import { ROUTES } from '../contract/routes.ts'
import { ERRORS } from '../core/errors.ts'
import { ROLE_VERBS, ROLES, VERB_MEANINGS, VERBS } from '../domain/access.ts'
import { SKIP_MEANINGS } from '../domain/trigger-decision.ts'
import { createProgram, exitCodeTable } from './program.ts'

/** What in docs/ is printed from the code. */
const ACTORS = { user: 'you', retry: 'time: try again', us: 'us: please report it' } as const

export function errorsDocument(): string {
  const rows = Object.entries(ERRORS).map(
    ([code, info]) =>
      `| <a id="${code}"></a>\`${code}\` | ${info.http} | ${info.exit} | ${ACTORS[info.actor]} | ${info.hint.replaceAll('|', '\\|')} |`,
  )
  return `${[
    '# Errors',
    '',
    'Every error has a stable code. The API answers with it as `code` of an RFC 9457 problem, the CLI prints it after `ERROR` and ends with its exit code,',
    'a failed deployment keeps it in `error.code`. Printed from `src/core/errors.ts`; a test holds the two together.',
    '',
    '| Code | HTTP | Exit | Who must act | How to solve |',
    '|---|---|---|---|---|',
    ...rows,
  ].join('\n')}\n`
}

export function routesTable(): string {
  const rows = Object.values<RouteSpec>(ROUTES).map((spec) => {
    return `| \`${spec.method.toUpperCase()} ${spec.path}\` | ${spec.summary} | ${spec.needs === undefined ? 'no token' : `\`${spec.needs.verb}\``} | ${spec.status} |`
  })
  return ['| Route | What it does | Needs | Status |', '|---|---|---|---|', ...rows].join('\n')
}

function rolesTable(): string {
  const rows = VERBS.map((verb) => {
    const marks = ROLES.map((role) =>
      ROLE_VERBS[role].includes(verb) ? 'yes' : verb === 'administer' && role === 'owner' ? 'whole server only' : '',
    )
    return `| \`${verb}\` | ${VERB_MEANINGS[verb]} | ${marks.join(' | ')} |`
  })
  return [`| Verb | What it allows | ${ROLES.join(' | ')} |`, `|---|---|${ROLES.map(() => '---|').join('')}`, ...rows].join('\n')
}

export function commandsTable(): string {
  const program = createProgram(
    () => {
      throw new Error('nothing is run for the documents')
    },
    '0',
    () => {},
  )
  const rows: string[] = []
  const add = (command: typeof program, prefix: string) => {
    for (const child of command.commands) {
      const given = child.registeredArguments
        .map((argument) => {
          const name = `${argument.name()}${argument.variadic ? '…' : ''}`
          return argument.required ? `<${name}>` : `[${name}]`
        })
        .join(' ')
      const name = `${prefix} ${child.name()}`
      const own = child.options.filter((option) => !COMMON_OPTIONS.has(option.long ?? '')).map((option) => `\`${option.flags}\``)
      if (child.commands.length === 0 || child.options.length > 0) {
        rows.push(`| \`${name}${given === '' ? '' : ` ${given}`}\` | ${child.description()} | ${own.join(' ')} |`.replaceAll('  |', ' |'))
      }
      add(child, name)
    }
  }
  add(program, 'shiplock')
  return ['| Command | What it does | Its options |', '|---|---|---|', ...rows].join('\n')
}
const COMMON_OPTIONS = new Set(['--project', '--environment', '--service', '--json', '--no-color'])

export function documentTables(): Readonly<Record<string, Readonly<Record<string, string>>>> {
  return {
    'access.md': { roles: rolesTable() },
    'api.md': { routes: routesTable(), schemas: schemaList() },
    'webhooks.md': { verdicts: verdictsTable() },
    'cli.md': { commands: commandsTable(), 'exit-codes': ['```', ...exitCodeTable(), '```'].join('\n') },
  }
}

function verdictsTable(): string {
  const rows = Object.entries(SKIP_MEANINGS).map(([code, meaning]) => `| \`${code}\` | ${meaning} |`)
  return ['| code | skipped because |', '| --- | --- |', ...rows].join('\n')
}

function schemaList(): string {
  const { components } = openApiDocument('0') as { components: { schemas: Readonly<Record<string, { description?: string }>> } }
  return Object.keys(components.schemas)
    .sort()
    .map((name) => `\`${name}\``)
    .join(' · ')
}
