import { randomBytes } from 'node:crypto'
import { type CommandResult, runCommand } from '../core/exec.ts'
import type { ForeignPrograms, Room, RoomRequest, RoomRunOptions } from '../core/foreign-programs.ts'
import { giveTree } from '../core/give-tree.ts'
import { LIMITS } from '../core/limits.ts'
import type { ProjectId } from '../domain/ids.ts'
import type { Tenant } from '../domain/tenant.ts'
import { NAMED_USER, type Sandbox, type SandboxSpec } from './sandbox.ts'

const PREFIX = 'room-'
const MOUNT_POINT = '/work'

/** Programs that read what strangers wrote, each in a sandbox: with bubblewrap where the host has it, as a user of their own where it can. */
export function createConfinedPrograms(sandbox: Sandbox): ForeignPrograms {
  return {
    isConfined: sandbox.description.filesystem,
    open: async (request) => {
      const room = new ConfinedRoom(sandbox, request)
      await room.open()
      return room
    },
    sweep: async () => {
      for (const name of await sandbox.list()) {
        if (!name.startsWith(PREFIX)) continue
        await sandbox.kill(name)
        await sandbox.remove(name)
      }
    },
  }
}

class ConfinedRoom implements Room {
  readonly #sandbox: Sandbox
  readonly #request: RoomRequest
  readonly #name: string
  readonly #user: Tenant

  constructor(sandbox: Sandbox, request: RoomRequest) {
    this.#sandbox = sandbox
    this.#request = request
    this.#name = `${PREFIX}${request.purpose}-${randomBytes(8).toString('hex')}`
    // Not the user of the project's apps: what they run must not see a token that git is given, nor end it.
    this.#user = { projectId: `${request.purpose}-${request.projectId ?? 'nobody'}` as ProjectId, environmentId: null }
  }

  async open(): Promise<void> {
    const theirs = this.#request.mounts.filter(({ isTheirs }) => isTheirs === true).map(({ source }) => source)
    const { ownUser, filesystem } = this.#sandbox.description
    const isNamed = this.#request.needsName === true && ownUser && !filesystem
    for (const directory of [this.#request.directory, ...theirs]) {
      if (isNamed) await giveTree(directory, NAMED_USER)
      else await this.#sandbox.own(directory, this.#user)
    }
  }

  async run(argv: readonly string[], options: RoomRunOptions): Promise<CommandResult> {
    options.signal.throwIfAborted()
    const command = await this.#sandbox.prepare(this.#spec(argv, options))
    return runCommand(command.file, command.args, {
      cwd: command.cwd,
      env: command.env,
      ...(command.uid === undefined ? {} : { uid: command.uid }),
      ...(command.gid === undefined ? {} : { gid: command.gid }),
      signal: options.signal,
      timeoutMs: options.timeoutMs,
      ...(options.input === undefined ? {} : { input: options.input }),
      ...(options.stdoutBytesMax === undefined ? {} : { stdoutBytesMax: options.stdoutBytesMax }),
      ...(options.onLine === undefined ? {} : { onLine: options.onLine }),
      onSpawn: (pid) => command.attach(pid),
      // What left the process group may still hold the output open.
      onEnd: () => this.#sandbox.kill(this.#name),
    })
  }

  async close(): Promise<void> {
    await this.#sandbox.kill(this.#name)
    await this.#sandbox.remove(this.#name)
    if (!this.#sandbox.description.ownUser) return
    await giveTree(this.#request.directory, 0)
  }

  #spec(argv: readonly string[], options: RoomRunOptions): SandboxSpec {
    return {
      name: this.#name,
      tenant: this.#user,
      argv,
      env: options.env,
      directory: this.#request.directory,
      mountPoint: MOUNT_POINT,
      mounts: this.#request.mounts.map(({ source, target }) => ({ source, target, writable: false })),
      workingDirectory: '',
      memoryMb: this.#request.memoryMb,
      cpus: null,
      pidsMax: LIMITS.foreignProcesses,
      needsName: this.#request.needsName === true,
    }
  }
}
