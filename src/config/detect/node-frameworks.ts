import { LIMITS } from '../../core/limits.ts'
import type { SourceFiles } from '../source-files.ts'
import type { PackageJson } from './node-manifest.ts'

/** What a framework's build gives: a program to start, a directory of files, or nothing that can run here. */
export type FrameworkPlan =
  | { readonly kind: 'server'; readonly start: string; readonly afterBuild?: readonly string[]; readonly reason: string }
  | { readonly kind: 'static'; readonly directory: string; readonly isSinglePage: boolean; readonly reason: string }
  | { readonly kind: 'refused'; readonly because: string }

interface Framework {
  readonly tool: string
  /** One of these among the dependencies. */
  readonly dependencies: readonly string[]
  plan(about: About): Promise<FrameworkPlan> | FrameworkPlan
}

interface About {
  readonly files: SourceFiles
  readonly manifest: PackageJson
  readonly tool: string
  has(dependency: string): boolean
  script(name: string): string
  /** The text of the first of these that is there, without comments; empty when none is. */
  config(...names: readonly string[]): Promise<string>
}

/** A library that decides by the address what a page shows: every address has to lead to the one page. */
const CLIENT_ROUTERS = [
  'react-router-dom',
  'react-router',
  'vue-router',
  '@tanstack/react-router',
  '@tanstack/vue-router',
  '@solidjs/router',
  'wouter',
  'preact-router',
  'preact-iso',
  'svelte-routing',
  'svelte-spa-router',
] as const

const server = (tool: string, start: string, why: string, afterBuild?: readonly string[]): FrameworkPlan => ({
  kind: 'server',
  start,
  ...(afterBuild === undefined ? {} : { afterBuild }),
  reason: `${tool} ${why}: \`${start}\``,
})

const site = ({ tool, manifest }: About, directory: string, isSinglePage = false): FrameworkPlan => {
  const router = isSinglePage ? undefined : CLIENT_ROUTERS.find((name) => manifest.dependencies.has(name))
  const words =
    router === undefined ? (isSinglePage ? ', every address by its one page' : '') : `; ${router} is there: every address by its one page`
  const reason = `${tool} builds a static site: ${directory} is served${words}`
  return { kind: 'static', directory, isSinglePage: isSinglePage || router !== undefined, reason }
}

const files = (tool: string, dependency: string, directory: string, isSinglePage = false): Framework => ({
  tool,
  dependencies: [dependency],
  plan: (about) => site(about, directory, isSinglePage),
})

