import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { temporaryDirectory } from '../../../test/support/temporary-directory.ts'
import { SourceFiles } from '../source-files.ts'
import { detect } from './detect.ts'

type Tree = Readonly<Record<string, string | object>>

async function detected(manifest: object, tree: Tree = {}) {
  const root = temporaryDirectory()
  for (const [path, content] of Object.entries({ 'package.json': manifest, 'package-lock.json': '{}', ...tree })) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), typeof content === 'string' ? content : JSON.stringify(content))
  }
  return detect(await SourceFiles.open(root), ['tree'])
}

const on = (...dependencies: string[]) => ({
  dependencies: Object.fromEntries(dependencies.map((name) => [name, '1'])),
  scripts: { build: 'build it' },
})

describe('a server, by what the build really gives', () => {
  test.each<[string, object, Tree, string]>([
    [
      'Next.js',
      { ...on('next', 'react'), scripts: { build: 'next build', dev: 'next dev' } },
      {},
      'exec node_modules/.bin/next start --port "$PORT"',
    ],
    ['Nuxt', { ...on('nuxt'), scripts: { build: 'nuxt build' } }, {}, 'node .output/server/index.mjs'],
    ['SvelteKit with adapter-node', on('@sveltejs/kit', '@sveltejs/adapter-node', 'vite'), {}, 'node build'],
    [
      'Astro with @astrojs/node',
      on('astro', '@astrojs/node'),
      { 'astro.config.mjs': "export default defineConfig({ output: 'server', adapter: node({ mode: 'standalone' }) })" },
      'HOST="${HOST:-0.0.0.0}" exec node ./dist/server/entry.mjs',
    ],
    [
      'Astro, whatever its adapter is called',
      on('astro', '@astrojs/node'),
      { 'astro.config.mjs': "import nodejs from '@astrojs/node'\nexport default { adapter: nodejs({ mode: 'standalone' }) }" },
      'HOST="${HOST:-0.0.0.0}" exec node ./dist/server/entry.mjs',
    ],
    [
      'Express beside a tool of pages',
      { ...on('express', 'vite'), scripts: { build: 'vite build' } },
      { 'server.js': '' },
      'node server.js',
    ],
    ['… by its main', { ...on('fastify', 'vite'), main: 'index.js' }, { 'index.js': '' }, 'node index.js'],
    ['a main that the build makes', { main: 'dist/index.js', scripts: { build: 'tsc' } }, {}, 'node dist/index.js'],
    ['SolidStart', on('@solidjs/start', 'vinxi'), {}, 'node .output/server/index.mjs'],
    ['Remix', on('@remix-run/serve', 'vite'), {}, 'exec node_modules/.bin/remix-serve ./build/server/index.js'],
    [
      'Nest by its script for production',
      { ...on('@nestjs/core'), scripts: { build: 'nest build', start: 'nest start', 'start:prod': 'node dist/main' } },
      {},
      'node dist/main',
    ],
    ['Nest without one', { ...on('@nestjs/core'), scripts: { build: 'nest build', start: 'nest start' } }, {}, 'node dist/main'],
    [
      'Angular with SSR',
      on('@angular/core', '@angular/ssr'),
      { 'angular.json': { projects: { shop: {} } } },
      'node dist/shop/server/server.mjs',
    ],
    [
      'Nx by where it builds to',
      { devDependencies: { nx: '1' }, scripts: { build: 'nx build', start: 'nx serve' } },
      { 'project.json': { targets: { build: { options: { outputPath: 'dist/api' } } } } },
      'node dist/api/main.js',
    ],
  ])('%s', async (_, manifest, tree, start) => {
    const { input } = await detected(manifest, tree)
    expect(input.run?.start).toBe(start)
  })

  test('of a standalone Next.js the assets are put beside the server', async () => {
    const tree = { 'next.config.js': "module.exports = { output: 'standalone' }", 'public/a.txt': '' }
    const { input } = await detected({ ...on('next'), scripts: { build: 'next build', start: 'next start' } }, tree)
    expect(input.build?.buildCommands?.slice(-2)).toEqual(['cp -r .next/static .next/standalone/.next/', 'cp -r public .next/standalone/'])
    expect(input.run?.start).toContain('node .next/standalone/server.js')
  })
})

