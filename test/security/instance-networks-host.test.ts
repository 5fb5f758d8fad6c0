import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { runCommand } from '../../src/core/exec.ts'
import { removeTree } from '../../src/core/remove-tree.ts'
import { builtFile, ensureBuilt } from '../support/build.ts'

test('beside chains that drop what is forwarded instances reach outside, nobody reaches them past the edge, and nothing of it stays', async () => {
  ensureBuilt()
  const directory = mkdtempSync(join(tmpdir(), 'sl-host-'))
  onTestFinished(() => removeTree(directory))
  const script = resolve(import.meta.dirname, '../support/apps/network-in-drop.mjs')
  const args = ['--net', '--mount', '--', process.execPath, script, dirname(builtFile('main.ts')), directory]
  const result = await runCommand('/usr/bin/unshare', args, { env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' }, timeoutMs: 60_000 })
  expect({ said: result.stdout.trim(), complaints: result.stderrTail }).toMatchObject({
    said: expect.stringMatching(/^\{/),
    complaints: [],
  })
  const seen = JSON.parse(result.stdout) as { reached: string; past: string; left: string[]; forwards: string }
  expect(seen).toEqual({ reached: 'from ::ffff:192.0.2.1', past: 'nothing', left: [], forwards: '0' })
})
