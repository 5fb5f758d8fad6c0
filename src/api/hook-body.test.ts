import type { IncomingMessage } from 'node:http'
import { PassThrough } from 'node:stream'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { LIMITS } from '../core/limits.ts'
import { HookBodies } from './hook-body.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'setInterval', 'clearTimeout', 'clearInterval'] }))
afterEach(() => void vi.useRealTimers())

const MiB = 1024 * 1024
const from = (address: string, hook = 'hook_a', project = 'a') => ({ address, hook, project })

function reading(bodies: HookBodies, holder: ReturnType<typeof from>, bytesMax: number = LIMITS.webhookBodyBytes) {
  const body = new PassThrough({ highWaterMark: 64 * MiB })
  const read = bodies.read(body as unknown as IncomingMessage, holder, bytesMax)
  const outcome = read.then(
    (bytes) => bytes.length,
    (error: { code: string; message: string }) => `${error.code}: ${error.message}`,
  )
  return { body, outcome, send: (bytes: number) => send(body, bytes) }
}
async function send(body: PassThrough, bytes: number) {
  body.write(Buffer.alloc(bytes, 0x61))
  await new Promise((resolve) => setImmediate(resolve))
}

test('a body comes as it is', async () => {
  const { body, outcome } = reading(new HookBodies(), from('1.1.1.1'))
  body.end('hello')
  expect(await outcome).toBe(5)
})

test('I13: bodies that are never finished cost their sender his own, not others theirs', async () => {
  const bodies = new HookBodies()
  const hostile = Array.from({ length: 6 }, () => reading(bodies, from('6.6.6.6')))
  for (const { send: more } of hostile) await more(24 * MiB)
  const good = reading(bodies, from('1.1.1.1', 'hook_a'))
  good.body.end('a push')
  expect(await good.outcome).toBe(6)
  const other = reading(bodies, from('6.6.6.6', 'hook_b', 'b'))
  other.body.end('from the same address')
  expect(await other.outcome).toBe(21)
  expect(await hostile[0]?.outcome).toContain('RATE_LIMITED')
})

test('I13: many addresses can take no more than the share of one webhook, and of one project', async () => {
  const bodies = new HookBodies()
  const hostile = Array.from({ length: 12 }, (_, n) => reading(bodies, from(`6.6.6.${n}`, `hook_${n}`, 'theirs')))
  for (const { send: more } of hostile) await more(20 * MiB)
  const big = reading(bodies, from('1.1.1.1', 'hook_good', 'good'))
  await big.send(20 * MiB)
  big.body.end()
  expect(await big.outcome).toBe(20 * MiB)
})

test('I13: a body that comes too slowly is cut, and so is one that takes too long', async () => {
  const slow = reading(new HookBodies(), from('6.6.6.6'))
  await slow.send(100)
  vi.advanceTimersByTime(LIMITS.webhookBodyLookMs)
  expect(await slow.outcome).toMatch(/INPUT_INVALID: the body came too slowly/)
  const long = reading(new HookBodies(), from('6.6.6.6'))
  for (let ms = 0; ms < LIMITS.webhookBodyMs; ms += LIMITS.webhookBodyLookMs) {
    await long.send(LIMITS.webhookBodyBytesPerLook)
    vi.advanceTimersByTime(LIMITS.webhookBodyLookMs)
  }
  expect(await long.outcome).toMatch(/INPUT_INVALID/)
})

test('one that is larger than it may be, and one that is cut', async () => {
  const large = reading(new HookBodies(), from('1.1.1.1'), 10)
  await large.send(11)
  expect(await large.outcome).toContain('BODY_TOO_LARGE')
  const gone = reading(new HookBodies(), from('1.1.1.1'))
  gone.body.destroy()
  expect(await gone.outcome).toContain('INPUT_INVALID')
})