describe('a site, by what the build really gives', () => {
  test.each<[string, object, Tree, string, boolean]>([
    [
      'Next.js that exports',
      { ...on('next'), scripts: { build: 'next build', start: 'next start' } },
      { 'next.config.mjs': "export default { output: 'export' }" },
      'out',
      false,
    ],
    [
      'SvelteKit with adapter-static',
      on('@sveltejs/kit', '@sveltejs/adapter-static'),
      { 'svelte.config.js': 'adapter: adapter()' },
      'build',
      false,
    ],
    [
      '… and a fallback page',
      on('@sveltejs/kit', '@sveltejs/adapter-static'),
      { 'svelte.config.js': "adapter: adapter({ fallback: '200.html' })" },
      'build',
      true,
    ],
    [
      'SvelteKit by the adapter that its configuration names',
      on('@sveltejs/kit', '@sveltejs/adapter-static', '@sveltejs/adapter-node'),
      { 'svelte.config.js': "import adapter from '@sveltejs/adapter-static'" },
      'build',
      false,
    ],
    ['Astro', on('astro'), { 'astro.config.mjs': "// output: 'server'\nexport default {}" }, 'dist', false],
    ['Nuxt that generates', { ...on('nuxt'), scripts: { build: 'nuxt generate' } }, {}, '.output/public', false],
    [
      'Create React App',
      { ...on('react-scripts'), scripts: { build: 'react-scripts build', start: 'react-scripts start' } },
      { 'src/index.js': '' },
      'build',
      true,
    ],
    ['Vite with a client router', on('vite', 'react-router-dom'), {}, 'dist', true],
    ['Vite without one', on('vite'), {}, 'dist', false],
    [
      'Vite with a directory of its own',
      on('vite'),
      { 'vite.config.ts': "export default { build: { outDir: './public/app' } }" },
      'public/app',
      false,
    ],
    [
      'Angular',
      on('@angular/core'),
      { 'angular.json': { projects: { shop: { architect: { build: { builder: '@angular/build:application' } } } } } },
      'dist/shop/browser',
      true,
    ],
    ['VitePress', { ...on('vitepress'), scripts: { build: 'vitepress build docs' } }, {}, 'docs/.vitepress/dist', false],
    [
      'a site whose start script only shows it',
      { ...on('vite'), scripts: { build: 'vite build', start: 'serve -s dist' } },
      {},
      'dist',
      false,
    ],
  ])('%s', async (_, manifest, tree, directory, isSinglePage) => {
    const { input } = await detected(manifest, tree)
    expect(input.run).toEqual({ staticRoot: directory, ...(isSinglePage ? { site: { singlePage: true } } : {}) })
    expect(input.build?.deployFiles).toEqual([directory])
  })
})

describe('I16: what gives nothing that runs ends in a sentence with the one thing to do', () => {
  test.each<[string, object, Tree, RegExp]>([
    ['SvelteKit with adapter-auto', on('@sveltejs/kit', '@sveltejs/adapter-auto', 'vite'), {}, /npm install -D @sveltejs\/adapter-node/],
    [
      'Astro with another host’s adapter',
      on('astro', '@astrojs/vercel'),
      { 'astro.config.mjs': "export default { output: 'server' }" },
      /npx astro add node/,
    ],
    [
      'a workspace from its top',
      { private: true, workspaces: ['apps/*'] },
      { 'apps/web/package.json': { scripts: { start: 'node a.js' } }, 'apps/api/package.json': { scripts: { start: 'node a.js' } } },
      /--root apps\/api.*--root apps\/web/,
    ],
  ])('%s', async (_, manifest, tree, words) => {
    await expect(detected(manifest, tree)).rejects.toMatchObject({ code: 'CONFIG_NOT_FOUND', message: expect.stringMatching(words) })
  })

  /** As somebody deploys `--root apps/web` of a repository. */
  async function member(manifest: object, tree: Tree = {}, top: object = { private: true, workspaces: ['apps/*', 'packages/*'] }) {
    const root = temporaryDirectory()
    const files = {
      'package.json': top,
      'packages/ui/package.json': { name: '@m/ui' },
      'apps/web/package.json': manifest,
      'apps/web/a.js': '',
      ...tree,
    }
    for (const [path, content] of Object.entries(files)) {
      await mkdir(dirname(join(root, path)), { recursive: true })
      await writeFile(join(root, path), typeof content === 'string' ? content : JSON.stringify(content))
    }
    return detect(await (await SourceFiles.open(root)).inside('apps/web', 'the root directory'), ['tree'])
  }

  test.each([['workspace:*'], ['1.0.0'], ['*'], ['file:../../packages/ui'], ['link:../../packages/ui']])(
    'I9: a member that needs its sibling as %s: its name is asked for at no registry',
    async (version) => {
      await expect(member({ name: 'web', dependencies: { '@m/ui': version }, main: 'a.js' })).rejects.toMatchObject({
        code: 'CONFIG_NOT_FOUND',
        message: expect.stringContaining('@m/ui'),
        hint: expect.stringMatching(/shiplock\.yaml.*apps\/web/),
      })
    },
  )

  test('nor where pnpm-workspace.yaml names the members, or a development dependency needs it', async () => {
    const manifest = { name: 'web', devDependencies: { '@m/ui': '^1' }, main: 'a.js' }
    await expect(member(manifest, { 'pnpm-workspace.yaml': 'packages: ["packages/*"]' }, { private: true })).rejects.toThrow(/@m\/ui/)
  })

  test.each<[string, object, Tree, object | undefined]>([
    ['a member that needs nothing of the others', { dependencies: { express: '5' }, main: 'a.js' }, {}, undefined],
    ['a directory of a repository that is no workspace', { dependencies: { '@m/ui': '1.0.0' }, main: 'a.js' }, {}, { private: true }],
    [
      'one whose own lock file says where it comes from',
      { dependencies: { '@m/ui': '1.0.0' }, main: 'a.js' },
      { 'apps/web/package-lock.json': '{}' },
      undefined,
    ],
    ['a package inside of it', { dependencies: { tool: 'file:./tool' }, main: 'a.js' }, {}, undefined],
  ])('%s is deployed alone', async (_, manifest, tree, top) => {
    expect((await member(manifest, tree, top)).input.run?.start).toBe('node a.js')
  })

  test('from the top of a workspace whose members need each other nobody is sent in a circle', async () => {
    const tree = {
      'apps/web/package.json': { name: 'web', scripts: { start: 'node a.js' }, dependencies: { '@m/ui': '1.0.0' } },
      'packages/ui/package.json': { name: '@m/ui' },
    }
    await expect(detected({ private: true, workspaces: ['apps/*'] }, tree)).rejects.toMatchObject({
      message: expect.stringMatching(/its members need each other's packages: apps\/web$/),
      hint: expect.not.stringContaining('--root'),
    })
  })
})
