import { z } from 'zod'
import { patternProblem } from '../../core/glob.ts'
import { LIMITS } from '../../core/limits.ts'
import { gitRefProblem } from '../../domain/git-ref-name.ts'
import {
  command,
  commands,
  duration,
  headerValues,
  hostName,
  line,
  oneOf,
  oneOrMany,
  pathPatterns,
  port,
  relativePath,
  requestPath,
  SERVICE_NAME,
  SERVICE_NAME_RULE,
  sitePath,
  trueOrFalse,
  variables,
  wholeNumber,
} from './fields.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR

/** Keys that make a build a recipe, and those that make it a Dockerfile build. `timeout` belongs to both. */
const RECIPE_KEYS = ['base', 'os', 'prepareCommands', 'buildCommands', 'deployFiles', 'cache', 'addToRunPrepare', 'env'] as const
const DOCKERFILE_KEYS = ['dockerfile', 'context', 'target', 'args', 'secrets', 'platform'] as const

const toolchain = line('a toolchain, e.g. nodejs@22', 100).regex(/^[a-z][a-z0-9.+-]*(@[A-Za-z0-9._-]+)?$/, {
  error: 'must be a toolchain with an optional version, e.g. nodejs@22',
})
const osName = line('an operating system, e.g. alpine or ubuntu@24.04', 100).regex(/^[a-z][a-z0-9.+-]*(@[A-Za-z0-9._-]+)?$/, {
  error: 'must be an operating system with an optional version, e.g. ubuntu@24.04',
})
const imageReference = line('an image reference, e.g. ghcr.io/acme/api:1.4', 512).regex(/^[A-Za-z0-9][A-Za-z0-9._:/@-]*$/, {
  error: 'must be an image reference, e.g. ghcr.io/acme/api:1.4 or ghcr.io/acme/api@sha256:…',
})

const buildSchema = z
  .strictObject(
    {
      dockerfile: relativePath.optional().describe('Build an image from this Dockerfile.'),
      context: relativePath.optional().describe('Build context of the Dockerfile. Default: the service directory.'),
      target: line('a build stage', 128)
        .regex(/^[A-Za-z0-9][\w.-]*$/, { error: 'must be the name of a build stage' })
        .optional()
        .describe('Stage of a multi-stage Dockerfile.'),
      args: variables.optional().describe('Build arguments. Never secrets: they stay in the image history.'),
      secrets: oneOrMany(line('the name of a secret', 128), 'the name of a secret')
        .optional()
        .describe('Secrets mounted during the build, by name.'),
      platform: line('a platform, e.g. linux/amd64', 64)
        .regex(/^[a-z0-9]+\/[a-z0-9]+(\/[a-z0-9]+)?$/, { error: 'must be a platform, e.g. linux/amd64' })
        .optional()
        .describe('Target platform of the image.'),
      image: imageReference.optional().describe('Deploy this ready image; nothing is built.'),
      base: oneOrMany(toolchain, 'a toolchain, e.g. nodejs@22,').optional().describe('Toolchains of the build sandbox, e.g. nodejs@22.'),
      os: osName.optional().describe('Operating system of the build sandbox, e.g. alpine or ubuntu@24.04.'),
      prepareCommands: commands.optional().describe('Run before the build and skipped while their cache is valid: system packages, tools.'),
      buildCommands: commands.optional().describe('Each item runs in a shell of its own; a block with several lines is one shell.'),
      deployFiles: pathPatterns
        .optional()
        .describe('What to deploy. A path keeps its directories; `dist/~` deploys the content of dist at the root. Default: everything.'),
      cache: pathPatterns.optional().describe('Paths kept from one build to the next, e.g. node_modules.'),
      addToRunPrepare: pathPatterns.optional().describe('Files that run.prepareCommands need.'),
      env: variables.optional().describe('Variables of the build only.'),
      timeout: duration(SECOND, LIMITS.buildHardTimeoutMs).optional().describe('Longest time that the build may take.'),
    },
    { error: 'must be a section with keys' },
  )
  .superRefine((build, context) => {
    const given = Object.keys(build).filter((key) => build[key as keyof typeof build] !== undefined)
    const recipe = given.filter((key) => (RECIPE_KEYS as readonly string[]).includes(key))
    const docker = given.filter((key) => (DOCKERFILE_KEYS as readonly string[]).includes(key))
    const refuse = (key: string, message: string) => context.addIssue({ code: 'custom', path: [key], message })
    if (build.image !== undefined) {
      for (const key of [...recipe, ...docker]) refuse(key, "can't stand beside build.image: choose one of image, dockerfile or a recipe")
    } else if (docker.length > 0) {
      for (const key of recipe) {
        const better = key === 'env' ? '; a Dockerfile takes build.args' : ''
        refuse(key, `can't stand beside build.${docker[0]}: choose one of image, dockerfile or a recipe${better}`)
      }
    }
  })

