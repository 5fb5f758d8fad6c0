import type { Artifact } from '../domain/deployment.ts'

export interface LeakRequest {
  readonly artifact: Artifact
  /** What belongs to a tree artifact: the tree itself ('' as its name) and what stands beside it in every instance. */
  readonly directories: readonly { readonly name: string; readonly path: string }[]
  /** The project's own values, by the names that they may be reported under. */
  readonly secrets: readonly { readonly name: string; readonly value: string }[]
  readonly signal: AbortSignal
}

/** One place where secrets stand. Never holds a value (I8). */
export interface Leak {
  /** Of an image `layer <short digest>` or `image configuration`, of a tree the directory's name; '' = the tree itself. */
  readonly layer: string
  readonly path: string
  readonly names: readonly string[]
}

export interface LeakReport {
  readonly leaks: readonly Leak[]
  readonly files: number
  readonly bytes: number
  /** False when the bound of bytes or findings was reached first (I12). */
  readonly isComplete: boolean
}

/** Looks for a project's own secrets in what would go live. Compressed files inside are looked at as they are. */
export interface LeakScanner {
  scan(request: LeakRequest): Promise<LeakReport>
}
