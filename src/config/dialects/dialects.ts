import type { Dialect } from './dialect.ts'
import { ezforgeDialect } from './ezforge.ts'
import { shiplockDialect } from './shiplock.ts'
import { zeropsDialect } from './zerops.ts'

/** Every kind of configuration file that is read, the preferred one first. */
export const DIALECTS: readonly Dialect[] = [shiplockDialect, zeropsDialect, ezforgeDialect]