const findingPolicy = oneOf(['ignore', 'warn', 'block', 'block-new'])

const scanSchema = z.union(
  [
    z.literal(false),
    z.literal('off'),
    z.strictObject(
      {
        enabled: trueOrFalse.optional().describe('false records that nothing was scanned.'),
        high: findingPolicy.optional().describe('What HIGH findings do.'),
        critical: findingPolicy.optional().describe('What CRITICAL findings do.'),
        ignoreUnfixed: trueOrFalse.optional().describe('Leave out findings that no update fixes yet.'),
        waivers: z
          .array(
            z.strictObject(
              {
                id: line('the id of a finding, e.g. CVE-2026-1234', 100),
                reason: line('the reason, in words', 500),
                expires: line('a date, e.g. 2027-01-01', 10)
                  .refine((text) => /^\d{4}-\d{2}-\d{2}$/.test(text) && !Number.isNaN(Date.parse(text)), {
                    error: 'must be a date, e.g. 2027-01-01',
                  })
                  .optional(),
              },
              { error: 'must be a waiver: id, reason, expires' },
            ),
            { error: 'must be a list of waivers: id, reason, expires' },
          )
          .max(LIMITS.configListItems, { error: `must be a list of at most ${LIMITS.configListItems}` })
          .optional()
          .describe('Findings that are accepted, each with its reason and, better, an end.'),
        onScannerFailure: oneOf(['fail', 'warn'])
          .optional()
          .describe(
            "What an absent or failing scanner means. Default: the server's setting; without one, fail for images and warn for file trees.",
          ),
        secrets: oneOf(['block', 'warn', 'off'])
          .optional()
          .describe('What a secret of the project in the artifact means; off looks for none. Does not depend on `enabled`.'),
      },
      { error: 'must be a section with keys, or off' },
    ),
  ],
  { error: 'must be a section with keys, or off' },
)

const probeShape = {
  httpGet: z
    .strictObject(
      {
        path: requestPath.optional().describe('Path to ask for.'),
        port: port.optional().describe("Default: the instance's port."),
        host: hostName.optional().describe('Host header of the probe.'),
        scheme: oneOf(['http', 'https']).optional().describe('http or https, without a check of the certificate.'),
        expectStatus: wholeNumber(100, 599)
          .optional()
          .describe('Exactly this status. Default: any 2xx, after up to 5 redirects on the same host.'),
      },
      { error: 'must be a section with path, port, host, scheme, expectStatus' },
    )
    .optional()
    .describe('Passes when the answer is 2xx (or expectStatus).'),
  exec: z
    .strictObject({ command: command.describe('Shell command; exit 0 passes.') }, { error: 'must be a section with command' })
    .optional()
    .describe('Passes when the command, run beside the instance, exits 0.'),
  tcp: z
    .strictObject(
      { port: port.optional().describe("Default: the instance's port.") },
      { error: 'must be a section with port, or {} for the port of the instance' },
    )
    .optional()
    .describe('Passes when the port takes connections.'),
}

function exactlyOneProbe(check: { httpGet?: unknown; exec?: unknown; tcp?: unknown }, context: z.RefinementCtx) {
  const given = (['httpGet', 'exec', 'tcp'] as const).filter((kind) => check[kind] !== undefined)
  if (given.length === 0) context.addIssue({ code: 'custom', message: 'must have one of httpGet, exec or tcp' })
  for (const kind of given.slice(1))
    context.addIssue({ code: 'custom', path: [kind], message: `can't stand beside ${given[0]}: choose one of httpGet, exec or tcp` })
}

const attemptTimeout = duration(100, MINUTE)

const readinessSchema = z
  .strictObject(
    {
      ...probeShape,
      retryPeriod: duration(100, MINUTE).optional().describe('Longest wait between attempts; the first ones come faster.'),
      failureTimeout: duration(SECOND, HOUR)
        .optional()
        .describe('Not ready within this: the instance is replaced, then the deployment fails.'),
      attemptTimeout: attemptTimeout.optional().describe('Longest time for one attempt.'),
      attempts: wholeNumber(1, 10).optional().describe('Instances tried per copy before the deployment fails.'),
    },
    { error: 'must be a section with one of httpGet, exec or tcp' },
  )
  .superRefine(exactlyOneProbe)

