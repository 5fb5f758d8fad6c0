import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type AddressRange, formatRange, parseRange } from './address-range.ts'

/** Whose networks may be on this host: what a server that was killed and thrown away left, another one can name and remove. */
export interface Registered {
  /** Names everything of it. */
  readonly engine: string
  /** Where its networks are kept; gone = nobody will ever take them up. */
  readonly directory: string
  readonly range: AddressRange
}

/** In memory: a reboot takes the networks and this. */
const REGISTER = '/run/shiplock-networks'

export async function register({ engine, directory, range }: Registered): Promise<void> {
  await mkdir(REGISTER, { recursive: true, mode: 0o700 })
  await writeFile(join(REGISTER, engine), `${formatRange(range)}\n${directory}\n`, { mode: 0o600 })
}

export async function unregister(engine: string): Promise<void> {
  await rm(join(REGISTER, engine), { force: true })
}

export async function registered(): Promise<readonly Registered[]> {
  const names = (await readdir(REGISTER).catch(() => [])).filter((name) => /^[0-9a-f]{12}$/.test(name))
  const all = await Promise.all(
    names.map(async (engine) => {
      const [text = '', directory = ''] = (await readFile(join(REGISTER, engine), 'utf8').catch(() => '')).split('\n')
      const range = parseRange(text)
      return range === null || directory === '' ? [] : [{ engine, directory, range }]
    }),
  )
  return all.flat()
}
