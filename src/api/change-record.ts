import type { AuditRule } from '../contract/route.ts'
import type { Concern } from '../domain/access.ts'
import type { Queryable } from '../store/database.ts'
import { appendAudit } from '../store/sql/audit.ts'
import type { Actor } from './access.ts'

type Facts = Readonly<Record<string, unknown>>
interface Parsed {
  readonly params: unknown
  readonly query: unknown
  readonly body: unknown
}

const DATA_CHARACTERS_MAX = 4000

/** The line that one change leaves in the audit log: written once, wherever the handler's transaction is. */
export class ChangeRecord {
  readonly #actor: Actor
  readonly #rule: AuditRule
  readonly #concern: Concern
  readonly #request: Facts
  #told: Facts = {}
  #target: string | null = null
  #project: string | null = null
  #isPending = true

  constructor(actor: Actor, rule: AuditRule, concern: Concern, { params, query, body }: Parsed) {
    this.#actor = actor
    this.#rule = rule
    this.#concern = concern
    this.#request = { ...(query as Facts), ...(body as Facts | undefined), ...(params as Facts) }
  }

  /** Nobody has taken it upon himself to write it. */
  get isPending(): boolean {
    return this.#isPending
  }

  /** It will be written in the transaction of the change; or not at all, when an earlier answer is given again. */
  defer(): void {
    this.#isPending = false
  }

  tell(facts: Facts, about: { readonly target?: string; readonly project?: string } = {}): void {
    this.#told = { ...this.#told, ...facts }
    this.#target = about.target ?? this.#target
    this.#project = about.project ?? this.#project
  }

  async write(tx: Queryable, answer: unknown): Promise<void> {
    const { name, tokenId, address } = this.#actor
    await appendAudit(tx, {
      actor: name,
      tokenId,
      address,
      action: this.#rule.action,
      project: this.#project ?? this.#concern.project,
      environment: this.#concern.environment,
      target: this.#target ?? this.#targetOf(answer),
      data: this.#data(),
    })
    this.#isPending = false
  }

  /** `production/web`, an id, or the id of what was made. */
  #targetOf(answer: unknown): string | null {
    const { id, service } = this.#request
    if (typeof id === 'string') return id
    const place = [this.#concern.environment, service].filter((part) => typeof part === 'string').join('/')
    if (place !== '') return place
    const made = (answer as { id?: unknown } | null)?.id
    return typeof made === 'string' ? made : null
  }

  #data(): Facts {
    const told = this.#rule.tells.filter((key) => this.#request[key] !== undefined).map((key) => [key, this.#request[key]])
    const data = { ...Object.fromEntries(told), ...this.#told }
    const length = JSON.stringify(data).length
    return length <= DATA_CHARACTERS_MAX ? data : { dropped: `${length} characters` }
  }
}
