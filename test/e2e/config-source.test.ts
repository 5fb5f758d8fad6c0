import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { resolveService } from '../../src/config/resolve.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const WHOLE = { serviceName: null, configPath: null, rootDirectory: null }
const EXAMPLES = new URL('../../examples/', import.meta.url).pathname

describe('the configuration of real directories', () => {
  const examples = readdirSync(EXAMPLES, { withFileTypes: true }).filter((entry) => entry.isDirectory())

  it.each(examples.map(({ name }) => name))('resolves examples/%s to something that starts', async (name) => {
    if (readdirSync(join(EXAMPLES, name)).length === 0) return
    const { config, origin, explanation } = await resolveService({ directory: join(EXAMPLES, name), ...WHOLE })
    expect(origin).not.toBe('')
    expect(explanation.length).toBeGreaterThan(30)
    if (config.build.kind === 'recipe') expect(config.run.startCommands.length > 0 || config.run.staticRoot !== null).toBe(true)
  })

  it('resolves a fresh git repository without reading its .git', async () => {
    const directory = temporaryDirectory()
    writeFileSync(join(directory, 'package.json'), '{"name":"x","scripts":{"start":"node index.js"}}')
    execFileSync('git', ['init', '-q', directory])
    expect((await resolveService({ directory, ...WHOLE })).config.run.startCommands).toEqual(['node index.js'])
  })
})

describe('I9: what only looks like a file', () => {
  it('does not wait for the writer of a named pipe', async () => {
    const directory = temporaryDirectory()
    execFileSync('mkfifo', [join(directory, 'shiplock.yaml')])
    await expect(resolveService({ directory, ...WHOLE, configPath: 'shiplock.yaml' })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: 'shiplock.yaml is no regular file',
    })
    writeFileSync(join(directory, 'index.html'), '')
    expect((await resolveService({ directory, ...WHOLE })).config.run.staticRoot).toBe('.')
  })

  it('passes over a directory with the name of a configuration file', async () => {
    const directory = temporaryDirectory()
    mkdirSync(join(directory, 'shiplock.yaml'))
    writeFileSync(join(directory, 'index.html'), '')
    expect((await resolveService({ directory, ...WHOLE })).origin).toBe('static site (index.html)')
  })
})
