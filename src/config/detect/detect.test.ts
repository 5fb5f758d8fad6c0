import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { temporaryDirectory } from '../../../test/support/temporary-directory.ts'
import { LIMITS } from '../../core/limits.ts'
import { SourceFiles } from '../source-files.ts'
import { detect } from './detect.ts'

async function source(files: Readonly<Record<string, string | object>>): Promise<string> {
  const root = temporaryDirectory()
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), typeof content === 'string' ? content : JSON.stringify(content))
  }
  return root
}

async function detected(files: Readonly<Record<string, string | object>>) {
  return detect(await SourceFiles.open(await source(files)), ['tree', 'image'])
}

const DEPENDENCIES = { dependencies: { express: '^5' } }

describe('Node.js', () => {
  it('installs nothing for an app without dependencies and runs a plain start script without npm', async () => {
    const { input, what, reasons } = await detected({ 'package.json': { scripts: { start: 'node server.js' } }, 'server.js': '' })
    expect(what).toBe('Node.js app (package.json)')
    expect(input).toEqual({ build: { buildCommands: [], deployFiles: ['./'] }, run: { start: 'node server.js' } })
    expect(reasons.join('\n')).toContain('nothing is installed')
  })

  it.each([
    ['package-lock.json', ['npm ci --include=dev', 'npm run build']],
    ['npm-shrinkwrap.json', ['npm ci --include=dev', 'npm run build']],
    ['pnpm-lock.yaml', ['npx --yes pnpm@10 install --frozen-lockfile --prod=false', 'npx --yes pnpm@10 run build']],
    ['yarn.lock', ['npx --yes yarn@1.22.22 install --frozen-lockfile --production=false', 'npx --yes yarn@1.22.22 run build']],
    ['bun.lock', ['bun install --frozen-lockfile', 'bun run build']],
    ['unrelated.txt', ['npm install --include=dev', 'npm run build']],
  ])('installs by %s, development dependencies too, and starts without a package manager', async (lock, buildCommands) => {
    const { input } = await detected({
      'package.json': { ...DEPENDENCIES, scripts: { build: 'tsc', start: 'next start' } },
      [lock]: '',
    })
    expect(input.build?.buildCommands).toEqual(buildCommands)
    expect(input.run?.start).toBe('export PATH="$PWD/node_modules/.bin:$PATH"; exec next start')
  })

  it.each([
    ['pnpm@9.1.0', 'pnpm-lock.yaml', "lockfileVersion: '9.0'", 'npx --yes pnpm@9.1.0'],
    ['pnpm@8.15.4+sha256.abc', 'pnpm-lock.yaml', '', 'npx --yes pnpm@8.15.4'],
    [undefined, 'pnpm-lock.yaml', "lockfileVersion: '6.0'", 'npx --yes pnpm@8'],
    [undefined, 'pnpm-lock.yaml', 'lockfileVersion: 5.4', 'npx --yes pnpm@7'],
    ['yarn@1.22.19', 'yarn.lock', '', 'npx --yes yarn@1.22.19'],
    ['pnpm@9; rm -rf /', 'pnpm-lock.yaml', '', 'npx --yes pnpm@10'],
  ])('takes the version that packageManager %s or the lock pins', async (packageManager, lock, text, call) => {
    const { input } = await detected({ 'package.json': { ...DEPENDENCIES, packageManager, main: 'a.js' }, 'a.js': '', [lock]: text })
    expect(input.build?.buildCommands?.[0]?.startsWith(`${call} install `)).toBe(true)
  })

  it('tells modern yarn from the classic one', async () => {
    const { input } = await detected({
      'package.json': { ...DEPENDENCIES, packageManager: 'yarn@4.1.0', main: 'a.js' },
      'a.js': '',
      'yarn.lock': '',
    })
    expect(input.build?.buildCommands).toEqual(['npx --yes --package @yarnpkg/cli-dist@4.1.0 yarn install --immutable'])
  })

  it('installs from a lock file even when no dependency is named', async () => {
    const { input } = await detected({ 'package.json': {}, 'package-lock.json': '{}', 'index.js': '' })
    expect(input.build?.buildCommands).toEqual(['npm ci --include=dev'])
  })

  it.each([
    [{ main: './lib/main.js' }, { 'lib/main.js': '' }, 'node lib/main.js'],
    [{}, { 'server.js': '', 'index.js': '' }, 'node server.js'],
    [{}, { 'index.js': '' }, 'node index.js'],
    [{ main: 'missing.js' }, { 'index.js': '' }, 'node index.js'],
    [{ scripts: { start: 'node --enable-source-maps dist/a.js' } }, {}, 'node --enable-source-maps dist/a.js'],
    [{ scripts: { start: 'node a.js | tee log' } }, {}, 'export PATH="$PWD/node_modules/.bin:$PATH"; node a.js | tee log'],
    [
      { scripts: { start: 'node a.js', prestart: 'node b.js' } },
      {},
      'export PATH="$PWD/node_modules/.bin:$PATH"; ( node b.js ) && exec node a.js',
    ],
    [{ scripts: { start: 'nodemon server.js' } }, { 'server.js': '' }, 'node server.js'],
    [
      { scripts: { start: 'NODE_ENV=production node a.js' } },
      {},
      'export PATH="$PWD/node_modules/.bin:$PATH"; exec env NODE_ENV=production node a.js',
    ],
    [
      { scripts: { start: 'node migrate.js && node a.js' } },
      {},
      'export PATH="$PWD/node_modules/.bin:$PATH"; node migrate.js && exec node a.js',
    ],
    [{ devDependencies: { tsx: '4' } }, { 'src/index.ts': '' }, 'exec node_modules/.bin/tsx src/index.ts'],
    [{ scripts: { start: 'node a.js' } }, { Procfile: 'worker: node w.js\nweb: node p.js --web\n' }, 'node p.js --web'],
  ])('starts %j with files %j by `%s`', async (manifest, files, start) => {
    expect((await detected({ 'package.json': manifest, ...files })).input.run?.start).toBe(start)
  })

  it('I9: does not make a command of a main that is no plain path', async () => {
    for (const main of ['a.js; rm -rf /', '$(id)', '../../etc/passwd', '-e=1', '/etc/passwd'])
      await expect(detected({ 'package.json': { main } })).rejects.toMatchObject({ code: 'CONFIG_NOT_FOUND' })
  })

  it.each([
    ['vite', 'dist'],
    ['astro', 'dist'],
    ['react-scripts', 'build'],
    ['gatsby', 'public'],
    ['@11ty/eleventy', '_site'],
    ['@docusaurus/core', 'build'],
  ])('serves what a static build by %s writes', async (tool, directory) => {
    const { input, what } = await detected({
      'package.json': { devDependencies: { [tool]: '1' }, scripts: { build: 'x' } },
      'package-lock.json': '{}',
      'index.html': '',
    })
    expect(what).toBe('static site (package.json)')
    expect(input.build).toEqual({ buildCommands: ['npm ci --include=dev', 'npm run build'], deployFiles: [directory] })
    expect(input.run?.staticRoot).toBe(directory)
  })

  it('does not take a development server for the start of a static site', async () => {
    const site = { devDependencies: { 'react-scripts': '5' }, scripts: { build: 'react-scripts build', start: 'react-scripts start' } }
    expect((await detected({ 'package.json': site })).input.run).toEqual({ staticRoot: 'build', site: { singlePage: true } })
  })

  it('runs a real server even where vite builds its pages', async () => {
    const app = { devDependencies: { vite: '7' }, scripts: { build: 'vite build', start: 'node server.js' } }
    expect((await detected({ 'package.json': app })).input.run).toEqual({ start: 'node server.js' })
  })

  it('notes the Node.js version that is asked for', async () => {
    const { reasons } = await detected({ 'package.json': { engines: { node: '>=22' }, main: 'a.js' }, 'a.js': '' })
    expect(reasons).toContainEqual(expect.stringContaining('engines.node asks for >=22'))
  })

  it('takes fields of a wrong type as absent', async () => {
    const odd = { scripts: { start: 7, build: null }, main: {}, engines: 'x', dependencies: ['a'] }
    expect((await detected({ 'package.json': odd, 'index.js': '' })).input.run?.start).toBe('node index.js')
    expect((await detected({ 'package.json': '[]', 'index.js': '' })).input.run?.start).toBe('node index.js')
  })

  it('refuses a package.json that is no JSON', async () => {
    await expect(detected({ 'package.json': '{"scripts":' })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('package.json is no valid JSON'),
    })
  })
})