/** Astro's Node adapter makes a program of its own only as `standalone`. */
const MIDDLEWARE = /\bmode\s*:\s*['"]middleware['"]/

/** Files of a site that a build makes below `.output`, as Nitro lays them out. */
const nitro = (about: About, isStatic: boolean): FrameworkPlan =>
  isStatic ? site(about, '.output/public') : server(about.tool, 'node .output/server/index.mjs', 'builds a server')

/** In this order: what builds on another tool stands before it. The first whose dependency is there decides. */
export const FRAMEWORKS: readonly Framework[] = [
  {
    tool: 'Next.js',
    dependencies: ['next'],
    plan: async (about) => {
      const config = await about.config('next.config.js', 'next.config.mjs', 'next.config.ts', 'next.config.cjs')
      if (/\boutput\s*:\s*['"]export['"]/.test(config)) return site(about, 'out')
      if (!/\boutput\s*:\s*['"]standalone['"]/.test(config)) {
        return server(about.tool, 'exec node_modules/.bin/next start --port "$PORT"', 'runs by itself')
      }
      const copies = ['cp -r .next/static .next/standalone/.next/']
      if (await about.files.hasDirectory('public')) copies.push('cp -r public .next/standalone/')
      const start = 'HOSTNAME="${HOST:-0.0.0.0}" exec node .next/standalone/server.js'
      return server(about.tool, start, 'builds a standalone server, beside which its assets are put', copies)
    },
  },
  { tool: 'Nuxt', dependencies: ['nuxt', 'nuxt3'], plan: (about) => nitro(about, /\bgenerate\b/.test(about.script('build'))) },
  {
    tool: 'SvelteKit',
    dependencies: ['@sveltejs/kit'],
    plan: async (about) => {
      const config = await about.config('svelte.config.js', 'svelte.config.ts', 'svelte.config.mjs')
      // The one that the configuration names; where it can't be told, the one that is there.
      const named = /@sveltejs\/adapter-(node|static)\b/.exec(config)?.[1]
      const isNamed = (adapter: string) => (named === undefined ? about.has(`@sveltejs/adapter-${adapter}`) : named === adapter)
      if (isNamed('node')) return server(about.tool, 'node build', 'with adapter-node builds a server')
      if (isNamed('static')) {
        return site(about, 'build', /\bfallback\s*:\s*['"]/.test(config))
      }
      const because =
        'SvelteKit without adapter-node or adapter-static builds nothing that can be started: `npm install -D @sveltejs/adapter-node`, and name it in svelte.config.js'
      return { kind: 'refused', because }
    },
  },
  {
    tool: 'Astro',
    dependencies: ['astro'],
    plan: async (about) => {
      const config = await about.config('astro.config.mjs', 'astro.config.js', 'astro.config.ts', 'astro.config.cjs')
      const start = 'HOST="${HOST:-0.0.0.0}" exec node ./dist/server/entry.mjs'
      if (about.has('@astrojs/node') && MIDDLEWARE.test(config))
        return {
          kind: 'refused',
          because: "Astro's adapter makes a middleware, which nothing starts: `mode: 'standalone'` in astro.config",
        }
      if (about.has('@astrojs/node') && (config.includes('@astrojs/node') || /\bnode\s*\(/.test(config)))
        return server(about.tool, start, 'with @astrojs/node builds a server')
      if (/\boutput\s*:\s*['"](server|hybrid)['"]/.test(config)) {
        return {
          kind: 'refused',
          because: "Astro's output is a server, and only @astrojs/node makes one that can be started: `npx astro add node`",
        }
      }
      return site(about, 'dist')
    },
  },
  { tool: 'SolidStart', dependencies: ['@solidjs/start'], plan: (about) => nitro(about, false) },
  { tool: 'TanStack Start', dependencies: ['@tanstack/start', '@tanstack/react-start'], plan: (about) => nitro(about, false) },
  { tool: 'Nitro', dependencies: ['nitropack'], plan: (about) => nitro(about, false) },
  {
    tool: 'React Router',
    dependencies: ['@react-router/serve'],
    plan: (about) => server(about.tool, 'exec node_modules/.bin/react-router-serve ./build/server/index.js', 'builds a server'),
  },
  {
    tool: 'Remix',
    dependencies: ['@remix-run/serve'],
    plan: (about) => {
      const built = about.has('vite') ? './build/server/index.js' : './build/index.js'
      return server(about.tool, `exec node_modules/.bin/remix-serve ${built}`, 'builds a server')
    },
  },
  {
    tool: 'Nest',
    dependencies: ['@nestjs/core'],
    plan: async (about) => {
      const monorepo = /"root"\s*:\s*"apps\/([\w-]+)"/.exec(await about.config('nest-cli.json'))?.[1]
      const main = monorepo === undefined ? 'dist/main' : `dist/apps/${monorepo}/main`
      return server(about.tool, `node ${main}`, 'builds a server')
    },
  },
  {
    tool: 'Angular',
    dependencies: ['@angular/core'],
    plan: async (about) => {
      const { name, directory, isApplication } = angularOutput((await about.files.readIfText('angular.json')) ?? '')
      if (about.has('@angular/ssr'))
        return server(about.tool, `node ${directory ?? `dist/${name}`}/server/server.mjs`, 'with SSR builds a server')
      return site(about, `${directory ?? `dist/${name}`}${isApplication ? '/browser' : ''}`, true)
    },
  },
  files('Docusaurus', '@docusaurus/core', 'build'),
  files('Eleventy', '@11ty/eleventy', '_site'),
  files('Gatsby', 'gatsby', 'public'),
  files('Hexo', 'hexo', 'public'),
  {
    tool: 'VitePress',
    dependencies: ['vitepress'],
    plan: (about) => {
      const source = /\bvitepress\s+build\s+([\w./-]+)/.exec(about.script('build') || about.script('docs:build'))?.[1]
      return site(about, `${source === undefined || source === '.' ? '' : `${source.replace(/\/$/, '')}/`}.vitepress/dist`)
    },
  },
  files('Create React App', 'react-scripts', 'build', true),
  files('Vue CLI', '@vue/cli-service', 'dist', true),
  files('Ember', 'ember-cli', 'dist', true),
  files('Preact CLI', 'preact-cli', 'build', true),
  files('Parcel', 'parcel', 'dist'),
  {
    tool: 'Vite',
    dependencies: ['vite'],
    plan: async (about) => {
      const config = await about.config('vite.config.ts', 'vite.config.js', 'vite.config.mjs', 'vite.config.mts')
      const named = /\boutDir\s*:\s*['"](?:\.\/)?([\w-][\w./-]{0,100})['"]/.exec(config)?.[1]
      return site(about, named === undefined || named.includes('..') ? 'dist' : named.replace(/\/$/, ''))
    },
  },
]

/** What the framework of the project makes of it; null = none is known. */
export async function frameworkPlan(source: SourceFiles, manifest: PackageJson): Promise<FrameworkPlan | null> {
  const framework = FRAMEWORKS.find(({ dependencies }) => dependencies.some((name) => manifest.dependencies.has(name)))
  if (framework === undefined) return null
  return framework.plan({
    files: source,
    manifest,
    tool: framework.tool,
    has: (dependency) => manifest.dependencies.has(dependency),
    script: (name) => manifest.scripts.get(name) ?? '',
    config: async (...names) => {
      for (const name of names) {
        const text = await source.readIfText(name)
        if (text !== null) return withoutComments(text.slice(0, LIMITS.detectConfigBytes))
      }
      return ''
    },
  })
}

/** Lines that are comments, and blocks of them: what is commented out decides nothing. Linear in the text. */
function withoutComments(text: string): string {
  const kept: string[] = []
  let isBlock = false
  for (const line of text.split('\n')) {
    const start = line.trimStart()
    if (isBlock) isBlock = !line.includes('*/')
    else if (start.startsWith('/*')) isBlock = !line.includes('*/')
    else if (!start.startsWith('//')) kept.push(line)
  }
  return kept.join('\n')
}

/** Where `ng build` writes: the first application of angular.json. */
function angularOutput(text: string): { readonly name: string; readonly directory: string | null; readonly isApplication: boolean } {
  type Build = { builder?: unknown; options?: { outputPath?: unknown } }
  let projects: Record<string, { architect?: { build?: Build }; targets?: { build?: Build } }> = {}
  try {
    projects = (JSON.parse(text) as { projects?: typeof projects }).projects ?? {}
  } catch {
    // Not read: the usual place is taken.
  }
  const [name, project] = Object.entries(projects)[0] ?? ['app', {}]
  const build = project?.architect?.build ?? project?.targets?.build
  const path = build?.options?.outputPath
  const directory = typeof path === 'string' && /^[\w-][\w./-]*$/.test(path) && !path.includes('..') ? path : null
  const isApplication = typeof build?.builder !== 'string' || build.builder.endsWith(':application')
  return { name: /^[\w-]+$/.test(name) ? name : 'app', directory, isApplication }
}
