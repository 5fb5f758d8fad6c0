import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomic } from '../../core/atomic-file.ts'
import { ShiplockError } from '../../core/errors.ts'
import type { NetworkMember } from '../sandbox.ts'
import { type AddressRange, addressAt, nextOffset, offsetIn } from './address-range.ts'

/** A member with the place that it holds until it is released. */
export interface BookedMember extends NetworkMember {
  readonly name: string
  readonly address: string
  /** Of its environment: the group that its interface carries, never given to another. */
  readonly group: number
}

/** Groups below are for others; 0 is every interface's that nobody gave one. */
const FIRST_GROUP = 1001

/**
 * Who has which address, one file per member, written before anything real is made; and which environment has which group, for ever.
 * Changed by one server at a time.
 */
export class MemberBook {
  readonly #directory: string
  readonly #members = new Map<string, BookedMember>()
  #groups: Map<string, number> = new Map()
  #last = 0
  #loaded: Promise<void> | null = null

  constructor(directory: string) {
    this.#directory = directory
  }

  load(): Promise<void> {
    this.#loaded ??= this.#read()
    return this.#loaded
  }

  get(name: string): BookedMember | null {
    return this.#members.get(name) ?? null
  }

  get members(): readonly BookedMember[] {
    return [...this.#members.values()]
  }

  /** Keeps the address it has, if it is one of the range. */
  async reserve(name: string, member: NetworkMember, range: AddressRange): Promise<BookedMember> {
    await this.load()
    const group = await this.#groupOf(member.environment)
    const present = this.#members.get(name)
    const kept = present === undefined ? null : offsetIn(range, present.address)
    const held = new Set([...this.#members.values()].flatMap(({ address }) => offsetIn(range, address) ?? []))
    const offset = kept ?? nextOffset(range, held, this.#last)
    if (offset === null)
      throw new ShiplockError('LAUNCH_FAILED', 'all addresses for instances are given away', {
        hint: 'Name a larger range in SHIPLOCK_INSTANCE_NETWORK; it is taken once nothing of the old one runs.',
      })
    if (kept === null) this.#last = offset
    const booked = { ...member, name, address: addressAt(range, offset), group }
    this.#members.set(name, booked)
    await writeFile(join(this.#directory, 'members', name), JSON.stringify(booked), { mode: 0o600 })
    return booked
  }

  async release(name: string): Promise<void> {
    await this.load()
    this.#members.delete(name)
    await rm(join(this.#directory, 'members', name), { force: true })
  }

  async #groupOf(environment: string): Promise<number> {
    const known = this.#groups.get(environment)
    if (known !== undefined) return known
    const group = Math.max(FIRST_GROUP - 1, ...this.#groups.values()) + 1
    // Known at once, so that two at the same time get different ones.
    this.#groups.set(environment, group)
    await writeFileAtomic(join(this.#directory, 'groups.json'), JSON.stringify(Object.fromEntries(this.#groups)))
    return group
  }

  async #read(): Promise<void> {
    const directory = join(this.#directory, 'members')
    await mkdir(directory, { recursive: true, mode: 0o700 })
    for (const name of await readdir(directory)) {
      const text = await readFile(join(directory, name), 'utf8').catch(() => '')
      try {
        this.#members.set(name, JSON.parse(text) as BookedMember)
      } catch {
        // Cut while it was written: nothing real was made yet.
        await rm(join(directory, name), { force: true })
      }
    }
    try {
      this.#groups = new Map(
        Object.entries(JSON.parse(await readFile(join(this.#directory, 'groups.json'), 'utf8')) as Record<string, number>),
      )
    } catch (error) {
      // Guessing would give two environments one group.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        throw new ShiplockError('INTERNAL', `${join(this.#directory, 'groups.json')} can't be read`, { cause: error })
    }
  }
}