describe('other stacks', () => {
  it('prefers a Dockerfile where images run, and says when it is passed over', async () => {
    const root = await source({ Dockerfile: 'FROM scratch', 'package.json': { main: 'a.js' }, 'a.js': '' })
    const files = await SourceFiles.open(root)
    expect((await detect(files, ['tree', 'image'])).input).toEqual({ build: { dockerfile: 'Dockerfile' } })
    const passedOver = await detect(files, ['tree'])
    expect(passedOver.what).toBe('Node.js app (package.json)')
    expect(passedOver.reasons[0]).toContain('no container engine answers')
  })

  it.each([
    [{ 'index.html': '' }, '.', './'],
    [{ 'public/index.html': '' }, 'public', 'public'],
    [{ 'dist/index.html': '', 'package.json': { devDependencies: { prettier: '3' } } }, 'dist', 'dist'],
  ])('serves the ready files of %j', async (files, staticRoot, deployed) => {
    expect((await detected(files)).input).toEqual({ build: { deployFiles: [deployed] }, run: { staticRoot } })
  })

  it.each([
    ['flask\n', 'app.py', 'app = Flask(__name__)', 'python3 -m flask --app app:app run'],
    ['fastapi\nuvicorn[standard]>=0.30\n', 'main.py', 'app = FastAPI()', 'python3 -m uvicorn main:app'],
    ['Flask==3\ngunicorn==23\n', 'wsgi.py', 'application = x', 'python3 -m gunicorn wsgi:application'],
    ['requests\n', 'main.py', 'print(1)', 'python3 main.py'],
  ])('starts a Python project with %j and %s', async (requirements, file, text, start) => {
    const { input } = await detected({ 'requirements.txt': requirements, [file]: text })
    expect(input.run?.start).toContain(` exec ${start}`)
    expect(input.build?.buildCommands).toEqual([expect.stringMatching(/^python3 -m pip install .* -r requirements\.txt$/)])
  })

  it('recognises a Go program', async () => {
    expect((await detected({ 'go.mod': 'module x', 'main.go': 'package main\n\nfunc main() {}\n' })).input.run).toEqual({ start: './app' })
  })
})

