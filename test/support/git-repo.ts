import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

export type TreeFiles = Readonly<Record<string, string | { readonly link: string } | { readonly script: string }>>

/** Writes files below `directory`: text, `{link}` or an executable `{script}`. */
export function writeFiles(directory: string, files: TreeFiles): void {
  for (const [path, content] of Object.entries(files)) {
    const absolute = join(directory, path)
    mkdirSync(dirname(absolute), { recursive: true })
    if (typeof content === 'string') writeFileSync(absolute, content)
    else if ('link' in content) symlinkSync(content.link, absolute)
    else {
      writeFileSync(absolute, content.script)
      chmodSync(absolute, 0o755)
    }
  }
}

/** A real git repository, without anybody's configuration. */
export class GitRepo {
  readonly directory: string

  constructor(directory: string, branch = 'main') {
    this.directory = directory
    mkdirSync(directory, { recursive: true })
    this.git('init', '--quiet', `--initial-branch=${branch}`)
  }

  git(...args: string[]): string {
    return this.gitInput('', ...args)
  }

  gitInput(input: string, ...args: string[]): string {
    const env = {
      PATH: process.env.PATH ?? '/usr/bin:/bin',
      HOME: this.directory,
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_CONFIG_GLOBAL: '/dev/null',
      GIT_AUTHOR_NAME: 'Ada Author',
      GIT_AUTHOR_EMAIL: 'ada@example.org',
      GIT_COMMITTER_NAME: 'Carl Committer',
      GIT_COMMITTER_EMAIL: 'carl@example.org',
    }
    return execFileSync('git', args, { cwd: this.directory, env, encoding: 'utf8', input, stdio: ['pipe', 'pipe', 'pipe'] }).trim()
  }

  /** Writes files and commits everything; answers the commit. */
  commit(message: string, files: TreeFiles): string {
    for (const path of Object.keys(files)) rmSync(join(this.directory, path), { force: true, recursive: true })
    writeFiles(this.directory, files)
    this.git('add', '--all')
    this.git('commit', '--quiet', '--allow-empty', '-m', message)
    return this.git('rev-parse', 'HEAD')
  }
}
