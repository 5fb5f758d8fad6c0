import { describe, expect, test } from 'vitest'
import { isShiplockError } from '../core/errors.ts'
import { assertTrustedHost } from './access.ts'

const refused = (host: string | undefined, origin?: string) => {
  try {
    assertTrustedHost({ host, origin }, ['deploy.example.com'])
    return false
  } catch (error) {
    return isShiplockError(error, 'FORBIDDEN')
  }
}

describe('hosts and origins', () => {
  test.each(['127.0.0.1:4700', 'localhost:4700', 'api.localhost', '[::1]:4700', '10.1.2.3', 'deploy.example.com', 'LOCALHOST:1'])(
    '%s is a name of this server',
    (host) => expect(refused(host)).toBe(false),
  )

  test.each([
    undefined,
    '',
    'evil.example.com',
    'localhost.evil.com',
    '127.0.0.1.evil.com',
    'deploy.example.com.evil.com',
    'a b',
    'x@localhost',
    'localhost/x',
  ])('I9: %s is not (DNS rebinding)', (host) => expect(refused(host)).toBe(true))

  test('I9: a page of another origin is refused, this server’s own is not', () => {
    expect(refused('localhost:4700', 'http://evil.example.com')).toBe(true)
    expect(refused('localhost:4700', 'http://localhost:3000')).toBe(true)
    expect(refused('localhost:4700', 'null')).toBe(true)
    expect(refused('localhost:4700', 'http://localhost:4700')).toBe(false)
  })
})
