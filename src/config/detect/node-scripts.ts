import type { PackageJson } from './node-manifest.ts'

/** A command of a script that needs no shell to be understood: words without quotes, variables or operators, settings before them. */
const PLAIN = /^(?:[A-Z_][A-Z0-9_]*=[\w@%+:,./-]* +)*[\w@%+=:,./-]+(?: +[\w@%+=:,./-]+)*$/
/** Of these a start script may be made that watches files, compiles on the way or shows what is not for the public. */
const DEV_SERVERS: readonly RegExp[] = [
  /^(npx +)?(vite|astro|gatsby|docusaurus|nuxi?|next|remix|react-router|vinxi|svelte-kit)( +(dev|develop|serve|preview|start))?( +-.*)?$/,
  /^(npx +)?(react-scripts +start|vue-cli-service +serve|ng +serve|nest +start|nx +(serve|run|start)|ember +serve|hexo +server)\b/,
  /^(npx +)?(eleventy|parcel|webpack|webpack-dev-server|vitepress +dev|storybook +dev|expo +start)\b/,
  /^(npx +)?(ts-node-dev|tsx +watch|node +--watch)\b/,
  /^(npm|yarn|pnpm|bun)( +run)? +(dev|develop|serve|start:dev)\b/,
]
/** Servers of frameworks that are also what is deployed. */
const PRODUCTION = /^(npx +)?(next +start|remix-serve|react-router-serve|vinxi +start)\b/
const PLAIN_NODE = /^node(?: +[\w@%+=:,./-]+)+$/
const WATCHERS = /^(?:npx +)?nodemon +(?:-\S+ +)*([\w@+=,./-]+\.(?:js|mjs|cjs))$/

/** Longer ones are left to the shell as they are. */
const SCRIPT_MAX = 500

export function isDevServer(script: string): boolean {
  const text = script.trim()
  return !PRODUCTION.test(text) && DEV_SERVERS.some((pattern) => pattern.test(text))
}

export interface StartCommand {
  readonly command: string
  readonly reason: string
}

/**
 * What a script of package.json starts, without the package manager: it would keep signals from the app, and pnpm and yarn want to write
 * into a home directory and to reach the registry before anything runs.
 */
export function startOfScript(manifest: PackageJson, name: string): StartCommand | null {
  const script = manifest.scripts.get(name)?.trim()
  if (script === undefined || script === '') return null
  const watched = WATCHERS.exec(script)?.[1]
  if (watched !== undefined) {
    return { command: `node ${watched}`, reason: `the script ${name} watches ${watched} for changes: \`node ${watched}\`` }
  }
  const before = manifest.scripts.get(`pre${name}`)?.trim() ?? ''
  if (PLAIN_NODE.test(script) && before === '') {
    return { command: script, reason: `package.json has a ${name} script: \`${script}\`, run without npm so that signals reach it` }
  }
  const parts = [...(before === '' ? [] : [`( ${before} )`]), inPlace(script)]
  const command = `export PATH="$PWD/node_modules/.bin:$PATH"; ${parts.join(' && ')}`
  return { command, reason: `package.json has a ${name} script, run without a package manager: \`${script}\`` }
}

/** The last command takes the shell's place, where that is sure to mean the same. */
function inPlace(script: string): string {
  if (script.length > SCRIPT_MAX) return script
  const steps = script.split('&&').map((step) => step.trim())
  if (!steps.every((step) => PLAIN.test(step))) return script
  const last = steps.at(-1) ?? ''
  const hasSettings = /^[A-Z_][A-Z0-9_]*=/.test(last)
  const builtin = /^(cd|export|set|\.|source|eval|exit)\b/.test(last)
  const final = builtin ? last : hasSettings ? `exec env ${last}` : `exec ${last}`
  return [...steps.slice(0, -1), final].join(' && ')
}
