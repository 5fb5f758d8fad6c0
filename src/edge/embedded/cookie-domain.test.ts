import { expect, test } from 'vitest'
import { ownCookie } from './cookie-domain.ts'

test.each([
  ['a=1; Path=/; Domain=apps.example.com; Secure', 'a=1; Path=/; Secure'],
  ['a=1; domain=.APPS.example.com', 'a=1'],
  ['a=1;DOMAIN = example.com;Secure', 'a=1;Secure'],
  ['a=1; Domain=com', 'a=1'],
  ['a=1; Domain=apps.example.com.; Domain=example.com', 'a=1'],
])('I10: a cookie for all apps of the server stays with the app that set it: %s', (given, wanted) => {
  expect(ownCookie(given, 'apps.example.com')).toBe(wanted)
})

test.each([
  'a=1',
  'a=1; Path=/; HttpOnly; SameSite=Lax',
  'a=1; Domain=shop.apps.example.com',
  'a=1; Domain=',
  'domain=apps.example.com; Path=/',
  'a=domain=apps.example.com',
  'a=1; Domain=ps.example.com',
])('another is as it came: %s', (value) => {
  expect(ownCookie(value, 'apps.example.com')).toBe(value)
})

test('a server whose apps may share is told so', () => expect(ownCookie('a=1; Domain=localhost', null)).toBe('a=1; Domain=localhost'))
