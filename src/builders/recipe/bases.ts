/** How a toolchain of the host tells its version. */
export interface Toolchain {
  readonly argv: readonly string[]
  /** Where the version stands in its output. */
  readonly version: RegExp
  /** Directories in which it is usually installed, where they are not on everybody's PATH. */
  readonly places?: readonly string[]
}

/** What a base name means: an image where builds run in containers, a toolchain where they run on the host. */
export interface BaseDefinition {
  readonly aliases?: readonly string[]
  /** Image reference; `{v}` is the version. */
  readonly image: string
  /** The same on Alpine, where there is such an image. */
  readonly alpineImage?: string
  /** Version of the image when none is named. */
  readonly version: string
  /** null = needs nothing on the host. */
  readonly toolchain: Toolchain | null
  /** How it comes to a host without it, as the end of a sentence. */
  readonly install?: string
}

const hub = (name: string) => `docker.io/library/${name}`

/** An operating system as a base: on the host it is there when the host is that system. */
function system(id: string, version: string): BaseDefinition {
  const argv = ['/bin/sh', '-c', '. /etc/os-release && echo "$ID $VERSION_ID"']
  return { image: hub(`${id}:{v}`), version, toolchain: { argv, version: new RegExp(`^${id} (\\d[\\d.]*)`) } }
}

/** Every base that a recipe can name. docs/builds.md prints this table; SHIPLOCK_BASES overrides single entries. */
export const BASES: Readonly<Record<string, BaseDefinition>> = {
  nodejs: {
    aliases: ['node'],
    image: hub('node:{v}'),
    alpineImage: hub('node:{v}-alpine'),
    version: '22',
    toolchain: { argv: ['node', '--version'], version: /^v(\d[\d.]*)/ },
  },
  bun: {
    image: 'docker.io/oven/bun:{v}',
    alpineImage: 'docker.io/oven/bun:{v}-alpine',
    version: '1',
    toolchain: { argv: ['bun', '--version'], version: /^(\d[\d.]*)/ },
    install: 'npm install --global bun',
  },
  deno: {
    image: 'docker.io/denoland/deno:{v}',
    alpineImage: 'docker.io/denoland/deno:alpine-{v}',
    version: '2.1.4',
    toolchain: { argv: ['deno', '--version'], version: /^deno (\d[\d.]*)/ },
    install: 'npm install --global deno',
  },
  python: {
    aliases: ['python3'],
    image: hub('python:{v}'),
    alpineImage: hub('python:{v}-alpine'),
    version: '3.12',
    toolchain: { argv: ['python3', '--version'], version: /^Python (\d[\d.]*)/ },
    install: 'apt-get install python3 python3-pip python3-venv',
  },
  go: {
    aliases: ['golang'],
    image: hub('golang:{v}'),
    alpineImage: hub('golang:{v}-alpine'),
    version: '1',
    toolchain: {
      argv: ['go', 'version'],
      version: /go(\d[\d.]*)/,
      places: ['/usr/local/go/bin', '/usr/lib/go/bin', '/snap/go/current/bin', '/opt/go/bin'],
    },
    install: 'apt-get install golang-go, or the newest from https://go.dev/dl in /usr/local/go',
  },
  php: {
    aliases: ['php-nginx', 'php-apache'],
    image: hub('php:{v}-cli'),
    alpineImage: hub('php:{v}-cli-alpine'),
    version: '8.3',
    toolchain: { argv: ['php', '--version'], version: /^PHP (\d[\d.]*)/ },
    install: 'apt-get install php-cli composer',
  },
  ruby: {
    image: hub('ruby:{v}'),
    alpineImage: hub('ruby:{v}-alpine'),
    version: '3.3',
    toolchain: { argv: ['ruby', '--version'], version: /^ruby (\d[\d.]*)/ },
    install: 'apt-get install ruby-full build-essential',
  },
  rust: {
    image: hub('rust:{v}'),
    alpineImage: hub('rust:{v}-alpine'),
    version: '1',
    toolchain: { argv: ['rustc', '--version'], version: /^rustc (\d[\d.]*)/ },
    install: 'apt-get install cargo, or the newest from https://rustup.rs',
  },
  java: {
    image: hub('eclipse-temurin:{v}-jdk'),
    alpineImage: hub('eclipse-temurin:{v}-jdk-alpine'),
    version: '21',
    toolchain: { argv: ['java', '-version'], version: /version "(\d[\d.]*)/ },
    install: 'apt-get install default-jdk-headless',
  },
  dotnet: {
    image: 'mcr.microsoft.com/dotnet/sdk:{v}',
    alpineImage: 'mcr.microsoft.com/dotnet/sdk:{v}-alpine',
    version: '8.0',
    toolchain: { argv: ['dotnet', '--version'], version: /^(\d[\d.]*)/, places: ['/usr/share/dotnet'] },
    install: 'https://dot.net/download, in /usr/share/dotnet',
  },
  elixir: {
    image: hub('elixir:{v}'),
    alpineImage: hub('elixir:{v}-alpine'),
    version: '1.17',
    toolchain: { argv: ['elixir', '--version'], version: /Elixir (\d[\d.]*)/ },
    install: 'apt-get install elixir',
  },
  static: { aliases: ['none'], image: hub('alpine:{v}'), version: '3', toolchain: null },
  ubuntu: system('ubuntu', '24.04'),
  debian: system('debian', '12'),
  alpine: system('alpine', '3'),
}

/** Entries of SHIPLOCK_BASES: a base as it is written in configuration files → an image, or a directory of this host with a `bin`. */
export type BaseOverrides = ReadonlyMap<string, string>

export interface ParsedBase {
  readonly name: string
  /** null = any. */
  readonly wanted: string | null
}

const ANY_VERSION = new Set(['latest', 'lts', 'stable'])
const ALIASES = new Map(Object.entries(BASES).flatMap(([name, { aliases = [] }]) => aliases.map((alias) => [alias, name] as const)))

/** `nodejs@22` → nodejs, 22; also `node:22` and a bare name. */
export function parseBase(base: string): ParsedBase {
  const [, name = base, version] = /^([A-Za-z][A-Za-z0-9_-]*?)(?:[@:]v?(.+))?$/.exec(base.trim()) ?? []
  const lower = name.toLowerCase()
  return { name: ALIASES.get(lower) ?? lower, wanted: version === undefined || ANY_VERSION.has(version) ? null : version }
}

/** What SHIPLOCK_BASES says of a base, under whichever of its names. */
export function overrideOf(base: string, overrides: BaseOverrides): string | null {
  const same = ({ name, wanted }: ParsedBase) => `${name}@${wanted ?? ''}`
  for (const [named, value] of overrides) if (same(parseBase(named)) === same(parseBase(base))) return value
  return null
}

/** The image in which a container builder runs that base; null for a base that nobody knows. `os` chooses the Alpine variant. */
export function imageOfBase(base: string, os: string | null, overrides: BaseOverrides): string | null {
  const override = overrideOf(base, overrides)
  if (override !== null && !override.startsWith('/')) return override
  const { name, wanted } = parseBase(base)
  const definition = Object.hasOwn(BASES, name) ? BASES[name] : undefined
  if (definition === undefined) return null
  const isAlpine = os !== null && parseBase(os).name === 'alpine'
  const image = isAlpine ? (definition.alpineImage ?? definition.image) : definition.image
  return image.replace('{v}', wanted ?? definition.version)
}
