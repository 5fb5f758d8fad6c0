import { access, constants, readFile, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { ShiplockError } from '../../core/errors.ts'
import { findPackage, type InstalledPackage, installedTrouble } from './binaries.ts'
import { existingParent, findPlacement, nameOf, type Placement } from './placement.ts'
import { findPostmaster } from './postmaster.ts'

/** One line of `shiplock doctor`. */
export interface Finding {
  readonly ok: boolean
  readonly title: string
  readonly detail: string
  /** What to do; empty when there is nothing to do. */
  readonly advice: string
}

/** A new cluster takes 40 MB, and up to 128 MB of log may stand beside it. */
const FREE_BYTES_WANTED = 256 * 1024 * 1024
const INSTEAD = 'Or set DATABASE_URL to a PostgreSQL that runs already.'

/** Looks at everything `startEmbedded` needs, and changes nothing. */
export async function diagnoseEmbedded(
  dataDirectory: string,
  options: { readonly sharedBase?: string; readonly installed?: InstalledPackage } = {},
): Promise<Finding[]> {
  const findings: Finding[] = []
  const look = async <T>(title: string, examine: () => Promise<{ detail: string; value: T }>): Promise<T | null> => {
    try {
      const { detail, value } = await examine()
      findings.push({ ok: true, title, detail, advice: '' })
      return value
    } catch (error) {
      const advice = error instanceof ShiplockError ? error.hint : INSTEAD
      findings.push({ ok: false, title, detail: (error as Error).message, advice })
      return null
    }
  }
  const installed = await look('PostgreSQL package', async () => {
    const value = options.installed ?? findPackage()
    return { detail: `version ${value.version} in ${value.directory}`, value }
  })
  const placement = await look('database directory', async () => {
    const value = await findPlacement(dataDirectory, options.sharedBase)
    return { detail: describePlacement(value), value }
  })
  if (placement === null) return findings
  if (installed !== null) {
    await look('PostgreSQL programs', () => examinePrograms(placement, installed))
    await look('database files', () => examineCluster(placement, Number.parseInt(installed.version, 10)))
  }
  await look('disk space', () => examineSpace(placement))
  await look('PostgreSQL', () => examineProcess(placement))
  return findings
}

function describePlacement({ directory, account, barrier, isNew }: Placement & { isNew: boolean }): string {
  const place = `${directory}${isNew ? ' (to be made)' : ''}`
  const why = account.isSelf ? '' : `; runs as ${nameOf(account)}, because PostgreSQL refuses root`
  return barrier === null ? place + why : `${place}${why}, who can't pass through ${barrier}: therefore not in the data directory`
}

async function examinePrograms({ account }: Placement, installed: InstalledPackage) {
  const trouble = await installedTrouble(account, installed)
  if (trouble?.isFinal === true) throw trouble.error
  const detail = trouble === null ? 'run as they are' : `${trouble.error.message}: the server mends this with links or a copy of its own`
  return { detail, value: null }
}

async function examineCluster({ cluster, directory }: Placement, major: number) {
  const version = await readFile(join(cluster, 'PG_VERSION'), 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw error
  })
  if (version === null) return { detail: 'none yet: the first start makes them', value: null }
  if (Number(version) !== major) {
    const hint = `Dump it with the version of Shiplock that made it and move ${directory} away. ${INSTEAD}`
    throw new ShiplockError('DATABASE_UNAVAILABLE', `made by PostgreSQL ${version.trim()}, this is ${major}`, { hint })
  }
  return { detail: `PostgreSQL ${version.trim()} in ${cluster}`, value: null }
}

async function examineSpace({ directory }: Placement) {
  const place = await existingParent(directory)
  const { bavail, bsize } = await statfs(place)
  const mebibytes = Math.floor((bavail * bsize) / 1024 / 1024)
  if (bavail * bsize < FREE_BYTES_WANTED) {
    const hint = `Free at least ${FREE_BYTES_WANTED / 1024 / 1024} MiB there. ${INSTEAD}`
    throw new ShiplockError('DATABASE_UNAVAILABLE', `${mebibytes} MiB free at ${place}`, { hint })
  }
  await access(place, constants.W_OK)
  return { detail: `${mebibytes} MiB free at ${place}`, value: null }
}

async function examineProcess(placement: Placement) {
  const running = await findPostmaster(placement)
  if (running === null) return { detail: 'not running; the server starts it', value: null }
  const detail = `process ${running.pid} since ${new Date(running.startedAt * 1000).toISOString()}, psql -h ${running.socketDirectory} -U shiplock`
  return { detail, value: null }
}
