import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { pack } from 'tar-stream'
import { describe, expect, onTestFinished, test } from 'vitest'
import { removeTree } from '../core/remove-tree.ts'
import type { Artifact } from '../domain/deployment.ts'
import type { Digest } from '../domain/ids.ts'
import { LeakMatcher } from './leak-matcher.ts'
import { createLeakScanner } from './leaks.ts'

const VALUE = 'sk_live_51Hq8ZtWvXy0aBc'
const KEY = `-----BEGIN PRIVATE KEY-----\n${'MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7'.repeat(3)}\nabc==\n-----END PRIVATE KEY-----\n`
const SECRETS = [
  { name: 'STRIPE', value: VALUE },
  { name: 'TLS_KEY', value: KEY },
]
const TREE: Artifact = { kind: 'tree', digest: 'sha256:0' as Digest, files: 1, bytes: 1 }
const IMAGE: Artifact = { kind: 'image', digest: 'sha256:0' as Digest, reference: 'x', command: null, exposedPorts: [] }
const signal = new AbortController().signal

async function tree(files: Readonly<Record<string, string | Buffer>>): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'shiplock-leaks-'))
  onTestFinished(() => removeTree(directory))
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, path)), { recursive: true })
    writeFileSync(join(directory, path), content)
  }
  return directory
}

const scanTree = (path: string, secrets = SECRETS, bytesMax?: number) =>
  createLeakScanner({ saveImage: async () => null, ...(bytesMax === undefined ? {} : { bytesMax }) }).scan({
    artifact: TREE,
    directories: [{ name: '', path }],
    secrets,
    signal,
  })

describe('I8: in a tree of files', () => {
  test.each<[string, string | Buffer]>([
    ['as it is', `const key = '${VALUE}'`],
    ['in base64', Buffer.from(`user:${VALUE}`).toString('base64')],
    ['in base64, wrapped', `${Buffer.from(`xx${VALUE}`).toString('base64').replace(/.{10}/g, '$&\n')}`],
    ['in hex', Buffer.from(VALUE).toString('hex')],
    ['in a binary file', Buffer.concat([Buffer.alloc(300_000, 7), Buffer.from(VALUE), Buffer.alloc(10)])],
    ['across the chunks that are read', Buffer.concat([Buffer.alloc(256 * 1024 - 5, 'x'), Buffer.from(VALUE)])],
  ])('a secret is found %s, by its name and file', async (_how, content) => {
    const directory = await tree({ 'dist/app.js': content, 'README.md': 'nothing here' })
    const report = await scanTree(directory)
    expect(report).toMatchObject({ leaks: [{ layer: '', path: 'dist/app.js', names: ['STRIPE'] }], files: 2, isComplete: true })
    expect(JSON.stringify(report)).not.toContain(VALUE)
  })

  test('a key of several lines is found whole, within JSON, and by its body alone; its head alone is no secret', async () => {
    const directory = await tree({
      'whole.pem': `# a comment\n${KEY}`,
      'crlf.pem': KEY.replaceAll('\n', '\r\n'),
      'config.json': JSON.stringify({ key: KEY }),
      'body.yaml': `key: |\n    ${KEY.split('\n')[1]}\n`,
      'other.pem': '-----BEGIN PRIVATE KEY-----\nsomebodyelses\n-----END PRIVATE KEY-----\n',
    })
    const { leaks } = await scanTree(directory)
    expect(leaks.map(({ path }) => path)).toEqual(['body.yaml', 'config.json', 'crlf.pem', 'whole.pem'])
    expect(leaks.every(({ names }) => names.join() === 'TLS_KEY')).toBe(true)
  })

  test('I9: links are not followed', async () => {
    const outside = await tree({ secret: VALUE })
    const directory = await tree({ 'a.txt': 'harmless' })
    symlinkSync(join(outside, 'secret'), join(directory, 'link'))
    symlinkSync(outside, join(directory, 'directory'))
    expect((await scanTree(directory)).leaks).toEqual([])
  })

  test('short values are not looked for, and without secrets nothing is read', async () => {
    const directory = await tree({ 'a.txt': 'admin1 on true' })
    expect(await scanTree(directory, [{ name: 'USER', value: 'admin1' }])).toEqual({ leaks: [], files: 0, bytes: 0, isComplete: true })
  })

  test('I12: the search ends at its bound and says so', async () => {
    const directory = await tree({ a: Buffer.alloc(600_000), b: VALUE })
    expect(await scanTree(directory, SECRETS, 500_000)).toMatchObject({ leaks: [], bytes: 500_000, isComplete: false })
  })

  test('a search that is aborted ends', async () => {
    const directory = await tree({ a: Buffer.alloc(3_000_000) })
    const scanning = createLeakScanner({ saveImage: async () => null }).scan({
      artifact: TREE,
      directories: [{ name: '', path: directory }],
      secrets: SECRETS,
      signal: AbortSignal.abort(new Error('canceled')),
    })
    await expect(scanning).rejects.toThrow('canceled')
  })
})