const healthSchema = z
  .strictObject(
    {
      ...probeShape,
      execPeriod: duration(100, HOUR).optional().describe('Time between probes.'),
      attemptTimeout: attemptTimeout.optional().describe('Longest time for one probe.'),
      disconnectTimeout: duration(0, HOUR).optional().describe('Failing this long: no more traffic.'),
      failureTimeout: duration(SECOND, HOUR).optional().describe('Failing this long: restart.'),
      recoveryTimeout: duration(0, HOUR).optional().describe('Passing this long: traffic again.'),
    },
    { error: 'must be a section with one of httpGet, exec or tcp' },
  )
  .superRefine(exactlyOneProbe)

const redirectSchema = z.strictObject(
  {
    from: sitePath,
    to: line('a path of the site or an address, e.g. /new/:splat', 2048).regex(/^(\/|https?:\/\/)[\x21-\x7e]*$/, {
      error: 'must be a path of the site or an http(s) address, without spaces',
    }),
    status: z
      .union([z.literal(200), z.literal(301), z.literal(302), z.literal(303), z.literal(307), z.literal(308), z.literal(404)], {
        error: 'must be 200 (show the target under this address), 301, 302, 303, 307, 308 or 404',
      })
      .optional(),
    force: trueOrFalse.optional(),
  },
  { error: 'must be a section with from and to' },
)

const siteSchema = z
  .strictObject(
    {
      singlePage: trueOrFalse
        .optional()
        .describe(
          'Paths of no file show 200.html or index.html, for apps with a router in the browser. Never in place of a missing asset.',
        ),
      redirects: z
        .array(redirectSchema, { error: 'must be a list of sections with from and to' })
        .max(LIMITS.configListItems, { error: `must be a list of at most ${LIMITS.configListItems}; a file _redirects takes more` })
        .optional()
        .describe(
          'Paths that lead elsewhere: from, to, status (301), force. The first that fits is the one; those of a file _redirects follow.',
        ),
      headers: z
        .array(z.strictObject({ for: sitePath, values: headerValues }, { error: 'must be a section with for and values' }), {
          error: 'must be a list of sections with for and values',
        })
        .max(LIMITS.configListItems, { error: `must be a list of at most ${LIMITS.configListItems}` })
        .optional()
        .describe('Headers by path: for, values. Win over those of a file _headers.'),
    },
    { error: 'must be a section with keys' },
  )
  .superRefine((site, context) => {
    if (Buffer.byteLength(JSON.stringify(site)) > LIMITS.siteBytes)
      context.addIssue({
        code: 'custom',
        message: `must be at most ${LIMITS.siteBytes} bytes: put redirects into a file _redirects of the site`,
      })
    for (const [index, { to, status }] of (site.redirects ?? []).entries())
      if ((status === 200 || status === 404) && !to.startsWith('/'))
        context.addIssue({ code: 'custom', path: ['redirects', index, 'to'], message: `must be a path of the site for status ${status}` })
  })

const runSchema = z
  .strictObject(
    {
      base: toolchain.optional().describe('Toolchain of the instances, e.g. nodejs@22.'),
      os: osName.optional().describe('Operating system of the instances.'),
      prepareCommands: commands.optional().describe('Make the runtime image, once, without application code.'),
      initCommands: commands.optional().describe('Run at every start of every instance, before start.'),
      initFailure: oneOf(['continue', 'fail']).optional().describe('What a failing init command means.'),
      start: commands.optional().describe('Start command; several run side by side in one instance.'),
      staticRoot: relativePath.optional().describe('Serve this directory as a static site instead of running a command.'),
      site: siteSchema.optional().describe('How a static site answers, besides with its files (docs/static-sites.md).'),
      port: port.optional().describe('Port that the app listens on. Default: the one given in the variable PORT.'),
      instances: wholeNumber(1, LIMITS.instances).optional().describe('Copies that run at once.'),
      cpu: oneOf(['shared-1x', 'shared-2x', 'performance-1x']).optional().describe('Share of a core per instance.'),
      memoryMb: wholeNumber(16, 1_048_576).optional().describe('Memory per instance in MiB.'),
      diskMb: wholeNumber(16, 16_777_216)
        .optional()
        .describe('Disk per instance in MiB: its copy of the artifact, what it writes, its log. One that has more is stopped.'),
      region: oneOrMany(line('a region, e.g. iad', 32).regex(/^[a-z0-9][a-z0-9-]*$/, { error: 'must be a region, e.g. iad' }), 'a region')
        .optional()
        .describe('Where the runtime has regions.'),
      env: variables
        .optional()
        .describe(`Variables of the instances. ${'$'}{NAME} refers to another variable; $${'$'}{NAME} is the text itself.`),
      healthCheck: healthSchema.optional().describe('Runs as long as the instance serves; failure restarts it.'),
      ociRuntime: line('the name of an OCI runtime, e.g. runsc', 64)
        .regex(/^[A-Za-z0-9][\w.-]*$/, { error: 'must be the name of an OCI runtime, e.g. runsc' })
        .optional()
        .describe('OCI runtime of container drivers (gVisor, Kata).'),
    },
    { error: 'must be a section with keys' },
  )
  .superRefine((run, context) => {
    if (run.start !== undefined && run.staticRoot !== undefined)
      context.addIssue({ code: 'custom', path: ['staticRoot'], message: "can't stand beside run.start: choose a command or a static site" })
  })

