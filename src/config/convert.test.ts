// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references look like template placeholders
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { temporaryDirectory } from '../../test/support/temporary-directory.ts'
import { convertManifest } from './convert.ts'
import { listServices, resolveService } from './resolve.ts'

async function source(files: Readonly<Record<string, string>>): Promise<string> {
  const root = temporaryDirectory()
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), content)
  }
  return root
}

async function resolvedOf(directory: string) {
  const place = { directory, configPath: null, rootDirectory: null }
  const names = await listServices(place)
  return Promise.all(names.map(async (serviceName) => (await resolveService({ ...place, serviceName })).config))
}

const FILES = { 'package.json': '{"scripts":{"start":"node index.js"}}', 'index.js': '' }

/** What the file resolves to is what its conversion resolves to. */
async function expectSame(name: string, text: string): Promise<string> {
  const theirs = await source({ ...FILES, [name]: text })
  const { text: native } = await convertManifest({ directory: theirs, configPath: null })
  const ours = await source({ ...FILES, 'shiplock.yaml': native })
  expect(await resolvedOf(ours)).toEqual(await resolvedOf(theirs))
  return native
}

const CORPUS: Readonly<Record<string, string>> = {
  'zerops-node.yml': 'zerops.yml',
  'zerops-many.yml': 'zerops.yaml',
  'zerops-static.yml': 'zerops.yml',
  'ezforge-dockerfile.toml': 'ezforge.toml',
  'ezforge-image.toml': 'ezforge.toml',
}

describe('config convert', () => {
  it.each(Object.entries(CORPUS))('%s resolves to the same before and after', async (fixture, name) => {
    await expectSame(name, await readFile(new URL(`./fixtures/${fixture}`, import.meta.url), 'utf8'))
  })

  it('a block stays a block, long commands are not folded, and texts that look like something else stay texts', async () => {
    const long = `node -e "${'x'.repeat(300)} ${'y'.repeat(200)}"`
    const native = await expectSame(
      'zerops.yml',
      `zerops:\n  - setup: api\n    build:\n      buildCommands:\n        - |\n          one\n          two\n        - ${JSON.stringify(long)}\n    run:\n      start: node .\n      envVariables: { A: 1.10, B: yes, D: 0x10, E: " padded ", F: "# no comment", G: "\${db_password}" }\n`,
    )
    expect(native).toContain('- |\n')
    expect(native).toContain(long)
    expect(native).toContain('A: "1.10"')
  })

  it('says in comments what is done in another way', async () => {
    const directory = await source({
      'zerops.yml':
        'zerops:\n  - setup: api\n    build: { cache: true, buildCommands: make }\n    run: { start: ./api, prepareCommands: [sh setup.sh], ports: [{ port: 80 }, { port: 81 }] }\n',
    })
    const { text, notes, from } = await convertManifest({ directory, configPath: null })
    expect(from).toBe('zerops.yml')
    expect(text).toMatch(/^# Made from zerops\.yml by `shiplock config convert`\.\n# yaml-language-server: \$schema=/)
    expect(notes[0]?.notes).toHaveLength(3)
    for (const note of notes[0]?.notes ?? []) expect(text).toContain(`  # ${note}\n`)
  })

  it('refuses what is native already, what is not there and what is wrong', async () => {
    const native = await source({ 'shiplock.yaml': 'services: { a: { run: { start: a } } }\n' })
    await expect(convertManifest({ directory: native, configPath: null })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    await expect(convertManifest({ directory: await source({}), configPath: null })).rejects.toMatchObject({ code: 'CONFIG_NOT_FOUND' })
    const wrong = await source({ 'zerops.yml': 'zerops: [{ setup: api, run: { crontab: [] } }]\n' })
    await expect(convertManifest({ directory: wrong, configPath: null })).rejects.toThrow(/crontab has no equivalent/)
  })

  it('any commands and variables survive', async () => {
    const text = fc.string({ minLength: 1, maxLength: 60, unit: 'grapheme-ascii' }).filter((value) => value.trim() !== '')
    const lines = fc.array(text, { minLength: 1, maxLength: 3 }).map((all) => all.join('\n'))
    const env = fc.dictionary(
      fc.stringMatching(/^[A-Z][A-Z0-9]{0,8}$/).filter((name) => name !== 'PORT'),
      lines,
      { maxKeys: 4 },
    )
    await fc.assert(
      fc.asyncProperty(fc.array(lines, { minLength: 1, maxLength: 3 }), env, async (buildCommands, envVariables) => {
        await expectSame(
          'zerops.yml',
          JSON.stringify({ zerops: [{ setup: 'api', build: { buildCommands }, run: { start: 'node .', envVariables } }] }),
        )
      }),
      { numRuns: 40 },
    )
  })
})
