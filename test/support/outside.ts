import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { packTree } from '../../src/core/pack-tree.ts'
import { walkTree } from '../../src/core/walk-tree.ts'
import type { Database } from '../../src/store/database.ts'
import { eventually } from './eventually.ts'
import type { TestServer } from './server.ts'
import { type Reach, rowsBeyond } from './table-scopes.ts'

/** All that lies beyond the reach of a token, as it is now. */
export interface Outside {
  readonly rows: Set<string>
  /** Answers of services, the edge's routes, and files by what they hold; each named. */
  readonly real: Readonly<Record<string, string>>
}

export async function outside(server: TestServer, database: Database, reach: Reach): Promise<Outside> {
  const rows = await rowsBeyond(database, reach)
  const foreign = await database.query<{ id: string; host: string }>(
    `select id, host from service_environments
      where case when $2::text is null then project_id <> $1 else environment_id <> $2 end order by host`,
    [reach.projectId, reach.environmentId],
  )
  const instances = await database.query<{ id: string }>(
    `select id from instances where service_environment_id = any($1) and state <> 'removed'`,
    [foreign.map(({ id }) => id)],
  )
  const real: Record<string, string> = {}
  for (const { host } of foreign) real[`answer of ${host}`] = JSON.stringify(await server.ask(host.replace(/\.localhost$/, ''), '/env'))
  const table = readFileSync(join(server.dataDirectory, 'edge/table.json'), 'utf8')
  const { routes } = JSON.parse(table.slice(table.indexOf('\n') + 1)) as { routes: { id: string }[] }
  for (const { id } of foreign) real[`route of ${id}`] = JSON.stringify(routes.find((route) => route.id === id) ?? null)
  const marks = [...foreign, ...instances].map(({ id }) => id)
  for (const path of filesNaming(server.dataDirectory, marks)) real[`file ${path}`] = fingerprint(path)
  return { rows, real }
}

/** Files in or below something that bears one of the names; logs grow by themselves. */
function filesNaming(directory: string, marks: readonly string[]): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && !/^log\b/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => marks.some((mark) => path.includes(mark)))
}

function fingerprint(path: string): string {
  try {
    return `${statSync(path).uid} ${createHash('sha256').update(readFileSync(path)).digest('hex')}`
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'unreadable'
  }
}

/** Nothing waits, runs or is on its way out. */
export async function untilAtRest(database: Database): Promise<void> {
  await eventually(
    async () => {
      const [left] = await database.query<{ count: number }>(
        `select (select count(*) from deployments where not settled) + (select count(*) from service_environments where removing_at is not null)
              + (select count(*) from environments where removing_at is not null)
              + (select count(*) from instances where state in ('starting', 'ready')) as count`,
      )
      return Number(left?.count) === 0
    },
    { withinMs: 90_000 },
  )
}

/** A directory as an upload. */
export async function archiveOf(directory: string): Promise<Blob> {
  const parts: Buffer[] = []
  for await (const part of packTree(directory, await walkTree(directory, { entriesMax: 5000 }))) parts.push(Buffer.from(part))
  return new Blob(parts)
}