describe('nothing to recognise', () => {
  it('I16: says in one sentence what is there, and in the details everything that was looked for', async () => {
    await expect(detected({ 'README.md': '' })).rejects.toMatchObject({
      code: 'CONFIG_NOT_FOUND',
      message: 'nothing here says how to run this: there is README.md, and nothing by which a program or a site is known',
      details: { lookedFor: expect.arrayContaining(['a Dockerfile: not there', 'a go.mod: not there']) },
    })
  })

  it.each([
    [{ 'package.json': {}, 'requirements.txt': '', 'go.mod': '' }, 'package.json has no start script', 'Add what is missing'],
    [{ 'requirements.txt': '', 'go.mod': '' }, 'requirements.txt is there, but nothing to start', 'Add what is missing'],
    [{ 'go.mod': '' }, 'go.mod is there, but no Go file with package main', 'Add what is missing'],
    [{ 'backend/manage.py': '', 'README.md': '' }, 'manage.py is in backend/', '`--root backend`'],
    [{ 'a/package.json': {}, 'b/go.mod': '', 'b/c/package.json': {} }, '2 directories can be deployed each by itself: a, b', '`--root a`'],
    [{ 'mix.exs': '', 'lib/a.ex': '' }, 'mix.exs is there (Elixir)', 'build.base: elixir'],
    [{ 'compose.yaml': '' }, 'compose.yaml is there (Docker Compose)', '--image'],
    [{}, 'there is no file in this directory', '--root'],
  ])('of %j it says what is nearest', async (files, sentence, hint) => {
    await expect(detected(files as Record<string, string | object>)).rejects.toMatchObject({
      message: expect.stringContaining(sentence),
      hint: expect.stringContaining(hint),
    })
  })

  it('I9: never follows a link out of the source', async () => {
    const root = await source({ 'index.js': '' })
    await symlink('/etc/hostname', join(root, 'package.json'))
    await expect(detect(await SourceFiles.open(root), ['tree'])).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: 'the file package.json is a link that leaves the source',
    })
  })

  it('I12: refuses a package.json larger than any', async () => {
    await expect(detected({ 'package.json': ' '.repeat(LIMITS.detectFileBytes + 1) })).rejects.toMatchObject({
      message: expect.stringContaining('at most'),
    })
  })

  it('treats a directory named package.json as no package.json', async () => {
    await expect(detected({ 'package.json/x': '' })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })
})
