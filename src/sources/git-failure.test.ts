import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { gitFailure } from './git-failure.ts'

const result = (text: string, timedOut = false) => ({
  exitCode: 128,
  signal: null,
  stdout: '',
  stderrTail: text.split('\n'),
  timedOut,
  aborted: false,
  tookMs: 1,
})

/** Last lines as git 2.30 to 2.50, curl 7.88 and OpenSSH 9 print them. */
test.each([
  ["fatal: unable to access 'https://h.invalid/r/': Could not resolve host: h.invalid", 'SOURCE_UNREACHABLE', 'can’t be resolved'],
  [
    "fatal: unable to access 'https://127.0.0.1:9/r/': Failed to connect to 127.0.0.1 port 9 after 0 ms: Couldn't connect to server",
    'SOURCE_UNREACHABLE',
    'refuses connections',
  ],
  [
    'ssh: connect to host 127.0.0.1 port 9: Connection refused\nfatal: Could not read from remote repository.',
    'SOURCE_UNREACHABLE',
    'refuses connections',
  ],
  [
    'ssh: Could not resolve hostname h.invalid: Name or service not known\nfatal: Could not read from remote repository.',
    'SOURCE_UNREACHABLE',
    'can’t be resolved',
  ],
  ["fatal: unable to access 'https://h/r/': The requested URL returned error: 503", 'SOURCE_UNREACHABLE', 'out of order'],
  ['error: RPC failed; curl 92 HTTP/2 stream 5 was not closed cleanly\nfatal: early EOF', 'SOURCE_UNREACHABLE', 'broke off'],
  ["fatal: unable to access 'https://h/r/': SSL certificate problem: self-signed certificate", 'SOURCE_UNREACHABLE', 'vouches'],
  ["fatal: unable to access 'https://h/r/': SSL certificate problem: certificate has expired", 'SOURCE_UNREACHABLE', 'not valid today'],
  [
    "fatal: unable to access 'https://h/r/': SSL: no alternative certificate subject name matches target host name 'h'",
    'SOURCE_UNREACHABLE',
    'another name',
  ],
  ["remote: Repository not found.\nfatal: repository 'https://github.com/o/r/' not found", 'SOURCE_NOT_FOUND', 'no repository'],
  ["fatal: could not read Username for 'https://github.com': terminal prompts disabled", 'SOURCE_NOT_FOUND', 'other credentials'],
  ["fatal: unable to access 'https://h/r/': The requested URL returned error: 403", 'SOURCE_NOT_FOUND', 'other credentials'],
  ["fatal: unable to access 'https://h/r/': The requested URL returned error: 301", 'SOURCE_NOT_FOUND', 'redirects'],
  ['git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.', 'SOURCE_NOT_FOUND', 'ssh key'],
  ["fatal: '/srv/x' does not appear to be a git repository", 'SOURCE_NOT_FOUND', 'no repository'],
  ['fatal: unexpected line in ./packed-refs: root:$y$j9T$abc', 'SOURCE_NOT_FOUND', 'damaged'],
  ['fatal: bad config line 1 in file /run/shiplock/repository/config', 'SOURCE_NOT_FOUND', 'damaged'],
  ['fatal: protocol error: bad line length character: slk_', 'SOURCE_UNREACHABLE', 'does not speak git'],
  ['Host key verification failed.\nfatal: Could not read from remote repository.', 'SOURCE_REFUSED', 'no key of that host'],
  ['fatal: write error: No space left on device', 'DISK_FULL', 'no space'],
  ['error: unable to write file big.bin\nfatal: unable to write new index file', 'DISK_FULL', 'no space'],
  ["error: unable to write file a\nfatal: sha1 file '.git/index.lock' write error. Out of diskspace", 'DISK_FULL', 'no space'],
  ['fatal: something new', 'SOURCE_UNREACHABLE', 'git failed with exit code 128'],
  ['', 'SOURCE_UNREACHABLE', 'git failed with exit code 128'],
])('%s is %s', (text, code, says) => {
  const error = gitFailure('can’t read it', result(text))
  expect(error.code).toBe(code)
  expect(error.message).toContain(says)
})

describe('I8, I13: what git and ssh say is never passed on', () => {
  const shown = (text: string) => JSON.stringify([gitFailure('x', result(text)).message, gitFailure('x', result(text)).details])

  test('a line of a file that git was made to read does not come out, whatever stands before it', () => {
    const before = ['fatal: unexpected line in ./packed-refs: ', 'fatal: bad config line 1: ', 'remote: ', 'error: ', 'warning: ', '']
    for (const text of before) expect(shown(`${text}slk_0123456789abcdef`)).not.toContain('slk_')
  })

  test('no text leaves a trace', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', minLength: 12, maxLength: 200 }),
        fc.constantFrom('', 'fatal: ', 'remote: error: 404 '),
        (text, before) => {
          expect(shown(`${before}Q${text}`)).not.toContain(JSON.stringify(`Q${text}`).slice(1, -1))
        },
      ),
    )
  })
})

test('a private repository gets the advice about keys', () => {
  expect(gitFailure('x', result('git@h: Permission denied (publickey).')).hint).toContain('deploy key')
  expect(gitFailure('x', result("could not read Username for 'https://h'")).hint).toContain('ssh URL')
})

test('time that ran out is said, not guessed from the lines', () => {
  expect(gitFailure('can’t read it', result('remote: Repository not found.', true))).toMatchObject({
    code: 'SOURCE_UNREACHABLE',
    message: expect.stringContaining('git took too long'),
  })
})
