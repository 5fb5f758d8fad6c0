import { z } from 'zod'
import { command, commands, line, oneOf, oneOrMany, pathPatterns, port, trueOrFalse } from '../manifest/fields.ts'

/**
 * `zerops.yml` as its documentation describes it (docs.zerops.io, zerops.yaml specification). Shape only: values are checked as native
 * ones after the translation, at the same places. What can't be translated is listed here too, so that it is refused by its name.
 */
const text = z.string({ error: 'must be a text' })
const seconds = z.union([z.number(), z.string()], { error: 'must be a number of seconds' })
const anything = z.unknown()
const variables = z.record(
  z.string(),
  z.union([z.string(), z.number(), z.boolean()], { error: 'must be a text, a number, or true or false' }),
  {
    error: 'must be a map of NAME: value',
  },
)

const section = <Shape extends z.ZodRawShape>(shape: Shape) => z.strictObject(shape, { error: 'must be a section with keys' })

const probe = {
  httpGet: section({
    port: port.optional(),
    path: text.optional(),
    host: text.optional(),
    scheme: oneOf(['http', 'https']).optional(),
  }).optional(),
  exec: section({ command }).optional(),
}

const build = section({
  base: oneOrMany(text, 'a base').optional(),
  os: text.optional(),
  prepareCommands: commands.optional(),
  buildCommands: commands.optional(),
  deployFiles: pathPatterns.optional(),
  cache: z.union([trueOrFalse, pathPatterns], { error: 'must be true, false, a path or a list of paths' }).optional(),
  addToRunPrepare: pathPatterns.optional(),
  envVariables: variables.optional(),
})

const deploy = section({
  temporaryShutdown: trueOrFalse.optional(),
  readinessCheck: section({ ...probe, failureTimeout: seconds.optional(), retryPeriod: seconds.optional() }).optional(),
})

const run = section({
  base: text.optional(),
  os: text.optional(),
  ports: z
    .array(section({ port, protocol: oneOf(['TCP', 'UDP', 'tcp', 'udp']).optional(), httpSupport: trueOrFalse.optional() }), {
      error: 'must be a list of ports',
    })
    .optional(),
  prepareCommands: commands.optional(),
  initCommands: commands.optional(),
  start: commands.optional(),
  startCommands: z
    .array(
      section({
        command,
        name: text.optional(),
        workingDir: text.optional(),
        user: text.optional(),
        initCommands: commands.optional(),
      }),
      { error: 'must be a list of commands' },
    )
    .optional(),
  envVariables: variables.optional(),
  healthCheck: section({
    ...probe,
    failureTimeout: seconds.optional(),
    disconnectTimeout: seconds.optional(),
    recoveryTimeout: seconds.optional(),
    execPeriod: seconds.optional(),
  }).optional(),
  documentRoot: text.optional(),
  envReplace: anything.optional(),
  crontab: anything.optional(),
  siteConfigPath: anything.optional(),
  routing: section({
    root: text.optional(),
    cors: text.optional(),
    redirects: z
      .array(
        section({
          from: text,
          to: text,
          status: z.number({ error: 'must be a status' }).optional(),
          preservePath: trueOrFalse.optional(),
          preserveQuery: trueOrFalse.optional(),
        }),
        { error: 'must be a list of redirects' },
      )
      .optional(),
    headers: z
      .array(section({ for: text, values: z.record(z.string(), z.union([text, z.number()])) }), { error: 'must be a list of headers' })
      .optional(),
  }).optional(),
})

const setupSchema = section({
  setup: line('the name of a service', 100),
  extends: oneOrMany(line('the name of a setup', 100), 'the name of a setup').optional(),
  build: build.optional(),
  deploy: deploy.optional(),
  run: run.optional(),
})

export const zeropsSchema = z.strictObject(
  { zerops: z.array(setupSchema, { error: 'must be a list of setups' }).min(1, { error: 'must hold at least one setup' }) },
  { error: 'must be a map that begins with zerops:' },
)

export type Setup = z.output<typeof setupSchema>
