import { expect, test } from 'vitest'
import { ERRORS, EXIT_CODES, isShiplockError, ShiplockError, toShiplockError } from './errors.ts'

test('every error says who must act, and what to do next in one sentence', () => {
  for (const [code, info] of Object.entries(ERRORS)) {
    expect(code).toMatch(/^[A-Z_]+$/)
    expect(info.hint).toMatch(/^[^\n]+\.$/)
    expect(info.http).toBeGreaterThanOrEqual(400)
    expect(info.http).toBeLessThan(600)
    expect(Object.values(EXIT_CODES)).toContain(info.exit)
  }
})

test('an error of the user is never a server error, and one of ours always is', () => {
  for (const info of Object.values(ERRORS)) {
    if (info.actor === 'us') expect(info.http).toBeGreaterThanOrEqual(500)
    if (info.http === 500) expect(info.actor).toBe('us')
  }
})

test('an error has the hint of its code unless it has a better one', () => {
  expect(new ShiplockError('NOT_FOUND', 'no').hint).toBe(ERRORS.NOT_FOUND.hint)
  expect(new ShiplockError('NOT_FOUND', 'no', { hint: 'Look there.' }).hint).toBe('Look there.')
})

test('whatever is thrown becomes one: as it is, a full disk by its name, anything else as ours', () => {
  const known = new ShiplockError('CONFLICT', 'x')
  expect(toShiplockError(known)).toBe(known)
  for (const code of ['ENOSPC', 'EDQUOT']) expect(toShiplockError(Object.assign(new Error('write'), { code })).code).toBe('DISK_FULL')
  for (const thrown of [new Error('boom'), 'boom', null, undefined, 7]) expect(toShiplockError(thrown).code).toBe('INTERNAL')
  expect(isShiplockError(known, 'CONFLICT')).toBe(true)
  expect(isShiplockError(known, 'NOT_FOUND')).toBe(false)
  expect(isShiplockError(new Error('CONFLICT'), 'CONFLICT')).toBe(false)
})
