import { createHmac, randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { request } from 'node:http'
import type { ApiFixture } from './api-fixture.ts'

export interface HookAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  readonly body: any
}

/** One POST as raw as a git host, or anybody, may send it. */
export function postRaw(url: string, headers: Readonly<Record<string, string | string[]>>, body: Buffer | string): Promise<HookAnswer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method: 'POST', headers, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        text += chunk
      })
      response.on('end', () => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: text.startsWith('{') ? JSON.parse(text) : text })
      })
    })
    outgoing.on('error', reject)
    outgoing.end(body)
  })
}

export const SHA = (digit: string) => digit.repeat(40)

/** A push as GitHub tells it, from the recorded one. */
export function githubPush(changes: Readonly<Record<string, unknown>> = {}): Record<string, unknown> {
  const payloads = new URL('../../src/sources/webhooks/payloads/github-push.json', import.meta.url)
  return { ...JSON.parse(readFileSync(payloads, 'utf8')), ...changes }
}

/** A push of one commit on top of another, that changed these files. */
export function pushOf(
  before: string,
  after: string,
  changes: { branch?: string; message?: string; files?: string[]; author?: string } = {},
) {
  const commit = {
    id: after,
    message: changes.message ?? 'Berth plan',
    author: { name: changes.author ?? 'Mara' },
    added: [],
    removed: [],
    modified: changes.files ?? ['api/a.ts'],
  }
  const ref = `refs/heads/${changes.branch ?? 'main'}`
  return githubPush({ ref, before, after, created: false, deleted: false, forced: false, head_commit: commit, commits: [commit] })
}

let pullRequestsTold = 0

/** A pull request as GitHub tells it, from the recorded one. */
export function pullRequestOf(
  number: number,
  sha: string,
  changes: { action?: string; isFork?: boolean; title?: string; author?: string; labels?: string[]; base?: string } = {},
): Record<string, unknown> {
  const payload = JSON.parse(readFileSync(new URL('../../src/sources/webhooks/payloads/github-pull-request.json', import.meta.url), 'utf8'))
  const action = changes.action ?? 'opened'
  const { pull_request: pull } = payload
  const repo = changes.isFork === true ? pull.head.repo : pull.base.repo
  return {
    ...payload,
    action,
    number,
    pull_request: {
      ...pull,
      number,
      // No two of them are alike; a body that came before is a duplicate.
      updated_at: new Date(Date.UTC(2026, 0, 1) + ++pullRequestsTold * 1000).toISOString(),
      state: action === 'closed' ? 'closed' : 'open',
      title: changes.title ?? pull.title,
      user: { ...pull.user, login: changes.author ?? 'mara' },
      labels: (changes.labels ?? []).map((name) => ({ name })),
      head: { ...pull.head, sha, repo },
      base: { ...pull.base, ref: changes.base ?? 'main' },
    },
  }
}

/** A webhook that a test has made, and GitHub on its other end. */
export class HookClient {
  readonly id: string
  readonly secret: string
  readonly url: string

  constructor(made: { webhook: { id: string }; secret: string }, base: string) {
    this.id = made.webhook.id
    this.secret = made.secret
    this.url = `${base}/hooks/${made.webhook.id}`
  }

  static async create(api: ApiFixture, service: string, more: Readonly<Record<string, unknown>> = {}): Promise<HookClient> {
    const body = { service, provider: 'github', repository: 'https://git.example.com/quayside/harbour.git', ...more }
    const { status, body: made } = await api.call('POST', '/v1/webhooks', body)
    if (status !== 201) throw new Error(`no webhook was made: ${JSON.stringify(made)}`)
    return new HookClient(made, api.url)
  }

  headers(body: Buffer | string, event = 'push', delivery: string = randomUUID(), secret = this.secret): Record<string, string> {
    return {
      'content-type': 'application/json',
      'X-GitHub-Event': event,
      'X-GitHub-Delivery': delivery,
      'X-Hub-Signature-256': `sha256=${createHmac('sha256', secret).update(body).digest('hex')}`,
    }
  }

  send(payload: unknown, options: { event?: string; delivery?: string; secret?: string } = {}): Promise<HookAnswer> {
    const body = JSON.stringify(payload)
    return postRaw(this.url, this.headers(body, options.event, options.delivery, options.secret), body)
  }
}
