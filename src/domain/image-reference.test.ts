import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Digest } from './ids.ts'
import { familiarName, parseImageReference, pinnedReference } from './image-reference.ts'

const DIGEST = `sha256:${'a1'.repeat(32)}` as Digest

function parsed(text: string) {
  const reference = parseImageReference(text)
  if ('problem' in reference) throw new Error(`${text} ${reference.problem}`)
  return reference
}

describe('image references', () => {
  test.for([
    ['node', 'docker.io', 'library/node', null],
    ['node:20-slim', 'docker.io', 'library/node', '20-slim'],
    ['acme/api:1', 'docker.io', 'acme/api', '1'],
    ['docker.io/node', 'docker.io', 'library/node', null],
    ['index.docker.io/acme/api', 'docker.io', 'acme/api', null],
    ['ghcr.io/acme/api', 'ghcr.io', 'acme/api', null],
    ['localhost/api', 'localhost', 'api', null],
    ['localhost:5000/a/b/c:x', 'localhost:5000', 'a/b/c', 'x'],
    ['GHCR.io/acme/api', 'ghcr.io', 'acme/api', null],
    ['[::1]:5000/api', '[::1]:5000', 'api', null],
    ['a__b/c--d.e:1', 'docker.io', 'a__b/c--d.e', '1'],
  ] as const)('%s is read', ([text, host, path, tag]) => {
    expect(parsed(text)).toEqual({ host, path, tag, digest: null, name: `${host}/${path}` })
    expect(parsed(`${text}@${DIGEST}`)).toMatchObject({ host, path, tag, digest: DIGEST })
  })

  test.for([
    '',
    '/node',
    'node/',
    'Node',
    'acme/API',
    'acme//api',
    'node:',
    'node:a b',
    'node:-x',
    'node@sha256:abc',
    `node@sha512:${'a'.repeat(128)}`,
    `node@${DIGEST}@${DIGEST}`,
    '-node',
    '--help',
    'node..x',
    'a___b',
    '../../etc/passwd',
    'http://ghcr.io/acme/api',
    'user:pass@ghcr.io/acme/api',
    'ghcr.io:99999/api',
    'ghcr.io:0/api',
    '.example.com/api',
    'node\n',
    'node;reboot',
    'node$(id)',
    'nöde',
    'a'.repeat(64),
    `x/${'a'.repeat(300)}`,
  ])('I9: %j is refused', (text) => {
    expect(parseImageReference(text)).toHaveProperty('problem')
  })

  test('what is read can be written and read again', () => {
    const component = fc.stringMatching(/^[a-z0-9]{1,12}$/)
    const host = fc.constantFrom('', 'ghcr.io/', 'localhost/', 'r.example.com:5000/')
    fc.assert(
      fc.property(host, fc.array(component, { minLength: 1, maxLength: 4 }), fc.option(component), (at, parts, tag) => {
        const reference = parsed(`${at}${parts.join('/')}${tag === null ? '' : `:${tag}`}`)
        expect(parsed(pinnedReference(reference, DIGEST))).toEqual({ ...reference, digest: DIGEST })
        expect(parsed(familiarName(reference)).name).toBe(reference.name)
      }),
    )
  })

  test('I9: anything at all is read or refused, and what is read holds nothing that means something elsewhere', () => {
    const piece = fc.constantFrom(
      'a',
      'A',
      '/',
      ':',
      '@',
      '.',
      '-',
      '_',
      ' ',
      '\0',
      '%',
      '?',
      '#',
      '..',
      'sha256:',
      DIGEST,
      'ghcr.io',
      '\n',
      '~',
    )
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(piece).map((parts) => parts.join('')),
        ),
        (text) => {
          const reference = parseImageReference(text)
          if ('problem' in reference) return
          expect(reference.name).toMatch(/^[a-z0-9[][a-z0-9.:[\]-]*(\/[a-z0-9][a-z0-9._-]*)+$/)
          expect(reference.name).not.toContain('..')
          expect(reference.tag ?? 'x').toMatch(/^[\w][\w.-]*$/)
        },
      ),
      { numRuns: 2000 },
    )
  })
})
