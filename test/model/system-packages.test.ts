import { accessSync, chmodSync, constants, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { unitsIn, withServicesDenied } from '../../scripts/system-packages.mjs'
import { temporaryDirectory } from '../support/temporary-directory.ts'

test('services are denied while packages are installed, and only then', () => {
  const policy = join(temporaryDirectory(), 'policy-rc.d')
  withServicesDenied(policy, () => {
    expect(readFileSync(policy, 'utf8')).toContain('exit 101')
    accessSync(policy, constants.X_OK)
  })
  expect(existsSync(policy)).toBe(false)
})

test('a policy that the machine has stands there again afterwards, also when the installation fails', () => {
  const policy = join(temporaryDirectory(), 'policy-rc.d')
  writeFileSync(policy, '#!/bin/sh\nexit 0\n')
  chmodSync(policy, 0o755)
  const failing = () => {
    expect(readFileSync(policy, 'utf8')).toContain('exit 101')
    throw new Error('no network')
  }
  expect(() => withServicesDenied(policy, failing)).toThrow('no network')
  expect(readFileSync(policy, 'utf8')).toBe('#!/bin/sh\nexit 0\n')
})

test('what a killed run left is put right by the next one', () => {
  const policy = join(temporaryDirectory(), 'policy-rc.d')
  writeFileSync(`${policy}.before-shiplock`, 'the machine’s own')
  withServicesDenied(policy, () => writeFileSync(`${policy}.seen`, readFileSync(policy)))
  writeFileSync(policy, readFileSync(`${policy}.seen`))
  writeFileSync(`${policy}.before-shiplock`, 'the machine’s own')
  withServicesDenied(policy, () => {})
  expect(readFileSync(policy, 'utf8')).toBe('the machine’s own')
})

test('units that would start by themselves are found among the files of a package; templates are none', () => {
  const files = [
    '/usr/sbin/sshd',
    '/lib/systemd/system/ssh.service',
    '/lib/systemd/system/ssh@.service',
    '/usr/lib/systemd/system/ssh.socket',
    '/lib/systemd/system/ssh.service',
  ]
  expect(unitsIn(files)).toEqual(['ssh.service', 'ssh.socket'])
})
