import type { ProjectId } from '../domain/ids.ts'
import type { CommandResult } from './exec.ts'

/**
 * Programs of this host that read what strangers wrote: repositories, answers of their hosts, file trees. None of them runs with the
 * server's rights where the host can take those away, so that a fault in one of them, or a link that it follows, opens nothing that the
 * project could not open itself. A new one goes through here; test/security/program-calls.test.ts knows every program that does not.
 */
export interface ForeignPrograms {
  /** Programs see their room and nothing else of the host's files: paths are those of the targets. Otherwise they see them in their places. */
  readonly isConfined: boolean
  /** A place for the programs of one task. `close` it, whatever happens. */
  open(request: RoomRequest): Promise<Room>
  /** Ends what servers that were killed left behind. Before the first `open`. */
  sweep(): Promise<void>
}

export interface RoomRequest {
  /** What the room is for: lower case letters. */
  readonly purpose: string
  /** Whose files they are; null = of no project. Programs run as a user of their own, that of the project's apps is another. */
  readonly projectId: ProjectId | null
  /** On the host. Is handed over to that user until the room is closed; programs may write it. */
  readonly directory: string
  /** Of the host, to be read only; `target` is where the programs see it, if they have a view of their own. */
  readonly mounts: readonly RoomMount[]
  readonly memoryMb: number
  /** For ssh: without bubblewrap it shares the user `nobody` with other such rooms, for want of one with a name. */
  readonly needsName?: boolean
}

export interface RoomMount {
  readonly source: string
  readonly target: string
  /** Is handed over, too: what only that user may read, such as keys. */
  readonly isTheirs?: boolean
}

export interface Room {
  run(argv: readonly string[], options: RoomRunOptions): Promise<CommandResult>
  /** Ends what still runs. `directory` belongs to the server again. */
  close(): Promise<void>
}

export interface RoomRunOptions {
  /** The whole environment; PATH is where the program is looked for. */
  readonly env: Readonly<Record<string, string>>
  readonly signal: AbortSignal
  readonly timeoutMs: number
  readonly input?: string
  readonly stdoutBytesMax?: number
  readonly onLine?: (line: string, stream: 'stdout' | 'stderr') => void
}
