import { describe, expect, test } from 'vitest'
import { DatabaseError, isTransient } from './database.ts'
import { classify } from './postgres-error.ts'

const reported = (code: string, severity = 'ERROR', message = 'words') => Object.assign(new Error(message), { code, severity })
const socketError = (code: string) => Object.assign(new Error(`connect ${code}`), { code })

describe('an error the server reports', () => {
  test.each([
    ['40001', 'conflict', true],
    ['40P01', 'conflict', true],
    ['55P03', 'conflict', true],
    ['57014', 'timeout', false],
    ['23505', 'constraint', false],
    ['53100', 'disk-full', true],
    ['53300', 'unavailable', true],
    ['42601', 'other', false],
    ['28P01', 'refused', false],
  ])('%s is %s', (code, fault, transient) => {
    const error = classify(reported(code), 'commit')
    expect(error).toMatchObject({ fault, sqlState: code, isOutcomeUnknown: false })
    expect(isTransient(error)).toBe(transient)
  })

  test('leaves a commit open only when it ends the session', () => {
    expect(classify(reported('57P01', 'FATAL'), 'commit')).toMatchObject({ fault: 'connection-lost', isOutcomeUnknown: true })
    expect(classify(reported('57P01', 'FATAL'), 'transaction')).toMatchObject({ fault: 'connection-lost', isOutcomeUnknown: false })
    expect(classify(reported('57P01', 'FATAL'), 'connect')).toMatchObject({ fault: 'unavailable', isOutcomeUnknown: false })
  })

  test('is passed on without the data it quotes (I8)', () => {
    const quoted = classify(reported('22P02', 'ERROR', 'invalid input syntax for type integer: "hunter2"'), 'commit')
    expect(quoted.message).toBe('database: invalid input syntax for type integer: "…"')
    expect(quoted.cause).toBeUndefined()
    const duplicate = Object.assign(reported('23505'), { detail: 'Key (name)=(hunter2) already exists.', constraint: 'names' })
    const error = classify(duplicate, 'commit')
    expect(error.constraint).toBe('names')
    expect(error.cause).toBeUndefined()
  })
})

describe('an error of the connection', () => {
  test.each(['Connection terminated unexpectedly', 'Connection terminated', 'Query read timeout'])(
    '"%s" leaves a commit open',
    (message) => {
      expect(classify(new Error(message), 'commit')).toMatchObject({ fault: 'connection-lost', isOutcomeUnknown: true })
      expect(classify(new Error(message), 'transaction')).toMatchObject({ fault: 'connection-lost', isOutcomeUnknown: false })
    },
  )

  test('before anything was sent leaves nothing open', () => {
    const error = classify(new Error('Client has encountered a connection error and is not queryable'), 'commit')
    expect(error).toMatchObject({ fault: 'connection-lost', isOutcomeUnknown: false })
  })

  test.each(['ECONNREFUSED', 'ENOENT', 'ETIMEDOUT', 'ENOTFOUND', 'EAI_AGAIN'])('%s while connecting may pass', (code) => {
    expect(classify(socketError(code), 'connect')).toMatchObject({ fault: 'unavailable', isOutcomeUnknown: false })
  })

  test.each(['CERT_HAS_EXPIRED', 'SELF_SIGNED_CERT_IN_CHAIN', 'DEPTH_ZERO_SELF_SIGNED_CERT', 'EACCES'])(
    '%s while connecting does not pass by itself',
    (code) => {
      expect(classify(socketError(code), 'connect')).toMatchObject({ fault: 'refused' })
    },
  )
})

test('what is classified already, or is a bug of the caller, stays what it is', () => {
  const error = new DatabaseError('x', { fault: 'other', isOutcomeUnknown: false })
  expect(classify(error, 'commit')).toBe(error)
  expect(classify(new TypeError('no such function'), 'commit')).toMatchObject({ fault: 'other', isOutcomeUnknown: false })
})
