import type { Settings } from './setting-definitions.ts'
import type { Parsed } from './setting-parsers.ts'

/** What a default may depend on. Injected, so that a test can be any machine. */
export interface HostFacts {
  readonly isRoot: boolean
  readonly homeDirectory: string
  readonly xdgDataHome: string | null
  readonly xdgRuntimeDirectory: string | null
  /** DOCKER_HOST, as other programs of the engine read it. */
  readonly dockerHost: string | null
  readonly cores: number
}

/** One setting: its names, its wording for the docs, how it is read and what it is without being set. */
export interface SettingDefinition<T> {
  readonly variable: string
  readonly about: string
  readonly example: string
  /** The default, for the docs. */
  readonly defaultText: string
  /** Its value is never shown. */
  readonly isSecret?: boolean
  /** Not in the docs. */
  readonly isInternal?: boolean
  parse(text: string): Parsed<T>
  default(host: HostFacts, settled: Partial<Settings>): T
}
