import type { Position } from '../manifest/problem.ts'
import type { ServiceInput } from '../manifest/schema.ts'

/** One service as a file gives it, in the words of the native schema. */
export interface ParsedService {
  readonly name: string
  readonly input: ServiceInput
  /** Where the value at this native path (`run.port`) stands; null = not in the file, it is a default of the dialect. */
  locate(path: string): Position | null
  /** What the dialect says that was left out or changed on the way, one sentence each. */
  readonly notes: readonly string[]
}

interface ParsedManifest {
  readonly services: readonly ParsedService[]
}

/**
 * A kind of configuration file. `parse` checks everything and throws CONFIG_INVALID with all problems; what it returns is legal by
 * `serviceSchema`. To add one: implement this and list it in `dialects.ts`.
 */
export interface Dialect {
  readonly name: 'shiplock' | 'zerops' | 'ezforge'
  /** In order of preference; two of them in one directory are refused. */
  readonly fileNames: readonly string[]
  /** `file` is the name that refusals show. */
  parse(text: string, file: string): ParsedManifest
}
