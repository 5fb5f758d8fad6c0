import { expect, test } from 'vitest'
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

/** Last lines as git 2.30 to 2.50 and OpenSSH 9 print them. */
test.each([
  ["fatal: unable to access 'https://h.invalid/r/': Could not resolve host: h.invalid", 'SOURCE_UNREACHABLE'],
  [
    "fatal: unable to access 'https://127.0.0.1:9/r/': Failed to connect to 127.0.0.1 port 9 after 0 ms: Couldn't connect to server",
    'SOURCE_UNREACHABLE',
  ],
  ['ssh: connect to host 127.0.0.1 port 9: Connection refused\nfatal: Could not read from remote repository.', 'SOURCE_UNREACHABLE'],
  [
    'ssh: Could not resolve hostname h.invalid: Name or service not known\nfatal: Could not read from remote repository.',
    'SOURCE_UNREACHABLE',
  ],
  ["fatal: unable to access 'https://h/r/': The requested URL returned error: 503", 'SOURCE_UNREACHABLE'],
  ['error: RPC failed; curl 92 HTTP/2 stream 5 was not closed cleanly\nfatal: early EOF', 'SOURCE_UNREACHABLE'],
  ["fatal: unable to access 'https://h/r/': SSL certificate problem: self-signed certificate", 'SOURCE_UNREACHABLE'],
  ["remote: Repository not found.\nfatal: repository 'https://github.com/o/r/' not found", 'SOURCE_NOT_FOUND'],
  ["fatal: could not read Username for 'https://github.com': terminal prompts disabled", 'SOURCE_NOT_FOUND'],
  ["fatal: unable to access 'https://h/r/': The requested URL returned error: 403", 'SOURCE_NOT_FOUND'],
  ["fatal: unable to access 'https://h/r/': The requested URL returned error: 301", 'SOURCE_NOT_FOUND'],
  ['git@h: Permission denied (publickey).\nfatal: Could not read from remote repository.', 'SOURCE_NOT_FOUND'],
  ["fatal: '/srv/x' does not appear to be a git repository", 'SOURCE_NOT_FOUND'],
  ['Host key verification failed.\nfatal: Could not read from remote repository.', 'SOURCE_REFUSED'],
  ['fatal: write error: No space left on device', 'DISK_FULL'],
  ['error: unable to write file big.bin\nfatal: unable to write new index file', 'DISK_FULL'],
  ["error: unable to write file a\nfatal: sha1 file '.git/index.lock' write error. Out of diskspace", 'DISK_FULL'],
  ['fatal: something new', 'SOURCE_UNREACHABLE'],
])('%s is %s', (text, code) => {
  const error = gitFailure('can’t read it', result(text))
  expect(error.code).toBe(code)
  expect(error.message).toContain(text.split('\n').at(-1))
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
