import fc from 'fast-check'
import { expect, test } from 'vitest'
import { isShiplockError } from '../core/errors.ts'
import { checkGitRef, parseGitAddress } from './git-address.ts'

const parse = (text: string) => parseGitAddress(text)

test.each([
  ['https://github.com/o/r.git', 'https', 'https://github.com/o/r.git'],
  ['https://git.example.org:8443/a/b', 'https', 'https://git.example.org:8443/a/b'],
  ['ssh://git@github.com/o/r.git', 'ssh', 'ssh://git@github.com/o/r.git'],
  ['ssh://git@host.example:2222/~/r', 'ssh', 'ssh://git@host.example:2222/~/r'],
  ['git@github.com:o/r.git', 'ssh', 'ssh://git@github.com/~/o/r.git'],
  ['host.example:/srv/git/r.git', 'ssh', 'ssh://host.example/srv/git/r.git'],
  ['git@host.example:~bob/r.git', 'ssh', 'ssh://git@host.example/~bob/r.git'],
  ['file:///srv/git/r.git', 'file', 'file:///srv/git/r.git'],
  ['/srv/my repos/r', 'file', 'file:///srv/my%20repos/r'],
  ['https://[2001:db8::1]/r.git', 'https', 'https://[2001:db8::1]/r.git'],
] as const)('%s is taken', (text, protocol, url) => {
  expect(parse(text)).toMatchObject({ protocol, url })
})

test.each([
  ['', /is empty/],
  ['-oProxyCommand=touch /tmp/x', /white space/],
  ['-oProxyCommand=x', /begins with a dash/],
  ['--upload-pack=touch', /begins with a dash/],
  ['ext::sh', /remote helper/],
  ['ext::sh -c touch% /tmp/x', /white space/],
  ['fd::17', /remote helper/],
  ['transport::https://x/y', /remote helper/],
  ['http://example.org/r.git', /http:\/\//],
  ['git://example.org/r.git', /git:\/\//],
  ['ftp://example.org/r.git', /ftp:\/\//],
  ['javascript:alert(1)', /shell characters/],
  ['git@example.org:r.git;id', /shell characters/],
  ['git@example.org:$(id)', /shell characters/],
  ['https://user:secret@example.org/r.git', /user name or password/],
  ['https://token@example.org/r.git', /user name or password/],
  ['ssh://git:secret@example.org/r.git', /user name or password/],
  ['ssh://-oProxyCommand=x/r', /valid URL|host name/],
  ['ssh://git@-oProxyCommand=x/r', /valid URL|host name/],
  ['ssh://-l@example.org/r', /user name/],
  ['ssh://example.org/-oX', /path that begins with a dash/],
  ['git@example.org:-oX', /path that begins with a dash/],
  ['-x@example.org:r', /begins with a dash/],
  ['a@-oX:r', /no https/],
  ['https://example.org/', /no path/],
  ['https://example.org/r.git?x=1', /query/],
  ['https://example.org/r.git#main', /query or fragment/],
  ['https://example.org/r.git\nx', /white space or control/],
  ['https://example.org/r\u0000', /white space or control/],
  ['https://example.org/r\u001b[31m', /white space or control/],
  ['file://host/srv/r', /names a host/],
  ['file:///srv/%0a', /control/],
  ['file:///srv/%zz', /percent escape|valid URL/],
  ['../relative', /no https/],
  ['relative/path', /no https/],
  ['https://', /valid URL/],
  [`https://example.org/${'a'.repeat(3000)}`, /longer than/],
  ['git@example.org:a/../../b', /`\.\.` in its path/],
] as const)('I9: the address %j is refused', (text, reason) => {
  expect(() => parse(text)).toThrow(reason)
  expect(codeOf(() => parse(text))).toBe('SOURCE_REFUSED')
})

test('I8: a refused address with a password does not show it', () => {
  expect(() => parse('https://user:hunter22@example.org/r.git')).not.toThrow(/hunter22/)
})

test('I9: whatever is taken can be read neither as an option nor as a helper', () => {
  const hostile = fc.oneof(
    fc.string({ unit: 'binary' }),
    fc
      .array(
        fc.constantFrom('-', 'ext::', 'ssh://', 'https://', 'git@', ':', '/', '..', 'a', '--upload-pack=x', '\n', '@', '%2e', '[', ']'),
      )
      .map((parts) => parts.join('')),
  )
  fc.assert(
    fc.property(hostile, (text) => {
      let url: string
      try {
        url = parse(text).url
      } catch (error) {
        expect(isShiplockError(error, 'SOURCE_REFUSED')).toBe(true)
        return
      }
      expect(url).toMatch(/^(?:https|ssh|file):\/\/(?!-)[!-~]*$/)
      expect(new URL(url).hostname.startsWith('-')).toBe(false)
    }),
    { numRuns: 3000 },
  )
})

test.each([
  'main',
  'feature/login',
  'v1.2.3',
  '1.x',
  'renovate/@types-node',
  '@scope/pkg@1.0.0',
  'fix+more',
  'issue/#12',
  'a_b-c',
  'deadbeef',
  '0123456789abcdef0123456789abcdef01234567',
  'refs/heads/main',
  'refs/pull/12/head',
  'ä',
  'größe/日本-🚀',
  'feature/🍌',
  'a%20b',
  'fix(x)!',
  'fix/#12',
])('the ref %s is taken', (ref) => {
  expect(() => checkGitRef(ref)).not.toThrow()
})

test.each([
  '',
  '-h',
  '--upload-pack=x',
  '-',
  'a..b',
  'main@{1}',
  '@',
  'HEAD^',
  'HEAD~1',
  'a:b',
  'a b',
  'a\nb',
  'a\u0000b',
  'x.lock',
  'x.lock/y',
  'a//b',
  '/a',
  'a/',
  '.a',
  'a/.b',
  'a.',
  'a/-b',
  'a*',
  'a?',
  'a[b',
  'a\\b',
  '$(id)',
  '`id`',
  'a;b',
  'a&b',
  'a|b',
  "a'b",
  'a"b',
  '\u202ea',
  'a\u200bb',
  'a\ud800',
  'a\u0085b',
  'a'.repeat(201),
  '+main',
  'refs/heads/x:refs/heads/y',
])('I9: the ref %j is refused', (ref) => {
  expect(codeOf(() => checkGitRef(ref))).toBe('SOURCE_REFUSED')
})

test('I9: a refusal shows foreign text in a harmless form', () => {
  expect(() => checkGitRef('\u001b[31mred\u0007')).toThrow(/^[ -~`’…\ufffd]*$/)
})

function codeOf(act: () => unknown): string | null {
  try {
    act()
    return null
  } catch (error) {
    return (error as { code?: string }).code ?? 'none'
  }
}
