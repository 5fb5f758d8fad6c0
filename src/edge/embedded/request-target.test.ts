import { expect, test } from 'vitest'
import { readRequestTarget } from './request-target.ts'

test.each([
  ['/a?b=c', 'Hello.localhost', { host: 'hello.localhost', path: '/a?b=c' }],
  ['/', 'hello.localhost:8080', { host: 'hello.localhost', path: '/' }],
  ['/', 'hello.localhost.', { host: 'hello.localhost', path: '/' }],
  ['/', '[::1]:80', { host: '[::1]', path: '/' }],
  ['/', '127.0.0.1', { host: '127.0.0.1', path: '/' }],
  ['*', 'a', { host: 'a', path: '*' }],
  ['http://a/x', 'a', { host: 'a', path: '/x' }],
  ['http://A:80', 'a:80', { host: 'a', path: '/' }],
  ['http://a?q', 'a', { host: 'a', path: '/?q' }],
  ['//evil/x', 'a', { host: 'a', path: '//evil/x' }],
])('%s with Host %s is understood', (url, host, wanted) => {
  expect(readRequestTarget(url, host)).toMatchObject({ ...wanted, authority: host })
})

test.each([
  ['/', undefined],
  ['/', ''],
  ['/', 'a b'],
  ['/', 'a,b'],
  ['/', 'a/b'],
  ['/', 'user@a'],
  ['/', 'a:99999999'],
  ['/', 'a:'],
  ['/', ':80'],
  ['/', '[::1'],
  ['/', 'a\r\nx: y'],
  ['http://b/', 'a'],
  ['http://user@a/', 'a'],
  ['a:80', 'a'],
  ['x', 'a'],
  ['', 'a'],
  ['/a b', 'a'],
  ['/a\u0000', 'a'],
  ['/a#f', 'a'],
  ['ftp://a/', 'a'],
])('I9: %j with Host %j is refused', (url, host) => {
  expect(readRequestTarget(url, host)).toBeNull()
})
