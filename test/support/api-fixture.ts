import { createHash, randomBytes } from 'node:crypto'
import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ensureAdminToken } from '../../src/api/admin-token.ts'
import { type ApiServer, createApiServer } from '../../src/api/api-server.ts'
import { createApi } from '../../src/api/create-api.ts'
import type { ApiDependencies, InstanceOutput, InstanceOutputOptions } from '../../src/api/dependencies.ts'
import { UploadBudget } from '../../src/api/upload-budget.ts'
import { systemClock } from '../../src/core/clock.ts'
import { ShiplockError } from '../../src/core/errors.ts'
import { silentLogger } from '../../src/core/log.ts'
import { checkUrl } from '../../src/core/outgoing.ts'
import { removeTree } from '../../src/core/remove-tree.ts'
import { Keyring } from '../../src/core/seal.ts'
import type { Digest, InstanceId } from '../../src/domain/ids.ts'
import { readHook } from '../../src/sources/webhooks/read-hook.ts'
import { createWebhooks } from '../../src/sources/webhooks/webhooks.ts'
import { CHANNEL, type Notice, parseNotice } from '../../src/store/channels.ts'
import type { Database } from '../../src/store/database.ts'
import { freshDatabase } from './database.ts'

export interface ApiFixture {
  readonly database: Database
  readonly server: ApiServer
  readonly token: string
  readonly url: string
  readonly dataDirectory: string
  /** Instance logs by instance id, to be filled by the test. */
  readonly instanceLogs: Map<string, FakeInstanceLog>
  readonly queries: { count: number }
  call(method: string, path: string, body?: unknown, headers?: Readonly<Record<string, string>>): Promise<ApiAnswer>
  stop(): Promise<void>
}

export interface ApiAnswer {
  readonly status: number
  readonly headers: Headers
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  readonly body: any
}

/** The API on a real database and a real port; what lies behind it (sources, runtime, sealing) is played. */
export async function startApi(options: Partial<ApiDependencies> = {}): Promise<ApiFixture> {
  const test = await freshDatabase()
  const queries = { count: 0 }
  const database = counting(test.database, queries)
  const dataDirectory = await mkdtemp(join(tmpdir(), 'shiplock-api-'))
  const { path } = await ensureAdminToken(database, dataDirectory)
  const token = (await readFile(path, 'utf8')).trim()
  const listeners = new Set<(notice: Notice | null) => void>()
  const unlisten = await test.database.listen(CHANNEL, (payload) => {
    for (const listener of listeners) listener(payload === null ? null : parseNotice(payload))
  })
  const instanceLogs = new Map<string, FakeInstanceLog>()
  const sealer = new Keyring([randomBytes(32)])
  const webhooks = createWebhooks(systemClock)
  const dependencies: ApiDependencies = {
    database,
    notices: {
      subscribe: (listener) => {
        listeners.add(listener)
        return () => listeners.delete(listener)
      },
    },
    clock: systemClock,
    logger: silentLogger,
    version: '0.0.0-test',
    serverId: 'srv_test',
    defaults: { project: 'default', environment: 'production' },
    slots: 2,
    artifactKinds: () => ['tree'],
    allowedHosts: ['shiplock.example.com'],
    trustedProxies: [],
    ratesPerMinute: { perToken: 1_000_000, anonymous: 1_000_000, failures: 1_000_000 },
    urlOf: (host) => `http://${host}:8080`,
    hostFor: ({ service, environment, project }) =>
      `${[service, ...(environment === 'production' ? [] : [environment]), ...(project === 'default' ? [] : [project])].join('-')}.localhost`,
    uploads: { receive: receiveInMemory },
    isHostPath: (source) => source.kind === 'git' && source.url.startsWith('file:'),
    uploadBudget: new UploadBudget({ maxBytes: 1024 ** 3, keptBytes: async () => 0, whyFull: async () => null }),
    isDegraded: () => false,
    validateSource: (source) => {
      if (source.kind === 'git' && source.url.startsWith('-')) throw new ShiplockError('SOURCE_REFUSED', 'the URL begins with a dash')
    },
    artifacts: { pack: async () => null },
    caches: { list: async () => [], clear: async () => ({ bytes: 0, runtimeLayers: 0 }) },
    secrets: {
      seal: (value) => sealer.seal(value),
      describe: (sealed) => ({ fingerprint: Buffer.from(sealed).toString('hex').slice(0, 12), isRecognisable: true }),
      keys: { report: async () => ({ source: 'file', current: '0', keys: [], remaining: 0 }), rotate: async () => {} },
    },
    repositories: { sshHostOf: () => null, readHostKeys: async () => [] },
    open: (sealed) => sealer.open(sealed),
    readHook: async (provider, request) => readHook(webhooks[provider], request),
    signHook: (provider, delivery) => webhooks[provider].sign(delivery),
    hooksPort: null,
    publicUrl: null,
    assertCallable: (url) => void checkUrl(url, 'any'),
    testNotification: async () => ({ sent: true, message: 'taken' }),
    garbage: {
      collect: async (dryRun) => ({
        dryRun,
        bytes: 0,
        removed: { images: 0, names: 0, buildCacheBytes: 0, networks: 0 },
        images: [],
        kept: 0,
        full: null,
      }),
      runs: async () => [],
    },
    instanceLogs: (id: InstanceId, logOptions: InstanceOutputOptions) => (instanceLogs.get(id) ?? new FakeInstanceLog()).read(logOptions),
    explainRollback: async () => [],
    checks: async () => [{ name: 'database', status: 'ok', summary: 'PostgreSQL answers', hint: null }],
    ...options,
  }
  const server = createApiServer({ host: '127.0.0.1', port: 0 }, createApi(dependencies), {
    announceIn: dataDirectory,
    trustedProxies: dependencies.trustedProxies,
  })
  await server.start()
  const { url } = server.address
  return {
    database: test.database,
    server,
    token,
    url,
    dataDirectory,
    instanceLogs,
    queries,
    call: (method, path, body, headers) => call(`${url}${path}`, method, token, body, headers),
    stop: async () => {
      await server.stop()
      await unlisten()
      await test.drop()
      await removeTree(dataDirectory)
    },
  }
}

