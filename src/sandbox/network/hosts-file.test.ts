import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { hostsText, rewriteMounted } from './hosts-file.ts'

test('a member finds itself, the host, its siblings and what the host knows of other machines, and nothing of the host’s loopback', () => {
  const ofHost = '127.0.0.1 localhost\n127.0.1.1 box\n::1 localhost\n# db\n192.0.2.5 db.internal db\n169.254.169.254 metadata\n'
  expect(hostsText('10.64.0.1', 'box', [{ name: 'api', address: '10.64.0.20' }], ofHost).split('\n')).toEqual([
    '127.0.0.1 localhost',
    '::1 ip6-localhost ip6-loopback',
    '127.0.1.1 box',
    '10.64.0.1 host.shiplock.internal',
    '10.64.0.20 api',
    '192.0.2.5 db.internal db',
    '',
  ])
})

test('a file that is mounted elsewhere stays the same file, and nothing of a longer text stays in it', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'sl-hosts-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const path = join(directory, 'hosts')
  await rewriteMounted(path, 'x'.repeat(9000))
  const before = statSync(path).ino
  await rewriteMounted(path, '127.0.0.1 localhost\n')
  expect(statSync(path).ino).toBe(before)
  expect(readFileSync(path, 'utf8').trim()).toBe('127.0.0.1 localhost')
})