describe('I8: in an image', () => {
  const tar = (files: Readonly<Record<string, string | Buffer>>): Promise<Buffer> => {
    const archive = pack()
    for (const [name, content] of Object.entries(files)) archive.entry({ name }, content)
    archive.finalize()
    return buffer(archive)
  }
  const scanImage = (archive: Buffer | null, chunk = 1000) =>
    createLeakScanner({ saveImage: async () => (archive === null ? null : chunks(archive, chunk)) }).scan({
      artifact: IMAGE,
      directories: [],
      secrets: SECRETS,
      signal,
    })
  async function* chunks(bytes: Buffer, size: number): AsyncGenerator<Buffer> {
    for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
  }
  const [first, second] = ['1'.repeat(64), '2'.repeat(64)]

  test('a secret is found in a layer although a later one removes the file, in either layout', async () => {
    const one = await tar({ 'app/.env': `KEY=${VALUE}`, 'app/index.js': 'x'.repeat(5000) })
    const other = await tar({ 'app/.wh..env': '' })
    const classic = await tar({ [`${first}/layer.tar`]: one, [`${second}/layer.tar`]: other, 'manifest.json': '[]' })
    const oci = await tar({ [`blobs/sha256/${first}`]: gzipSync(one), [`blobs/sha256/${second}`]: gzipSync(other), 'index.json': '{}' })
    for (const archive of [classic, oci]) {
      for (const chunk of [100, 70_000]) {
        expect((await scanImage(archive, chunk)).leaks).toEqual([{ layer: 'layer 111111111111', path: 'app/.env', names: ['STRIPE'] }])
      }
    }
  })

  test('a secret is found in the variables and the history of its configuration', async () => {
    const archive = await tar({ [`${first}.json`]: JSON.stringify({ config: { Env: [`KEY=${VALUE}`] } }) })
    expect((await scanImage(archive)).leaks).toMatchObject([{ layer: 'image configuration', names: ['STRIPE'] }])
  })

  test('an image that is not here, or whose archive breaks off, is no clean one', async () => {
    await expect(scanImage(null)).rejects.toMatchObject({ code: 'SCANNER_FAILED' })
    const archive = await tar({ [`${first}/layer.tar`]: await tar({ a: 'x'.repeat(50_000) }) })
    await expect(scanImage(archive.subarray(0, 20_000))).rejects.toThrow()
  })
})

test('whatever the bytes, cut wherever, a secret in them is found', async () => {
  const matcher = await LeakMatcher.make(SECRETS)
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), fc.uint8Array({ maxLength: 40 }), fc.nat(), (before, after, place) => {
      const bytes = Buffer.concat([before, Buffer.from(VALUE), after])
      const cut = place % bytes.length
      const file = matcher.file()
      file.push(bytes.subarray(0, cut))
      file.push(bytes.subarray(cut))
      expect(file.names).toEqual(['STRIPE'])
    }),
  )
})

test('I12: more and longer secrets than are looked for at once are said to be so, and the first of each is looked for', async () => {
  const many = Array.from({ length: 100 }, (_, n) => ({ name: `S${n}`, value: `${n}-${'x'.repeat(40)}`.repeat(1000) }))
  expect((await LeakMatcher.make(many)).isComplete).toBe(false)
  const lines = Array.from({ length: 2000 }, (_, n) => `${n}${'abcdefgh'.repeat(4)}`).join('\n')
  expect((await LeakMatcher.make([{ name: 'LONG', value: lines }])).isComplete).toBe(true)
})