const deploySchema = z.strictObject(
  {
    releaseCommand: command.optional().describe('Runs once per deployment in the new version before it takes traffic, e.g. migrations.'),
    releaseCommandTimeout: duration(SECOND, LIMITS.buildHardTimeoutMs)
      .optional()
      .describe('Longest time that the release command may take.'),
    temporaryShutdown: trueOrFalse.optional().describe('Stop the old version before the new one starts; requests are held meanwhile.'),
    readinessCheck: readinessSchema.optional().describe('Must pass before an instance gets traffic. Default: its port takes connections.'),
    drainTimeout: duration(0, LIMITS.drainMaxMs).optional().describe('Longest wait for requests in flight on the old version.'),
    bake: duration(0, HOUR).optional().describe('How long the new version is watched after the swap; trouble swaps back. 0 turns it off.'),
    autoRollback: trueOrFalse.optional().describe('Swap back by itself when the new version fails while it bakes.'),
    standby: duration(0, 30 * DAY)
      .optional()
      .describe('How long the replaced instances are kept, stopped.'),
    stopTimeout: duration(0, 10 * MINUTE)
      .optional()
      .describe('From SIGTERM to SIGKILL.'),
  },
  { error: 'must be a section with keys' },
)

const gitBranch = line('a branch', LIMITS.refLength).superRefine((branch, context) => {
  const problem = gitRefProblem(branch, LIMITS.refLength)
  if (problem !== null) context.addIssue({ code: 'custom', message: `must be a branch name, e.g. main: it ${problem}` })
})

const triggerSchema = z.strictObject(
  {
    branch: gitBranch.optional().describe('Pushes to this branch deploy.'),
    tags: line('a pattern of tags, e.g. v*', LIMITS.refLength)
      .regex(/^[^\s~^:\\]+$/, { error: 'must be a pattern of tag names, e.g. v* or release/**' })
      .refine((pattern) => patternProblem(pattern) === null, {
        error: `must be a pattern of at most ${LIMITS.patternAlternatives} alternatives`,
      })
      .optional()
      .describe('Pushed tags that match this pattern deploy, e.g. v*. Left out: tags do not deploy.'),
    watch: pathPatterns.optional().describe('Deploy only when a file that matches one of these patterns changed.'),
    queue: oneOf(['every', 'latest']).optional().describe('every push is deployed, or only the latest one that waits.'),
  },
  { error: 'must be a section with keys' },
)

export const serviceSchema = z.strictObject(
  {
    build: buildSchema.optional().describe('One of: dockerfile, image, or recipe keys. Left out: detected.'),
    scan: scanSchema.optional().describe('Vulnerability scan of what is deployed; off records that it was not done.'),
    run: runSchema.optional(),
    deploy: deploySchema.optional(),
    retention: wholeNumber(1, 100).optional().describe('Releases kept besides the live one.'),
    trigger: triggerSchema.optional(),
  },
  { error: 'must be a section with keys' },
)

export const manifestSchema = z.strictObject(
  {
    $schema: z.string().optional().describe('For editors.'),
    services: z
      .record(z.string().regex(SERVICE_NAME, { error: `is no service name: ${SERVICE_NAME_RULE}` }), serviceSchema, {
        error: 'must be a map of service names',
      })
      .refine((services) => Object.keys(services).length > 0, { error: 'must hold at least one service' })
      .refine((services) => Object.keys(services).length <= LIMITS.services, { error: `must hold at most ${LIMITS.services} services` })
      .describe('The services, by name. A name becomes part of the host name.'),
  },
  { error: 'must be a map that begins with services:' },
)

/** A service as it is written: everything optional. `ServiceConfig` is what it becomes. */
export type ServiceInput = z.input<typeof serviceSchema>
export type BuildInput = NonNullable<ServiceInput['build']>
export type RunInput = NonNullable<ServiceInput['run']>
export type ReadinessInput = NonNullable<NonNullable<ServiceInput['deploy']>['readinessCheck']>
export type HealthInput = NonNullable<RunInput['healthCheck']>
