import { expect, test } from 'vitest'
import { BASES, imageOfBase, overrideOf, parseBase } from './bases.ts'
import { baseDirectories, checkBases } from './toolchain.ts'

const NONE = new Map<string, string>()

test.each([
  ['nodejs@22', null, 'docker.io/library/node:22'],
  ['node@22', 'alpine@3', 'docker.io/library/node:22-alpine'],
  ['nodejs', null, 'docker.io/library/node:22'],
  ['bun@1', 'alpine', 'docker.io/oven/bun:1-alpine'],
  ['python@3.12', null, 'docker.io/library/python:3.12'],
  ['go@1', 'ubuntu@24.04', 'docker.io/library/golang:1'],
  ['php@8.3', null, 'docker.io/library/php:8.3-cli'],
  ['static', null, 'docker.io/library/alpine:3'],
  ['ubuntu@24.04', null, 'docker.io/library/ubuntu:24.04'],
  ['alpine@3', null, 'docker.io/library/alpine:3'],
  ['cobol@85', null, null],
  ['constructor', null, null],
])('%s on %s is %s', (base, os, image) => {
  expect(imageOfBase(base, os, NONE)).toBe(image)
})

test('an override is found under every name of its base, and for its version alone', () => {
  const overrides = new Map([
    ['node@22', 'registry.example.com/node:22'],
    ['python', '/opt/python'],
  ])
  expect(imageOfBase('nodejs:v22', 'alpine', overrides)).toBe('registry.example.com/node:22')
  expect(imageOfBase('nodejs@20', null, overrides)).toBe('docker.io/library/node:20')
  expect(overrideOf('python3@latest', overrides)).toBe('/opt/python')
  // A directory says nothing about images.
  expect(imageOfBase('python', null, overrides)).toBe('docker.io/library/python:3.12')
  expect(baseDirectories(['python'], new Map([['python', import.meta.dirname]]))).toEqual([
    { directory: import.meta.dirname, bin: `${import.meta.dirname}/bin` },
  ])
})

test('an override whose directory is missing is refused', () => {
  expect(() => baseDirectories(['python'], new Map([['python', '/no/such/place']]))).toThrow(/SHIPLOCK_BASES.*\/no\/such\/place/)
})

test('no two bases share a name', () => {
  const names = Object.entries(BASES).flatMap(([name, { aliases = [] }]) => [name, ...aliases])
  expect(new Set(names).size).toBe(names.length)
  for (const name of names) expect(parseBase(name).wanted).toBeNull()
})

/** A host on which these programs answer. */
const host = (answers: Record<string, string>) => async (argv: readonly string[]) => {
  const program = argv[4] ?? ''
  return answers[program] === undefined ? null : [answers[program]]
}

test('a base is found with its version, refused by name or version with what the host has', async () => {
  const ask = host({ node: 'v20.1.0', '/bin/sh': 'debian 12' })
  expect(await checkBases(['nodejs@20', 'static', 'debian@12'], ask, 'build.base')).toEqual([
    { base: 'nodejs@20', version: 'nodejs 20.1.0' },
    { base: 'static', version: null },
    { base: 'debian@12', version: 'debian 12' },
  ])
  await expect(checkBases(['nodejs@22'], ask, 'run.base')).rejects.toMatchObject({
    code: 'BASE_UNAVAILABLE',
    message: 'run.base "nodejs@22" is not available: this host has nodejs 20.1.0. This host has nodejs 20.1.0, debian 12.',
  })
  await expect(checkBases(['ubuntu@24.04'], ask, 'build.base')).rejects.toThrow('it is not installed here')
  await expect(checkBases(['cobol'], host({}), 'build.base')).rejects.toThrow(/it is none of nodejs, .*none of the known toolchains/)
})
