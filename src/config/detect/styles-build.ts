import type { SourceFiles } from '../source-files.ts'

/** The build script of a package.json that stands beside an application of another language (Vite, Tailwind); nothing without one. */
export async function stylesBuild(
  files: SourceFiles,
): Promise<{ readonly commands: readonly string[]; readonly reasons: readonly string[] }> {
  const text = await files.readIfText('package.json')
  if (text === null || !/"build"\s*:\s*"/.test(text)) return { commands: [], reasons: [] }
  const isLocked = await files.has('package-lock.json')
  const command = `${isLocked ? 'npm ci' : 'npm install'} && npm run build && rm -rf node_modules`
  return { commands: [command], reasons: [`package.json has a build script: \`${command}\``] }
}
