import { copyFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { stringify } from 'yaml'
import { GitRepo, type TreeFiles } from './git-repo.ts'

const APP = join(import.meta.dirname, 'apps/story-app.mjs')

/** How a version of the story app misbehaves; all optional. */
export interface Behaviour {
  readonly readyAfterMs?: number
  readonly neverReady?: boolean
  /** Exit code with which it ends before it listens. */
  readonly exitAtStart?: number
  /** ms after its start. */
  readonly crashAfterMs?: number
  /** From then on every answer is a 500. */
  readonly errorsAfterMs?: number
  readonly keepAliveMs?: number
  readonly ignoreTerm?: boolean
  readonly listen?: boolean
  readonly otherPort?: number
}

export interface StoryConfig {
  readonly scan?: Readonly<Record<string, unknown>>
  readonly build?: Readonly<Record<string, unknown>>
  readonly run?: Readonly<Record<string, unknown>>
  readonly deploy?: Readonly<Record<string, unknown>>
  readonly retention?: number
  readonly trigger?: Readonly<Record<string, unknown>>
}

/** Short times, so that a story takes seconds; the order of things is what it would be with long ones. */
const DEPLOY = {
  readinessCheck: { httpGet: { path: '/ready' }, failureTimeout: '20s', retryPeriod: '200ms' },
  drainTimeout: '1s',
  bake: 0,
  stopTimeout: '5s',
}

/** The git repository of the story app. Each commit is one version with its behaviour and configuration. */
export class StoryRepo {
  readonly #repo: GitRepo
  readonly #service: string
  readonly #env: Readonly<Record<string, string>>

  /** `env`: variables of every version, e.g. the collector's address. */
  constructor(directory: string, service: string, env: Readonly<Record<string, string>> = {}) {
    this.#repo = new GitRepo(directory)
    this.#service = service
    this.#env = env
  }

  get directory(): string {
    return this.#repo.directory
  }

  get source(): { readonly kind: 'git'; readonly url: string; readonly ref: null } {
    return { kind: 'git', url: `file://${this.#repo.directory}`, ref: null }
  }

  commit(version: string, behaviour: Behaviour = {}, config: StoryConfig = {}, files: TreeFiles = {}): string {
    copyFileSync(APP, join(this.#repo.directory, 'app.mjs'))
    const service = {
      ...config,
      build: { deployFiles: ['./'], ...config.build },
      run: {
        start: 'node app.mjs',
        ...config.run,
        env: { ...this.#env, VERSION: version, ...(config.run?.env as object | undefined) },
      },
      deploy: { ...DEPLOY, ...config.deploy },
    }
    return this.#repo.commit(version, {
      'behaviour.json': JSON.stringify({ ...behaviour, version }),
      'shiplock.yaml': stringify({ services: { [this.#service]: service } }),
      ...files,
    })
  }

  /** Any tree, without the app. */
  commitFiles(message: string, files: TreeFiles): string {
    return this.#repo.commit(message, files)
  }

  git(...args: string[]): string {
    return this.#repo.git(...args)
  }

  read(path: string): string {
    return readFileSync(join(this.#repo.directory, path), 'utf8')
  }
}
