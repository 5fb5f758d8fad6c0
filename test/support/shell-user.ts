import { spawn } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { builtFile, ensureBuilt } from './build.ts'
import type { CliResult } from './cli.ts'

/** Somebody at a shell who has `shiplock` on the PATH, and nothing of this machine's server but what `env` gives. */
export class ShellUser {
  readonly env: Record<string, string>
  /** Everything that was ever shown to this person. */
  shown = ''
  readonly #home: string

  constructor(home: string, env: Readonly<Record<string, string>>) {
    ensureBuilt()
    mkdirSync(join(home, 'bin'), { recursive: true })
    const program = join(home, 'bin/shiplock')
    writeFileSync(program, `#!/bin/sh\nexec '${process.execPath}' '${builtFile('cli/main.ts')}' "$@"\n`)
    chmodSync(program, 0o755)
    this.#home = home
    const path = `${join(home, 'bin')}:${process.env.PATH ?? '/usr/bin:/bin'}`
    this.env = { PATH: path, HOME: home, SHIPLOCK_DATA_DIR: join(home, 'data'), ...env }
  }

  /** One line, as it would be typed. */
  run(line: string): Promise<CliResult> {
    const child = spawn('/bin/bash', ['-euo', 'pipefail', '-c', line], {
      cwd: this.#home,
      env: this.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const parts = { stdout: '', stderr: '' }
    for (const stream of ['stdout', 'stderr'] as const) {
      child[stream].setEncoding('utf8').on('data', (text: string) => {
        parts[stream] += text
        this.shown += text
      })
    }
    return new Promise((resolve) => child.on('close', (code) => resolve({ code, ...parts })))
  }

  /** `export A=b C=d` lasts for the commands that follow. */
  export(line: string): void {
    for (const [, name = '', value = ''] of line.matchAll(/([A-Z_]+)=(\S+)/g)) this.env[name] = value
  }
}
