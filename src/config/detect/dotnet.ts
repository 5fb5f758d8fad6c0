import { printable } from '../../core/printable.ts'
import type { Detector } from './detector.ts'
import { ADDRESS } from './shell-words.ts'

/** ASP.NET: the one project that is a program for the web. */
export const dotnetDetector: Detector = {
  name: 'dotnet',
  async detect(files, { isStartKnown }) {
    const projects = (await files.outline()).filter((path) => /\.(?:cs|fs|vb)proj$/.test(path)).slice(0, 50)
    if (projects.length === 0 || !(projects.some((path) => !path.includes('/')) || hasSolution(await files.outline())))
      return { found: false, lookedFor: 'a .csproj', because: null }
    const texts = await Promise.all(projects.map(async (path) => ({ path, text: (await files.readIfText(path)) ?? '' })))
    const web = texts.filter(({ text }) => /Sdk="Microsoft\.NET\.Sdk\.(?:Web|BlazorWebAssembly)"/.test(text))
    const [only, ...more] = web.length > 0 ? web : texts.length === 1 ? texts : []
    if (only === undefined || more.length > 0 || !/^[\w./ -]+$/.test(only.path)) {
      const names = (web.length > 0 ? web : texts).slice(0, 8).map(({ path }) => printable(path))
      return {
        found: false,
        lookedFor: 'a .NET app',
        because: `several .NET projects are there (${names.join(', ')}): say in shiplock.yaml which, as build.buildCommands and run.start`,
      }
    }
    const name =
      /<AssemblyName>([\w.-]+)<\/AssemblyName>/.exec(only.text)?.[1] ?? (only.path.split('/').at(-1) ?? '').replace(/\.\w+proj$/, '')
    const build = `dotnet publish "${only.path}" --configuration Release --output out`
    return {
      found: true,
      what: `.NET app (${only.path})`,
      input: {
        build: { base: 'dotnet', buildCommands: [build], deployFiles: ['out'] },
        ...(isStartKnown
          ? {}
          : { run: { base: 'dotnet', start: `cd out && ASPNETCORE_URLS=http://${ADDRESS}:"$PORT" exec dotnet "${name}.dll"` } }),
      },
      reasons: [`${printable(only.path)} is there: \`${build}\``],
    }
  },
}

function hasSolution(outline: readonly string[]): boolean {
  return outline.some((path) => /^[^/]+\.slnx?$/.test(path))
}
