import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { createTreeStore } from '../../src/artifacts/tree-store.ts'
import { createRecipeBuilder } from '../../src/builders/recipe/recipe-builder.ts'
import { silentLogger } from '../../src/core/log.ts'
import type { EnvironmentId, ProjectId, ServiceEnvironmentId } from '../../src/domain/ids.ts'
import type { RecipeBuild } from '../../src/domain/service-config.ts'
import { createSandbox } from '../../src/sandbox/create-sandbox.ts'
import { GitRepo } from '../support/git-repo.ts'
import { hostGitSource } from '../support/git-source.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

/** A project with a dependency inside the repository, so that a real `npm ci` needs no network. */
const PROJECT = {
  'package.json': JSON.stringify({
    name: 'app',
    version: '1.0.0',
    scripts: { build: 'node build.js' },
    dependencies: { greet: 'file:packages/greet' },
  }),
  'package-lock.json': JSON.stringify({
    name: 'app',
    version: '1.0.0',
    lockfileVersion: 3,
    requires: true,
    packages: {
      '': { name: 'app', version: '1.0.0', dependencies: { greet: 'file:packages/greet' } },
      'node_modules/greet': { resolved: 'packages/greet', link: true },
      'packages/greet': { version: '1.0.0' },
    },
  }),
  'packages/greet/package.json': JSON.stringify({ name: 'greet', version: '1.0.0', main: 'index.js' }),
  'packages/greet/index.js': 'module.exports = (name) => `hello ${name}`\n',
  'build.js': "const fs = require('fs'); fs.mkdirSync('dist'); fs.copyFileSync('src/main.js', 'dist/main.js')\n",
  'src/main.js': "console.log(require('greet')('world'))\n",
  '.gitignore': 'node_modules\ndist\n',
}

const RECIPE: RecipeBuild = {
  kind: 'recipe',
  base: ['nodejs'],
  os: null,
  prepareCommands: [],
  buildCommands: ['npm ci --offline', 'npm run build'],
  deployFiles: ['dist', 'node_modules', 'packages', 'package.json'],
  cache: ['node_modules'],
  addToRunPrepare: [],
  env: {},
  timeoutMs: 120_000,
}

async function fixture() {
  const root = temporaryDirectory()
  const repo = new GitRepo(join(root, 'repo'))
  repo.commit('a real project', PROJECT)
  const sandbox = await createSandbox({ stateDirectory: join(root, 'sandbox'), logger: silentLogger })
  const builder = createRecipeBuilder({ sandbox, logger: silentLogger })
  const source = await hostGitSource(root)
  const lines: string[] = []
  const signal = new AbortController().signal
  const onLine = (line: string) => void lines.push(line)
  let count = 0
  const build = async (recipe: Partial<RecipeBuild> = {}, startCommands = ['node dist/main.js']) => {
    const sourceDirectory = join(root, `source${count}`)
    await source.fetch({ source: { kind: 'git', url: repo.directory, ref: null }, directory: sourceDirectory, onLine, signal })
    const workDirectory = join(root, `work${count++}`)
    const request = {
      key: `dep_${count}`,
      projectId: 'prj_npm' as ProjectId,
      environmentId: 'env_npm' as EnvironmentId,
      serviceEnvironmentId: 'sen_npm' as ServiceEnvironmentId,
    }
    const names = { project: 'main', environment: 'production', service: 'app' }
    const config = { ...RECIPE, ...recipe }
    const directories = { sourceDirectory, workDirectory, cacheDirectory: join(root, 'cache') }
    return builder.build({ ...request, ...directories, names, config, env: {}, startCommands, timeoutMs: 120_000, onLine, signal })
  }
  return { root, repo, lines, build }
}

test('a repository with an npm project becomes a stored artifact that runs', async () => {
  const { root, lines, build } = await fixture()
  const store = createTreeStore({ directory: join(root, 'store') })
  const digests: string[] = []
  for (let round = 0; round < 2; round++) {
    const output = await build()
    if (output.kind !== 'tree') throw new Error('not a tree')
    const { digest } = await store.put(output.directory)
    digests.push(digest)
    const stored = (await store.find(digest)) ?? ''
    expect(readdirSync(stored).sort()).toEqual(['dist', 'node_modules', 'package.json', 'packages'])
    expect(execFileSync(process.execPath, ['dist/main.js'], { cwd: stored, encoding: 'utf8' })).toBe('hello world\n')
  }
  expect(digests[0]).toBe(digests[1])
  expect(lines.join('\n')).toContain('build layer: hit')
  expect(existsSync(join(root, 'repo', 'dist'))).toBe(false)
})

test('the mistakes people make with npm are named, with one suggestion', async () => {
  const { repo, build } = await fixture()
  await expect(build({ buildCommands: ['npm run bild'] })).rejects.toMatchObject({
    message: expect.stringContaining('package.json has no script bild'),
  })
  await expect(build({ buildCommands: ['node src/main.js'] })).rejects.toMatchObject({
    message: expect.stringContaining('the module greet is not there'),
    hint: expect.stringContaining('install command'),
  })
  await expect(build({ deployFiles: ['dist/~'] })).rejects.toMatchObject({ code: 'START_FILE_MISSING' })
  repo.git('rm', '--quiet', 'package-lock.json')
  repo.git('commit', '--quiet', '-m', 'without a lock file')
  await expect(build()).rejects.toMatchObject({ message: expect.stringContaining('`npm ci` needs a package-lock.json') })
})
