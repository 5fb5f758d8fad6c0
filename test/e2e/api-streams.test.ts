import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CHANNEL, type Notice } from '../../src/store/channels.ts'
import { appendEvents } from '../../src/store/sql/events.ts'
import { type ApiFixture, FakeInstanceLog, startApi } from '../support/api-fixture.ts'
import { StreamReader } from '../support/api-stream.ts'

let api: ApiFixture
beforeAll(async () => {
  api = await startApi()
})
afterAll(() => api.stop())

async function newDeployment(service = 'web'): Promise<string> {
  const source = { kind: 'git', url: 'https://example.com/app.git' }
  return (await api.call('POST', '/v1/deployments', { service, source })).body.id
}

/** As the engine's writer does it: numbers under the row lock of log_ends, then a notice. */
async function addLines(id: string, texts: readonly string[]): Promise<void> {
  const notice: Notice = { kind: 'log', deploymentId: id as never }
  await api.database.transaction(async (tx) => {
    const [end] = await tx.query<{ before: number }>(
      'update log_ends set last_sequence = last_sequence + $2 where deployment_id = $1 returning last_sequence - $2 as before',
      [id, texts.length],
    )
    await tx.query(
      `insert into log_lines (deployment_id, sequence, at, stream, text)
       select $1, $2 + t.n, clock_timestamp(), 'build', t.text from unnest($3::text[]) with ordinality as t(text, n)`,
      [id, end?.before, texts],
    )
    await tx.query('select pg_notify($1, $2)', [CHANNEL, JSON.stringify(notice)])
  })
}

async function settle(id: string): Promise<void> {
  await api.database.transaction(async (tx) => {
    const [row] = await tx.query<Record<string, never>>(
      `update deployments set status = 'failed', settled = true, settled_at = now() where id = $1 returning *`,
      [id],
    )
    if (row === undefined) throw new Error('no such deployment')
    await appendEvents(tx, [
      {
        type: 'deployment.failed',
        message: 'failed',
        projectId: row.project_id ?? null,
        environmentId: row.environment_id ?? null,
        serviceId: row.service_id ?? null,
        serviceEnvironmentId: row.service_environment_id ?? null,
        deploymentId: id as never,
        instanceId: null,
        data: {},
        terminal: true,
      },
    ])
  })
}

const texts = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, n) => `line ${from + n}`)
const logUrl = (id: string, query = '') => `${api.url}/v1/deployments/${id}/logs${query}`
const sequences = (reader: StreamReader) => reader.frames.filter((frame) => frame.event === 'line').map((frame) => frame.data.sequence)
const upTo = (n: number) => Array.from({ length: n }, (_, index) => index + 1)

describe('log streams', () => {
  test('I11: nothing is lost between a page and the stream that continues it', async () => {
    const id = await newDeployment()
    await addLines(id, texts(1, 30))
    const page = (await api.call('GET', `/v1/deployments/${id}/logs?limit=20`)).body
    await addLines(id, texts(31, 40))
    const reader = new StreamReader(logUrl(id, `?after=${page.next}`), api.token)
    await reader.until((it) => it.frames.length >= 20, 'the rest')
    await addLines(id, texts(41, 42))
    await reader.until((it) => it.frames.length >= 22, 'what came later')
    expect([...page.items.map((line: { sequence: number }) => line.sequence), ...sequences(reader)]).toEqual(upTo(42))
    reader.close()
  })

  test('a stream ends with `end` once the deployment is settled and its log was read to the end', async () => {
    const id = await newDeployment()
    await addLines(id, texts(1, 3))
    const reader = new StreamReader(logUrl(id), api.token)
    await reader.until((it) => it.frames.length === 3, 'three lines')
    await addLines(id, texts(4, 5))
    await settle(id)
    await reader.until((it) => it.isClosed, 'the end')
    expect(sequences(reader)).toEqual(upTo(5))
    expect(reader.frames.at(-1)).toMatchObject({ event: 'end', id: null, data: { status: 'failed' } })
    const late = await new StreamReader(logUrl(id), api.token).until((it) => it.isClosed, 'the end of a settled log')
    expect(sequences(late)).toEqual(upTo(5))
  })

  test('I11: a thousand readers that reconnect see every line exactly once', { timeout: 240_000 }, async () => {
    const READERS = 1000
    const LINES = 1500
    const id = await newDeployment()
    await addLines(id, texts(1, 600))
    const before = api.queries.count
    const seen: number[][] = Array.from({ length: READERS }, () => [])
    const readers = Array.from({ length: READERS }, () => new StreamReader(logUrl(id), api.token))
    await Promise.all(readers.map((reader) => reader.until((it) => it.frames.length > 0, 'a first line', 90_000)))
    for (let at = 601; at <= LINES; at += 50) {
      await addLines(id, texts(at, at + 49))
      // Some leave in the middle and come back with the last id they saw.
      for (let n = at % 7; n < READERS; n += 97) {
        const reader = readers[n]
        if (reader === undefined || reader.frames.length === 0) continue
        seen[n]?.push(...sequences(reader))
        reader.close()
        readers[n] = new StreamReader(logUrl(id), api.token, String(seen[n]?.at(-1) ?? 0))
      }
    }
    const complete = (n: number) => (reader: StreamReader) => (seen[n]?.length ?? 0) + reader.frames.length >= LINES
    await Promise.all(readers.map((reader, n) => reader.until(complete(n), `reader ${n} to be complete`, 90_000)))
    const sent = performance.now()
    await addLines(id, texts(LINES + 1, LINES + 1))
    await Promise.all(readers.map((reader) => reader.until((it) => it.frames.at(-1)?.data.sequence === LINES + 1, 'the last line', 90_000)))
    const behindMs = performance.now() - sent
    for (const [n, reader] of readers.entries()) {
      seen[n]?.push(...sequences(reader))
      reader.close()
    }
    expect(new Set(seen.map((numbers) => numbers.join()))).toEqual(new Set([upTo(LINES + 1).join()]))
    console.log(`1,000 readers: last line reached all after ${behindMs.toFixed(0)} ms; ${api.queries.count - before} queries`)
  })

  test('a reader that does not read costs the others nothing and continues later', async () => {
    const id = await newDeployment()
    const slow = new StreamReader(logUrl(id), api.token)
    await slow.until((it) => it.status === 200, 'the stream')
    slow.pause()
    const fast = new StreamReader(logUrl(id), api.token)
    const wide = 'x'.repeat(4000)
    for (let batch = 0; batch < 10; batch++)
      await addLines(
        id,
        Array.from({ length: 500 }, () => wide),
      )
    await fast.until((it) => it.frames.length === 5000, '5,000 wide lines')
    slow.resume()
    await slow.until((it) => it.frames.length === 5000, 'the same lines, later')
    expect(sequences(slow)).toEqual(upTo(5000))
    slow.close()
    fast.close()
  })

  test('an id of another stream, or beyond the end, is refused or means the end', async () => {
    const id = await newDeployment()
    const wrong = await new StreamReader(logUrl(id), api.token, 'x=1').until((it) => it.status !== undefined, 'an answer')
    expect(wrong.status).toBe(400)
    await addLines(id, texts(1, 2))
    const beyond = await new StreamReader(logUrl(id), api.token, '999999').until((it) => it.status === 200, 'the stream')
    await addLines(id, texts(3, 3))
    await beyond.until((it) => it.frames.length > 0, 'what comes')
    expect(sequences(beyond)).toEqual([3])
    beyond.close()
  })
})

