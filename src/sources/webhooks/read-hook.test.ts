import { describe, expect, test } from 'vitest'
import { ShiplockError } from '../../core/errors.ts'
import { readHook } from './read-hook.ts'
import { accepted, refused, type Webhook } from './webhook.ts'

const IDENTITY = { id: 'd1', event: 'push', bodyDigest: '0'.repeat(64) }
const EVENT = { kind: 'ping' as const, repository: null }
const REQUEST = { headers: {}, rawBody: Buffer.from('{}'), secrets: ['s'] }

function webhook(parts: Partial<Webhook>): Webhook {
  const base = { provider: 'github' as const, verify: () => accepted(0), identify: () => IDENTITY, parse: () => EVENT, sign: () => ({}) }
  return { ...base, ...parts }
}

describe('a request of a git host', () => {
  test('I9: is not looked into before its signature fits', () => {
    let parsed = false
    const parse = () => {
      parsed = true
      return EVENT
    }
    const strange = webhook({ verify: () => refused('mismatch', 'It fits no secret', 'Enter the secret'), parse })
    expect(readHook(strange, REQUEST)).toEqual({ kind: 'refused', code: 'mismatch', reason: 'It fits no secret. Enter the secret' })
    expect(parsed).toBe(false)
  })

  test('that fits and can’t be read says why, with the code of its fault', () => {
    const error = new ShiplockError('MEDIA_TYPE_UNSUPPORTED', 'the payload is form-encoded')
    const parse = () => {
      throw error
    }
    expect(readHook(webhook({ parse, verify: () => accepted(1) }), REQUEST)).toEqual({
      kind: 'unreadable',
      error,
      identity: IDENTITY,
      secret: 1,
    })
  })

  test('that is empty is taken and ignored: a job of CI calls so, and a refusal would look like a fault of ours', () => {
    expect(readHook(webhook({}), { ...REQUEST, rawBody: Buffer.alloc(0) })).toMatchObject({ kind: 'read', event: { kind: 'ignored' } })
  })

  test('that fits is read', () => {
    expect(readHook(webhook({}), REQUEST)).toEqual({ kind: 'read', event: EVENT, identity: IDENTITY, secret: 0 })
  })
})
