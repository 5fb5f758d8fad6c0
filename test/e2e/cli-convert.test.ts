import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { runCli } from '../support/cli.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const FIXTURE = new URL('../../src/config/fixtures/zerops-node.yml', import.meta.url).pathname

test('config convert writes shiplock.yaml, refuses to overwrite one, and prints with -o -; all of it without a server', async () => {
  const directory = temporaryDirectory()
  cpSync(FIXTURE, join(directory, 'zerops.yml'))
  const cli = (...args: string[]) => runCli({ dataDirectory: directory, apiPort: 1, edgePort: 1 }, ['config', ...args])
  const printed = await cli('convert', '-o', '-')
  expect({ code: printed.code, stderr: printed.stderr }).toEqual({ code: 0, stderr: '' })
  const first = await cli('convert')
  expect(first.code).toBe(0)
  expect(first.stdout).toContain('zerops.yml → ')
  const file = join(directory, 'shiplock.yaml')
  expect(readFileSync(file, 'utf8')).toBe(printed.stdout)
  // From now on the native file is the one that is read.
  expect((await cli('explain', '--json')).stdout).toContain('shiplock.yaml:')
  writeFileSync(file, 'mine')
  const again = await cli('convert', '--config', 'zerops.yml')
  expect(again.code).toBe(6)
  expect(again.stderr).toContain('exists already')
  expect(readFileSync(file, 'utf8')).toBe('mine')
  const forced = await cli('convert', '--config', 'zerops.yml', '--force', '--json')
  expect(JSON.parse(forced.stdout)).toMatchObject({ from: 'zerops.yml', to: file, notes: [{ service: 'app', notes: [] }] })
  expect(readFileSync(file, 'utf8')).toBe(printed.stdout)
})
