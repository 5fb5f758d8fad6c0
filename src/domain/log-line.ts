/** One line of output, already redacted and made printable. */
export interface LogLine {
  /** Grows by one per deployment; null for lines that come straight from an instance. */
  readonly sequence: number | null
  readonly at: string
  /** `engine` explains, `build` and `instance` are the user's own output, `command` names what is run. */
  readonly stream: 'engine' | 'command' | 'build' | 'release' | 'instance'
  readonly source: string | null
  readonly text: string
}