async function call(
  url: string,
  method: string,
  token: string,
  body: unknown,
  headers: Readonly<Record<string, string>> = {},
): Promise<ApiAnswer> {
  const response = await fetch(url, {
    method,
    headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: text === '' ? null : JSON.parse(text) }
}

async function receiveInMemory(body: AsyncIterable<Uint8Array>): Promise<{ digest: Digest; bytes: number }> {
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of body) {
    hash.update(chunk)
    bytes += chunk.length
  }
  return { digest: `sha256:${hash.digest('hex')}` as Digest, bytes }
}

function counting(database: Database, queries: { count: number }): Database {
  return {
    query: (text, params, options) => {
      queries.count += 1
      return database.query(text, params, options)
    },
    transaction: (work, options) => database.transaction(work, options),
    listen: (channel, onPayload) => database.listen(channel, onPayload),
    close: () => database.close(),
  }
}

/** A log that grows while it is followed. */
export class FakeInstanceLog {
  readonly #lines: InstanceOutput[] = []
  readonly #waiters = new Set<() => void>()

  add(text: string): void {
    this.#lines.push({ offset: this.#lines.length + 1, at: new Date().toISOString(), text })
    for (const wake of this.#waiters) wake()
    this.#waiters.clear()
  }

  async *read(options: InstanceOutputOptions): AsyncGenerator<InstanceOutput> {
    let at = options.after ?? (options.tail === null ? 0 : Math.max(0, this.#lines.length - options.tail))
    while (!options.signal.aborted) {
      const line = this.#lines[at]
      if (line !== undefined) {
        at += 1
        yield line
      } else if (!options.follow) {
        return
      } else {
        await new Promise<void>((resolve) => {
          this.#waiters.add(resolve)
          options.signal.addEventListener('abort', () => resolve(), { once: true })
        })
      }
    }
  }
}
