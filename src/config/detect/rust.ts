import { parse } from 'smol-toml'
import { printable } from '../../core/printable.ts'
import type { SourceFiles } from '../source-files.ts'
import type { Detector } from './detector.ts'
import { procfileWeb } from './procfile.ts'

interface Crate {
  readonly package: string
  readonly programs: readonly string[]
}

/** A crate or a workspace with one program; what cargo keeps between builds stays out of the tree. */
export const rustDetector: Detector = {
  name: 'rust',
  async detect(files, { isStartKnown }) {
    if (!(await files.has('Cargo.toml'))) return { found: false, lookedFor: 'a Cargo.toml', because: null }
    const programs = (await cratesOf(files)).flatMap((crate) => crate.programs.map((program) => ({ crate: crate.package, program })))
    const web = isStartKnown ? null : await procfileWeb(files)
    const named = /(?:^|\/)target\/release\/([\w-]+)/.exec(web ?? '')?.[1]
    const usual = ['server', 'web', 'api', 'app', 'backend']
    const one = programs.length === 1 ? programs[0] : undefined
    const chosen = one ?? programs.find(({ program }) => program === named) ?? programs.find(({ program }) => usual.includes(program))
    if (chosen === undefined) {
      const names = programs.slice(0, 8).map(({ program }) => printable(program))
      const because =
        programs.length === 0
          ? 'but no program in it (src/main.rs or [[bin]])'
          : `with ${programs.length} programs (${names.join(', ')}): say in shiplock.yaml which, as build.buildCommands and run.start`
      return { found: false, lookedFor: 'a Rust program', because: `Cargo.toml is there (Rust), ${because}` }
    }
    const { crate, program } = chosen
    const locked = (await files.has('Cargo.lock')) ? ' --locked' : ''
    const build = `cargo build --release${locked} --package ${crate} --bin ${program} --target-dir "$HOME/target"`
    const kept = `mkdir -p target/release && cp "$HOME/target/release/${program}" target/release/`
    return {
      found: true,
      what: 'Rust program (Cargo.toml)',
      input: {
        build: { base: 'rust', buildCommands: [`${build} && ${kept}`], deployFiles: ['./'] },
        ...(isStartKnown ? {} : { run: { start: web ?? `./target/release/${program}` } }),
      },
      reasons: [
        `Cargo.toml is there: \`${build}\`; its files are deployed too`,
        ...(web === null ? [] : [`Procfile names the web process: \`${printable(web)}\``]),
      ],
    }
  },
}

async function cratesOf(files: SourceFiles): Promise<readonly Crate[]> {
  const manifests = (await files.outline()).filter((path) => path === 'Cargo.toml' || path.endsWith('/Cargo.toml')).slice(0, 50)
  const crates = await Promise.all(manifests.map((path) => crateOf(files, path)))
  return crates.filter((crate) => crate !== null)
}

async function crateOf(files: SourceFiles, path: string): Promise<Crate | null> {
  const directory = path.slice(0, -'Cargo.toml'.length)
  const root = tomlOf((await files.readIfText(path)) ?? '')
  const name = record(root.package).name
  if (!isName(name)) return null
  const listed = (Array.isArray(root.bin) ? root.bin : []).map((bin) => record(bin).name).filter(isName)
  const main = (await files.has(`${directory}src/main.rs`)) && listed.length === 0 ? [name] : []
  return { package: name, programs: [...new Set([...main, ...listed])] }
}

function isName(value: unknown): value is string {
  return typeof value === 'string' && /^[A-Za-z_][\w-]*$/.test(value)
}

function tomlOf(text: string): Readonly<Record<string, unknown>> {
  try {
    return record(parse(text))
  } catch {
    return {}
  }
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}
