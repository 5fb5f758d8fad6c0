import { expect, test } from 'vitest'
import { startFailureHint } from './start-failure.ts'

test.each([
  ['/bin/sh: 1: exec: python: not found', 'python3'],
  ['/bin/sh: 1: exec: gunicorn: not found', 'gunicorn is not installed'],
  ['/bin/sh: 1: exec: bundle: not found', 'run.base: ruby'],
  ['/bin/sh: 1: foreman: not found', 'no program foreman here'],
  ['/usr/bin/python3: No module named uvicorn', 'module uvicorn is not installed'],
  ["ModuleNotFoundError: No module named 'flask'", 'module flask is not installed'],
  ['Error: listen EADDRINUSE: address already in use :::3000', 'The port is taken'],
  ["KeyError: 'SECRET_KEY'", 'shiplock env set SECRET_KEY='],
  ['decouple.UndefinedValueError: SECRET_KEY not found. Declare it', 'shiplock env set SECRET_KEY='],
  ['django.core.exceptions.ImproperlyConfigured: Set the DJANGO_KEY environment variable', 'needs the variable DJANGO_KEY'],
  ['connect ECONNREFUSED 127.0.0.1:5432', 'database or cache (5432)'],
  ['panic: html/template: pattern matches no files: `templates/*`', 'build.deployFiles'],
  ['no main manifest attribute, in app.jar', 'shade'],
])('%s: %s', (line, hint) => {
  expect(startFailureHint({ exitCode: 1, tail: ['some output', line, 'more'] })).toContain(hint)
})

test('a start that ends without an error is told from one that fails', () => {
  expect(startFailureHint({ exitCode: 0, tail: ['done'] })).toContain('stay in the foreground')
  expect(startFailureHint({ exitCode: 3, tail: ['done'] })).toBeNull()
})