describe('event streams', () => {
  test('I11: events of one deployment come in order and end with the terminal one', async () => {
    const id = await newDeployment()
    const other = await newDeployment('other')
    const reader = new StreamReader(`${api.url}/v1/events?deployment=${id}`, api.token)
    await reader.until((it) => it.frames.length === 1, 'the first event')
    await settle(other)
    await settle(id)
    await reader.until((it) => it.isClosed, 'the end')
    expect(reader.frames.map((frame) => frame.data.type ?? 'end')).toEqual(['deployment.queued', 'deployment.failed', 'end'])
    const settled = await new StreamReader(`${api.url}/v1/events?deployment=${id}&type=deployment.queued`, api.token).until(
      (it) => it.isClosed,
      'the end of a settled one',
    )
    expect(settled.frames.map((frame) => frame.event)).toEqual(['event', 'end'])
  })

  test('a stream of all events begins with what comes next, and continues where it was cut', async () => {
    const reader = new StreamReader(`${api.url}/v1/events?service=mine`, api.token)
    await reader.until((it) => it.status === 200, 'the stream')
    const first = await newDeployment('mine')
    await newDeployment('yours')
    await reader.until((it) => it.frames.length === 1, 'the first event')
    reader.close()
    const second = await newDeployment('mine')
    const again = new StreamReader(`${api.url}/v1/events?service=mine`, api.token, reader.lastId)
    await again.until((it) => it.frames.length === 1, 'what happened meanwhile')
    const third = await newDeployment('mine')
    await again.until((it) => it.frames.length === 2, 'what comes')
    again.close()
    expect([...reader.frames, ...again.frames].map((frame) => frame.data.deploymentId)).toEqual([first, second, third])
  })
})

describe('instance logs', () => {
  test('lines of all instances are merged, and a reader continues in each of them', async () => {
    const id = await newDeployment('app')
    await addInstances(id, 'app')
    const [one, two] = [new FakeInstanceLog(), new FakeInstanceLog()]
    api.instanceLogs.set('ins_one', one)
    api.instanceLogs.set('ins_two', two)
    one.add('one 1')
    two.add('two 1')
    const page = (await api.call('GET', '/v1/services/app/logs?tail=10')).body
    expect(page.items.map((line: { text: string }) => line.text).sort()).toEqual(['one 1', 'two 1'])
    const url = `${api.url}/v1/services/app/logs?tail=10`
    const reader = await new StreamReader(url, api.token).until((it) => it.frames.length === 2, 'both')
    one.add('one 2')
    await reader.until((it) => it.frames.length === 3, 'the next line')
    reader.close()
    two.add('two 2')
    const again = await new StreamReader(url, api.token, reader.lastId).until((it) => it.frames.length === 1, 'the missed line')
    expect(again.frames[0]?.data).toMatchObject({ instance: 'ins_two', release: 1, text: 'two 2' })
    again.close()
  })
})

async function addInstances(deploymentId: string, service: string): Promise<void> {
  await api.database.transaction(async (tx) => {
    await tx.query(`insert into servers (id, name, boot_id) values ('srv_1', 'here', 'b') on conflict do nothing`)
    await tx.query(
      `insert into releases (id, service_environment_id, number, deployment_id, revision, artifact, config, trigger, sealed_variables)
       select 'rel_' || $1, d.service_environment_id, 1, $1, '{}', '{}', '{}', '{}', '' from deployments d where id = $1`,
      [deploymentId],
    )
    await tx.query(
      `insert into instances (id, deployment_id, release_id, service_environment_id, server_id, index, state)
       select i.id, $1, 'rel_' || $1, se.id, 'srv_1', i.n, 'serving'
         from service_environments se join services s on s.id = se.service_id, (values ('ins_one', 0), ('ins_two', 1)) as i(id, n) where s.name = $2`,
      [deploymentId, service],
    )
  })
}
