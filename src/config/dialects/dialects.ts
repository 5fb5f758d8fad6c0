import type { Dialect } from './dialect.ts'
import { shiplockDialect } from './shiplock.ts'

/** Every kind of configuration file that is read, the preferred one first. */
export const DIALECTS: readonly Dialect[] = [shiplockDialect]
