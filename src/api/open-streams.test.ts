import { EventEmitter } from 'node:events'
import type { ServerResponse } from 'node:http'
import { expect, test } from 'vitest'
import { silentLogger } from '../core/log.ts'
import type { Database } from '../store/database.ts'
import type { TokenRecord } from '../store/sql/tokens.ts'
import { OpenStreams } from './open-streams.ts'

class FakeResponse extends EventEmitter {
  readonly writableNeedDrain = false
  destroyed = false
  closed = false
  writeHead() {}
  write() {
    return true
  }
  end() {
    this.destroy()
  }
  destroy() {
    if (this.destroyed) return
    this.destroyed = true
    this.emit('close')
  }
}

const tokenOf = (project: string | null, id = `tok_${project}`) =>
  ({ id, project, environment: null, role: 'viewer', verbs: null }) as unknown as TokenRecord

function opened(streams: OpenStreams, token: TokenRecord, count: number): FakeResponse[] {
  return Array.from({ length: count }, () => {
    const response = new FakeResponse()
    streams.open(response as unknown as ServerResponse, token)
    return response
  })
}
const alive = (responses: readonly FakeResponse[]) => responses.filter((response) => !response.destroyed).length

test('I13: streams of one project take none from another: the project with the most gives up its oldest', () => {
  const streams = new OpenStreams({} as Database, silentLogger, { total: 20, perToken: 15 })
  const alpha = [...opened(streams, tokenOf('alpha'), 12), ...opened(streams, tokenOf('alpha', 'tok_other'), 8)]
  const beta = opened(streams, tokenOf('beta'), 10)
  expect(alive(beta)).toBe(10)
  expect(alive(alpha)).toBe(10)
  expect(alpha[0]?.destroyed).toBe(true)
  expect(alpha.at(-1)?.destroyed).toBe(false)
  expect(() => opened(streams, tokenOf('alpha'), 1)).toThrow('too many streams')
  for (const response of [...alpha, ...beta]) response.destroy()
})

test('one token has no more than its own', () => {
  const streams = new OpenStreams({} as Database, silentLogger, { total: 20, perToken: 3 })
  const mine = opened(streams, tokenOf('alpha'), 3)
  expect(() => opened(streams, tokenOf('alpha'), 1)).toThrow('too many streams')
  for (const response of mine) response.destroy()
})
