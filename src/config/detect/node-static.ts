import type { PackageJson } from './node.ts'

/** Tools whose build writes a site of plain files, with the directory they write by default. The first that fits counts. */
const STATIC_TOOLS: readonly { readonly dependency: string; readonly tool: string; readonly directory: string }[] = [
  { dependency: 'astro', tool: 'Astro', directory: 'dist' },
  { dependency: '@docusaurus/core', tool: 'Docusaurus', directory: 'build' },
  { dependency: '@11ty/eleventy', tool: 'Eleventy', directory: '_site' },
  { dependency: 'gatsby', tool: 'Gatsby', directory: 'public' },
  { dependency: 'react-scripts', tool: 'Create React App', directory: 'build' },
  { dependency: '@vue/cli-service', tool: 'Vue CLI', directory: 'dist' },
  { dependency: 'parcel', tool: 'Parcel', directory: 'dist' },
  { dependency: 'vite', tool: 'Vite', directory: 'dist' },
]

/** Start scripts that run a development server: not what a site is deployed for when its build gives plain files. */
const DEV_SERVERS =
  /^(npx\s+)?(vite(\s+(dev|serve|preview))?|astro\s+(dev|preview)|react-scripts\s+start|vue-cli-service\s+serve|gatsby\s+(develop|serve)|docusaurus\s+(start|serve)|eleventy\s+--serve|parcel(\s+(serve|\S+\.html))?)(\s+-.*)?$/

export function isDevServer(script: string): boolean {
  return DEV_SERVERS.test(script.trim())
}

export function staticOutput(manifest: PackageJson): { readonly tool: string; readonly directory: string } | null {
  return STATIC_TOOLS.find(({ dependency }) => manifest.dependencies.has(dependency)) ?? null
}
