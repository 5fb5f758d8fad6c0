import { expect, test } from 'vitest'
import { findFailureCause } from './failure-cause.ts'

const failure = (tail: string[], exitCode: number | null = 1, signal: string | null = null) => ({
  exitCode,
  signal,
  oomKilled: false,
  tail,
})

/** Lines as the tools print them: npm 10, Node 20, dash, bash, CPython 3.11, pip 23, tsc 5. */
test.each([
  ['/bin/sh: 1: vite: not found', 'the command vite is not there'],
  ['sh: 1: vite: not found', 'the command vite is not there'],
  ['bash: line 1: vite: command not found', 'the command vite is not there'],
  ['sh: vite: not found', 'the command vite is not there'],
  ["Error: Cannot find module 'express'", 'the module express is not there'],
  ["Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'hono' imported from /build/source/a.js", 'the module hono is not there'],
  ["ModuleNotFoundError: No module named 'flask'", 'the Python module flask is not there'],
  ["npm error 404  'left-padd@^9.0.0' is not in this registry.", 'the package left-padd@^9.0.0 is not in the registry'],
  ['npm ERR! 404 Not Found - GET https://registry.npmjs.org/left-padd - Not found', 'the package left-padd is not in the registry'],
  ['ERROR: No matching distribution found for flaskk==9', 'there is no such Python package: flaskk==9'],
  ['npm error Missing script: "build"', 'package.json has no script build'],
  [
    'npm error The `npm ci` command can only install with an existing package-lock.json or',
    '`npm ci` needs a package-lock.json that fits package.json',
  ],
  ['npm error code ERESOLVE', 'the versions that the packages ask for contradict each other'],
  ['FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory', 'Node ran out of heap memory'],
  ['tar: write error: No space left on device', 'the disk is full'],
  ['Error: ENOSPC: no space left on device, write', 'the disk is full'],
  ["src/a.ts(1,7): error TS2322: Type 'string' is not assignable to type 'number'.", 'TypeScript found type errors'],
  ['getaddrinfo EAI_AGAIN registry.npmjs.org', 'the network name registry.npmjs.org can’t be resolved'],
  ['connect ECONNREFUSED 127.0.0.1:4873', 'a network connection failed'],
  ['/bin/sh: 1: ./build.sh: Permission denied', 'the build may not write or run that path'],
  ['cat: missing.txt: No such file or directory', 'a file or directory is missing'],
  [
    'E: Could not open lock file /var/lib/dpkg/lock-frontend - open (13: Permission denied)',
    'system packages can’t be installed here: commands run without root',
  ],
  ['ERROR: Unable to lock database: Permission denied', 'system packages can’t be installed here: commands run without root'],
  ['/bin/sh: 1: sudo: not found', 'system packages can’t be installed here: commands run without root'],
  ['error: externally-managed-environment', 'pip may not change the Python of the host'],
  ['binding.c:1:10: fatal error: png.h: No such file or directory', 'the C header png.h is not there'],
  [
    'main.go:3:8: no required module provides package github.com/a/b; to add it:',
    'the Go package github.com/a/b is in no module of go.mod',
  ],
  ['npm error code EBADENGINE', 'a package wants another version of Node.js'],
  ['npm error self-signed certificate in certificate chain', 'a TLS certificate is signed by nobody whom the build trusts'],
  ['npm error code E401', 'a registry or repository refused access'],
  [
    'ERROR: Ignored the following versions that require a different python version: 6.0 Requires-Python >=3.12; 6.0.1 Requires-Python >=3.12',
    'a package needs Python >=3.12, and the Python of this host is another',
  ],
  [
    "ERROR: Package 'x' requires a different Python: 3.11.7 not in '>=3.13'",
    'a package needs Python >=3.13, and the Python of this host is another',
  ],
  ['/usr/bin/python3: No module named pip', 'the Python of this host has no pip'],
  ['/usr/bin/python3: No module named gunicorn', 'the Python module gunicorn is not there'],
  [
    "error: Multiple top-level packages discovered in a flat-layout: ['agents', 'config'].",
    "setuptools does not know which of the directories are the package: ['agents', 'config'].",
  ],
  ['/bin/sh: 1: composer: not found', 'the command composer is not there'],
  ['go: go.mod requires go >= 1.27 (running go 1.26.8; GOTOOLCHAIN=local)', 'go.mod asks for Go 1.27, and this host has an older one'],
  ['cgo: C compiler "gcc" not found: exec: "gcc": executable file not found in $PATH', 'the C compiler gcc is not there'],
  ['    - Root composer.json requires PHP extension ext-mbstring * but it is missing', 'the PHP of this host has no extension mbstring'],
  ["KeyError: 'SECRET_KEY'", 'the build needs the variable SECRET_KEY'],
  ['Error: pg_config executable not found.', 'psycopg2 is built from source, and PostgreSQL’s headers are not there'],
  ['/bin/sh: 1: Cannot fork', 'the build may not start more processes'],
])('%s', (line, cause) => {
  expect(findFailureCause(failure(['some output', line, 'more output']))?.cause).toBe(cause)
})

test('a kill for memory is known from the kernel, whatever the log says', () => {
  expect(findFailureCause({ ...failure(['Killed'], 137), oomKilled: true })?.cause).toBe('the build used more memory than it may')
})

test.each([
  [127, null, 'a command is not there'],
  [126, null, 'a file is not executable'],
  [137, null, 'the command was killed, most likely for want of memory'],
  [null, 'SIGKILL', 'the command was killed, most likely for want of memory'],
])('exit %s, signal %s', (exitCode, signal, cause) => {
  expect(findFailureCause(failure([], exitCode, signal))?.cause).toBe(cause)
})

test('no cause is made up', () => {
  expect(findFailureCause(failure(['12 tests failed', 'expected 1 to be 2']))).toBeNull()
})
