import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ShiplockError } from '../../core/errors.ts'
import { BASES, type BaseOverrides, imageOfBase } from './bases.ts'

/** What a tree is most likely written in, by a file at its root; the first that is there counts. */
const SIGNS: readonly (readonly [file: string, base: string])[] = [
  ['package.json', 'nodejs'],
  ['requirements.txt', 'python'],
  ['pyproject.toml', 'python'],
  ['go.mod', 'go'],
  ['composer.json', 'php'],
  ['Gemfile', 'ruby'],
  ['Cargo.toml', 'rust'],
  ['mix.exs', 'elixir'],
]
const FALLBACK = 'debian'

export interface ChosenImage {
  readonly base: string
  readonly image: string
  /** For the log: why this one. */
  readonly reason: string
}

/**
 * The image that a base comes down to where commands run in containers. Without a base, the tree says what it is written in.
 * @throws BASE_UNAVAILABLE for a name that nobody knows, and for several at once: a container has one system
 */
export function chooseImage(
  request: {
    readonly key: 'build.base' | 'run.base'
    readonly bases: readonly string[]
    readonly os: string | null
    readonly directory: string
  },
  overrides: BaseOverrides,
): ChosenImage {
  const { key, os, directory } = request
  const bases = request.bases.filter((base) => base !== os)
  const [named, second] = bases
  if (second !== undefined) {
    throw new ShiplockError('BASE_UNAVAILABLE', `${key} names ${bases.join(' and ')}: where builds run in containers there is one base`, {
      hint: 'Name an image that has both in SHIPLOCK_BASES, install the second in prepareCommands, or build with a Dockerfile.',
    })
  }
  const sign = SIGNS.find(([file]) => existsSync(join(directory, file)))
  const base = named ?? os ?? sign?.[1] ?? FALLBACK
  const image = imageOfBase(base, os, overrides)
  if (image === null) {
    throw new ShiplockError(
      'BASE_UNAVAILABLE',
      `${key} ${JSON.stringify(base)} is not known: it is none of ${Object.keys(BASES).join(', ')}`,
      {
        hint: 'Choose one of these, or name an image for it in SHIPLOCK_BASES.',
        details: { base },
      },
    )
  }
  const guessed = sign === undefined ? `${key} is not set` : `${sign[0]} is there; set ${key} to choose`
  return { base, image, reason: named === undefined ? guessed : `${key} ${named}` }
}
