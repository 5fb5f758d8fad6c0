// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references look like template placeholders
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeEach, expect, test } from 'vitest'
import { removeTree } from '../../core/remove-tree.ts'
import type { CliContext } from '../context.ts'
import { envImport, secretSet } from './env.ts'

const directory = mkdtempSync(join(tmpdir(), 'shiplock-env-'))
afterAll(() => removeTree(directory))

let sent: Record<string, string>
let told: string[]
beforeEach(() => {
  sent = {}
  told = []
})
function context(pipe = ''): CliContext {
  const call = async (_: string, { body }: { body: { variables: Record<string, string> } }) => {
    Object.assign(sent, body.variables)
    return { items: [] }
  }
  const terminal = {
    canAsk: false,
    isJson: false,
    colors: { yellow: (text: string) => text, green: (text: string) => text },
    print: () => {},
    error: (line: string) => told.push(line),
    readSecret: async () => pipe,
  }
  return {
    terminal,
    env: {},
    workingDirectory: directory,
    signal: new AbortController().signal,
    connect: async () => ({ client: { call } }),
  } as unknown as CliContext
}
const file = (content: string | Uint8Array) => {
  writeFileSync(join(directory, 'value'), content)
  return { file: 'value' }
}

test.each(['-----BEGIN-----\nabc\n-----END-----\n', 'two\n\n', 'crlf\r\n', '\ufeffbom', ' blanks ', 'one line\n'])(
  'the file %j is kept byte by byte',
  async (content) => {
    await secretSet(['KEY'], file(content), context())
    expect(sent).toEqual({ KEY: content })
  },
)

test('a line break at the end of one line is told, since it is seldom meant', async () => {
  await secretSet(['TOKEN'], file('abc\n'), context())
  expect(told).toContain('! TOKEN ends with a line break, as value does')
})

test.each([
  ['abc\n', 'abc'],
  ['abc\r\n', 'abc'],
  ['abc', 'abc'],
  ['-----BEGIN-----\nabc\n', '-----BEGIN-----\nabc\n'],
  ['two\n\n', 'two\n\n'],
])('of the pipe %j only what ends a single line is left away', async (piped, value) => {
  await secretSet(['KEY'], {}, context(piped))
  expect(sent).toEqual({ KEY: value })
})

test('bytes that are no text are refused by name, never replaced', async () => {
  await expect(secretSet(['KEY'], file(new Uint8Array([0xff, 0xfe, 0x41])), context())).rejects.toThrow('value is not UTF-8 text')
  await expect(envImport('value', {}, context())).rejects.toThrow('value is not UTF-8 text')
  expect(sent).toEqual({})
})

test('--literal keeps ${…} as text', async () => {
  await secretSet(['KEY'], { ...file('a${X}'), literal: true }, context())
  expect(sent).toEqual({ KEY: 'a$${X}' })
})

test('an import sets what it can, tells the rest and what changes builds', async () => {
  writeFileSync(join(directory, '.env'), 'PORT=3000\nA=1\nA=2\nPATH=/x\n')
  await envImport('.env', {}, context())
  expect(sent).toEqual({ A: '2', PATH: '/x' })
  expect(told).toEqual([
    '! left out: .env:1: PORT is set by Shiplock; give run.port, and read PORT in the app',
    '! left out: .env:2: A is set again in line 3, which counts',
    expect.stringContaining('! PATH replaces the directories'),
  ])
})
