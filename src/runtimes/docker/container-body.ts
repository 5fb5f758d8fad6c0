import { createHash } from 'node:crypto'
import { labelsInstead } from '../../container-engine/blank-labels.ts'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { CpuClass } from '../../domain/service-config.ts'
import { CPU_CLASSES } from '../process/cpu-classes.ts'
import { LABEL } from './container-labels.ts'
import type { Reach } from './container-state.ts'

/**
 * What an instance may do beyond an ordinary process, of the fourteen that engines give: enough for images that begin as root, give files
 * away, listen below 1024 and change to another user. Not: raw sockets (forging addresses in the network), device nodes, file
 * capabilities, chroot, the audit log.
 */
const CAPABILITIES = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'NET_BIND_SERVICE', 'SETGID', 'SETUID'] as const
/** Docker: 100 of `weight` is 1024 shares. */
const SHARES_PER_WEIGHT = 10.24
const VARIABLE_NAME = /^[A-Za-z_][A-Za-z0-9_.-]*$/

/** The server does its own checks; one that an image brings would have the engine start processes as often as the image likes. */
const NO_HEALTHCHECK = { Test: ['NONE'] } as const

/** A directory of this host in a container. */
export interface Mount {
  readonly source: string
  readonly target: string
  readonly writable: boolean
}

export interface ContainerPlan {
  readonly image: string
  /** null = the image's own. */
  readonly entrypoint: readonly string[] | null
  readonly command: readonly string[] | null
  readonly workingDirectory: string | null
  readonly env: Readonly<Record<string, string>>
  readonly labels: Readonly<Record<string, string>>
  /** Names of labels that the image has. */
  readonly imageLabels: readonly string[]
  readonly cpu: CpuClass
  readonly memoryMb: number
  readonly ociRuntime: string | null
  readonly network: string
  readonly alias: string | null
  readonly address: string | null
  /** null = nothing listens: a task. */
  readonly port: number | null
  readonly reach: Reach
  /** Default none. */
  readonly mounts?: readonly Mount[]
  /** Whether the engine puts an init of its own before the command. Default true. */
  readonly init?: boolean
}

/** Body of POST /containers/create. Its `spec` label is a digest of all that matters but the address: equal ones make equal containers. */
export function containerBody(plan: ContainerPlan): Record<string, unknown> {
  assertVariables(plan.env)
  const memory = plan.memoryMb * 1024 * 1024
  const { cores, weight } = CPU_CLASSES[plan.cpu]
  const exposed = plan.port === null ? null : `${plan.port}/tcp`
  const body = {
    Image: plan.image,
    ...(plan.entrypoint === null ? {} : { Entrypoint: plan.entrypoint }),
    ...(plan.command === null ? {} : { Cmd: plan.command }),
    ...(plan.workingDirectory === null ? {} : { WorkingDir: plan.workingDirectory }),
    Env: Object.entries(plan.env).map(([name, value]) => `${name}=${value}`),
    AttachStdin: false,
    Tty: false,
    ...(exposed === null ? {} : { ExposedPorts: { [exposed]: {} } }),
    HostConfig: {
      NetworkMode: plan.network,
      // Reaps children and hands signals on: as process 1 an app without a handler would ignore SIGTERM.
      Init: plan.init ?? true,
      ...mountsOf(plan.mounts ?? []),
      Memory: memory,
      // Equal: no swap on top.
      MemorySwap: memory,
      NanoCpus: cores * 1e9,
      CpuShares: Math.round(weight * SHARES_PER_WEIGHT),
      PidsLimit: LIMITS.pidsPerInstance,
      CapDrop: ['ALL'],
      CapAdd: CAPABILITIES,
      SecurityOpt: ['no-new-privileges'],
      Privileged: false,
      LogConfig: { Type: 'json-file', Config: { 'max-size': `${LIMITS.containerLogFileBytes}`, 'max-file': '3' } },
      // The server restarts what should serve, readiness check included; an engine that did would send requests to what is not ready (I2).
      RestartPolicy: { Name: 'no' },
      ...(plan.ociRuntime === null ? {} : { Runtime: plan.ociRuntime }),
      ...(exposed === null || plan.reach.kind === 'container'
        ? {}
        : { PortBindings: { [exposed]: [{ HostIp: plan.reach.bind, HostPort: '' }] } }),
    },
  }
  const endpoint = {
    ...(plan.alias === null ? {} : { Aliases: [plan.alias] }),
    ...(plan.address === null ? {} : { IPAMConfig: { IPv4Address: plan.address } }),
  }
  const spec = createHash('sha256')
    .update(JSON.stringify([body, plan.alias, plan.network]))
    .digest('hex')
  return {
    ...body,
    // Not in the digest, so that containers from before this line are still taken for what they are.
    Healthcheck: NO_HEALTHCHECK,
    Labels: labelsInstead(plan.imageLabels, {
      ...plan.labels,
      [LABEL.network]: plan.network,
      [LABEL.spec]: spec,
      ...(plan.port === null ? {} : { [LABEL.port]: String(plan.port) }),
    }),
    NetworkingConfig: { EndpointsConfig: { [plan.network]: endpoint } },
  }
}

function mountsOf(mounts: readonly Mount[]): Record<string, unknown> {
  if (mounts.length === 0) return {}
  return { Mounts: mounts.map(({ source, target, writable }) => ({ Type: 'bind', Source: source, Target: target, ReadOnly: !writable })) }
}

export function specOf(body: Record<string, unknown>): string {
  return (body.Labels as Record<string, string>)[LABEL.spec] ?? ''
}

function assertVariables(env: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(env)) {
    if (!VARIABLE_NAME.test(name))
      throw new ShiplockError('INPUT_INVALID', `${JSON.stringify(name)} is no name for an environment variable`)
    if (value.includes('\0')) throw new ShiplockError('INPUT_INVALID', `the variable ${name} holds a zero byte, which no process can get`)
  }
}
