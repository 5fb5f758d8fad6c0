import type { ServiceInput } from '../manifest/schema.ts'
import type { SourceFiles } from '../source-files.ts'

export type Detection =
  | {
      readonly found: true
      /** What the stack is called and by which file it was recognised: `Node.js app (package.json)`. */
      readonly what: string
      readonly input: ServiceInput
      /** What was chosen and why, a sentence each, for people. */
      readonly reasons: readonly string[]
    }
  | {
      readonly found: false
      /** What would have been recognised. */
      readonly lookedFor: string
      /** Why what is there is not enough; null when nothing is there. */
      readonly because: string | null
      /** What to do about that; left out: what is generally to be done. */
      readonly hint?: string
    }

export type BuildChoice = 'auto' | 'dockerfile' | 'recipe'

export interface DetectionContext {
  /** `auto`: a Dockerfile where images can be run, otherwise a recipe. */
  readonly choice: BuildChoice
  /** The configuration file says what to start; only the build is asked for. */
  readonly isStartKnown: boolean
}

/** Recognises one kind of project by its files alone; runs nothing. */
export interface Detector {
  readonly name: string
  detect(files: SourceFiles, context: DetectionContext): Promise<Detection>
}
