import { describe, expect, test } from 'vitest'
import { ShiplockError } from '../../core/errors.ts'
import { explainFileError, explainOutput } from './failure.ts'

describe('last words of PostgreSQL become a cause and an advice', () => {
  test.each([
    ['initdb: error: could not write to file "x": No space left on device', 'the disk is full', 'Free space'],
    ['FATAL:  data directory "/d" has wrong ownership', 'permissions are missing', '0700'],
    ['postgres: error while loading shared libraries: libicuuc.so.60: cannot open', 'a library', 'npm ci'],
    ['FATAL:  pre-existing shared memory block (key 1, ID 2) is still in use', 'an earlier run', 'leftover'],
    ['PANIC:  could not locate a valid checkpoint record at 0/1', 'damaged', 'backup'],
    ['FATAL:  could not create shared memory segment: Cannot allocate memory', 'memory', '--shm-size'],
    ['initdb: error: could not look up effective user ID 12345: user does not exist', 'no name', '/etc/passwd'],
  ])('%s', (line, cause, advice) => {
    const error = explainOutput('starting PostgreSQL', '/srv/db', ['LOG:  starting', line, 'LOG:  shutting down'])
    expect(error).toMatchObject({ code: 'DATABASE_UNAVAILABLE' })
    expect(error.message).toContain('starting PostgreSQL failed in /srv/db')
    expect(error.message).toContain(cause)
    expect(error.message).toContain(line.trim())
    expect(error.hint).toContain(advice)
    expect(error.hint).toContain('DATABASE_URL')
  })

  test('words nobody knows are passed on', () => {
    expect(explainOutput('starting PostgreSQL', '/srv/db', ['something new']).message).toContain('something new')
    expect(explainOutput('starting PostgreSQL', '/srv/db', []).message).toContain('no output')
  })
})

test('errors of the file system are told in the same way, and ours pass as they are', () => {
  const full = Object.assign(new Error('ENOSPC: no space left on device, mkdir'), { code: 'ENOSPC' })
  expect(explainFileError('prepare the directory', '/srv/db', full).message).toBe(
    "can't prepare the directory at /srv/db: the disk is full",
  )
  const ours = new ShiplockError('DATABASE_UNAVAILABLE', 'x')
  expect(explainFileError('prepare', '/srv/db', ours)).toBe(ours)
})
