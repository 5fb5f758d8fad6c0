import { parse as parseToml, TomlError } from 'smol-toml'
import { z } from 'zod'
import { DURATION_FORMS } from '../duration.ts'
import { check } from '../manifest/check.ts'
import {
  line,
  oneOf,
  oneOrMany,
  port,
  relativePath,
  SERVICE_NAME,
  SERVICE_NAME_RULE,
  trueOrFalse,
  variables,
  wholeNumber,
} from '../manifest/fields.ts'
import { configInvalid, type Path, type Position } from '../manifest/problem.ts'
import { type ServiceInput, serviceSchema } from '../manifest/schema.ts'
import type { Dialect } from './dialect.ts'

/** Values that differ from the native defaults. They are that platform's own: check `/healthz` for exactly 200 within 30 s, swap at once. */
const THEIR_DEFAULTS = { memoryMb: 256, healthCheckPath: '/healthz', healthCheckTimeout: 30, expectStatus: 200, bake: 0 } as const

const serverSchema = z.strictObject(
  {
    name: line('the name of the server', 100).regex(SERVICE_NAME, { error: `is no service name: ${SERVICE_NAME_RULE}` }),
    dockerfile: relativePath.optional(),
    image: line('an image reference', 512).optional(),
    port: port.optional(),
    cpu: oneOf(['shared-1x', 'shared-2x', 'performance-1x']).optional(),
    memoryMb: wholeNumber(16, 1_048_576).optional(),
    region: oneOrMany(line('a region', 32), 'a region').optional(),
    healthCheckPath: line('a path that begins with /', 2048).optional(),
    healthCheckTimeout: z.union([z.number(), z.string()], { error: `must be ${DURATION_FORMS}` }).optional(),
    rollbackOnHealthCheckFailure: trueOrFalse.optional(),
    deploymentRetentionCount: wholeNumber(1, 100).optional(),
    env: variables.optional(),
  },
  { error: 'must be a table' },
)

type Server = z.output<typeof serverSchema>
/** Native path → key of the file, for places. */
const KEY_OF: Readonly<Record<string, string>> = {
  'build.dockerfile': 'dockerfile',
  'build.image': 'image',
  'run.port': 'port',
  'run.cpu': 'cpu',
  'run.memoryMb': 'memoryMb',
  'run.region': 'region',
  'run.env': 'env',
  'deploy.readinessCheck.httpGet': 'healthCheckPath',
  'deploy.readinessCheck.httpGet.path': 'healthCheckPath',
  'deploy.readinessCheck.failureTimeout': 'healthCheckTimeout',
  'deploy.autoRollback': 'rollbackOnHealthCheckFailure',
  retention: 'deploymentRetentionCount',
}

/** `ezforge.toml`: one server per file, its keys at the top or in a table `[server]`. */
export const ezforgeDialect: Dialect = {
  name: 'ezforge',
  fileNames: ['ezforge.toml'],
  parse(text, file) {
    const data = readToml(text, file)
    const isNested = Object.hasOwn(data, 'server')
    const schema = isNested ? z.strictObject({ server: serverSchema, env: variables.optional() }) : serverSchema
    const locate = (path: Path) => locateKey(text, path)
    const checked = check(schema as z.ZodType<Server | { server: Server; env?: Server['env'] }>, data, locate)
    if (checked.value === null) throw configInvalid(file, checked.problems)
    const server =
      'server' in checked.value ? { ...checked.value.server, ...envOf(checked.value.server, checked.value.env) } : checked.value
    const input = translate(server)
    const placeOf = (path: string): Position | null => {
      const key = path.startsWith('run.env.') ? path.slice('run.env.'.length) : KEY_OF[path]
      return key === undefined ? null : findKey(text, key)
    }
    const { problems } = check(serviceSchema, input, (path) => placeOf(path.join('.')))
    if (problems.length > 0) throw configInvalid(file, problems)
    return { services: [{ name: server.name, input, locate: placeOf, notes: [] }] }
  },
}

function envOf(server: Server, env: Server['env']): Pick<Server, 'env'> {
  return env === undefined ? {} : { env: { ...server.env, ...env } }
}

function translate(server: Server): ServiceInput {
  const given = <T>(key: string, value: T | undefined) => (value === undefined ? {} : { [key]: value })
  return {
    build:
      server.image === undefined
        ? { dockerfile: server.dockerfile ?? 'Dockerfile' }
        : { image: server.image, ...given('dockerfile', server.dockerfile) },
    run: {
      ...given('port', server.port),
      ...given('cpu', server.cpu),
      memoryMb: server.memoryMb ?? THEIR_DEFAULTS.memoryMb,
      ...given('region', server.region),
      ...given('env', server.env),
    },
    deploy: {
      readinessCheck: {
        httpGet: { path: server.healthCheckPath ?? THEIR_DEFAULTS.healthCheckPath, expectStatus: THEIR_DEFAULTS.expectStatus },
        failureTimeout: server.healthCheckTimeout ?? THEIR_DEFAULTS.healthCheckTimeout,
      },
      bake: THEIR_DEFAULTS.bake,
      ...given('autoRollback', server.rollbackOnHealthCheckFailure),
    },
    ...given('retention', server.deploymentRetentionCount),
  }
}

function readToml(text: string, file: string): Record<string, unknown> {
  try {
    return parseToml(text, { maxDepth: 16 }) as Record<string, unknown>
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    const message = `is no valid TOML: ${(error.message.split('\n')[0] ?? '').replace(/^Invalid TOML document: /, '')}`
    throw configInvalid(file, [{ path: '', position: { line: error.line, column: error.column }, message }])
  }
}

function locateKey(text: string, path: Path): Position | null {
  const key = path.findLast((part) => typeof part === 'string')
  return key === undefined ? null : findKey(text, String(key))
}

/** The parser keeps no positions; the first line that assigns the key is where a reader would look. */
function findKey(text: string, key: string): Position | null {
  for (const [index, row] of text.split('\n').entries()) {
    const match = /^(\s*)(?:\[+)?\s*["']?([\w-]+)["']?\s*(?:=|\]|\.)/.exec(row)
    if (match?.[2] === key) return { line: index + 1, column: (match[1]?.length ?? 0) + 1 }
  }
  return null
}
