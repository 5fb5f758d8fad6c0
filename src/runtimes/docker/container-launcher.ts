import { type ContainerEngine, isRefusal } from '../../container-engine/engine.ts'
import type { Clock } from '../../core/clock.ts'
import { ShiplockError } from '../../core/errors.ts'
import type { Artifact } from '../../domain/deployment.ts'
import type { ServiceEnvironmentId } from '../../domain/ids.ts'
import type { CpuClass } from '../../domain/service-config.ts'
import type { InstanceSpec, Labels } from '../runtime.ts'
import { AddressBook } from './address-book.ts'
import type { ContainerPlan, Mount } from './container-body.ts'
import type { ContainerCommand } from './container-command.ts'
import { type ContainerKind, containerName, labelsFor, networkOf } from './container-labels.ts'
import { type ContainerRecord, readRecord, writeRecord } from './container-record.ts'
import type { ContainerFacts, Reach } from './container-state.ts'
import { AddressTaken, Containers } from './containers.ts'
import { findEngineImage, inspectImage, type LocalImage, localImage } from './image-of.ts'
import { isOnThisHost, Networks, type ProjectNetwork } from './networks.ts'
import { putTree, TREE_MOUNT } from './put-files.ts'

/**
 * How instances are reached. `container`: at their address in the network. `publish`: at a port of 127.0.0.1, drawn by the engine.
 * `auto`: the former where the network's bridge is an interface of this host. An IP address: ports published there.
 */
export type ReachSetting = 'auto' | 'container' | 'publish' | { readonly address: string }

export interface LaunchRequest {
  readonly kind: ContainerKind
  readonly id: string
  readonly directory: string
  readonly labels: Labels
  readonly image: LocalImage
  readonly command: ContainerCommand
  /** Tree that is laid into it before its first start; null = the image is all. */
  readonly tree: string | null
  readonly env: Readonly<Record<string, string>>
  readonly mounts?: readonly Mount[]
  readonly port: number | null
  /** Where its service answers; null = nobody shall find it by labels. */
  readonly host: string | null
  readonly cpu: CpuClass
  readonly memoryMb: number
  readonly diskMb?: number | null
  readonly ociRuntime: string | null
  readonly fence: number
  readonly present: ContainerFacts | null
  readonly signal: AbortSignal
}

/** Makes instances known to a proxy that finds containers by itself. */
export interface FrontLabels {
  /** The proxy's network, which containers join. */
  readonly network: string
  labelsFor(id: ServiceEnvironmentId, host: string, port: number): Readonly<Record<string, string>>
}

export interface LauncherOptions {
  readonly front?: FrontLabels | null
  readonly engine: ContainerEngine
  readonly owner: string
  readonly clock: Clock
  readonly reach: ReachSetting
  /** Brings an image of a release into the engine, e.g. from a registry. */
  readonly fetchImage: ((artifact: Extract<Artifact, { kind: 'image' }>, signal: AbortSignal) => Promise<void>) | null
}

/** Makes and starts containers: what instances and tasks have in common. Callers hold the lock of the id. */
export class ContainerLauncher {
  readonly engine: ContainerEngine
  readonly owner: string
  readonly containers: Containers
  readonly networks: Networks
  readonly #addresses = new AddressBook()
  readonly #options: LauncherOptions

  constructor(options: LauncherOptions) {
    this.#options = options
    this.engine = options.engine
    this.owner = options.owner
    this.containers = new Containers(options.engine, options.clock)
    this.networks = new Networks(options.engine, options.owner)
  }

  nameOf(kind: ContainerKind, id: string): string {
    return containerName(this.owner, kind, id)
  }

  /** Keeps the address of one that an earlier server started. */
  remember(kind: ContainerKind, record: ContainerRecord): void {
    this.#addresses.remember(record.network, this.nameOf(kind, record.id), record.address)
  }

  /**
   * The image of a release, or the one that its file tree runs in.
   * @throws LAUNCH_FAILED when it is neither here nor to be had, BASE_UNAVAILABLE for a tree without such an image
   */
  async image({ artifact, support }: Pick<InstanceSpec, 'artifact' | 'support'>, signal: AbortSignal): Promise<LocalImage> {
    if (artifact.kind === 'tree') return this.#baseImage(support?.image ?? null, signal)
    const found = await findEngineImage(this.engine, artifact, signal)
    if (found !== null) return found
    await this.#options.fetchImage?.(artifact, signal)
    const fetched = this.#options.fetchImage === null ? null : await findEngineImage(this.engine, artifact, signal)
    if (fetched !== null) return fetched
    throw new ShiplockError('LAUNCH_FAILED', `the engine does not have the image ${artifact.reference} (${artifact.digest})`, {
      hint: 'It was removed from the engine, and no registry keeps it; deploy again to build or pull it.',
    })
  }

  async #baseImage(name: string | null, signal: AbortSignal): Promise<LocalImage> {
    if (name === null)
      throw new ShiplockError('BASE_UNAVAILABLE', 'the docker runtime needs an image to run this file tree in', {
        hint: 'Use SHIPLOCK_RUNTIME=auto: file trees then run as processes.',
      })
    const facts = await inspectImage(this.engine, name, signal)
    // Its own command is that of the base, never of the app.
    if (facts !== null) return { ...localImage(facts), entrypoint: [], command: [] }
    throw new ShiplockError('LAUNCH_FAILED', `the engine does not have the image ${name} of run.base`, { hint: `docker pull ${name}` })
  }

  /** Intent on disk first, then the container, then its start: a rerun takes up what a crash left at any point. */
  async launch(request: LaunchRequest): Promise<ContainerRecord> {
    const { directory, id, kind, labels, fence, signal } = request
    const name = this.nameOf(kind, id)
    const made = await this.networks.with(labels, async (network) => {
      const before = await readRecord(directory)
      const address = this.#addresses.take(network, name, before?.network === network.name ? before.address : null)
      const plan = this.#plan(request, network, address)
      const record: ContainerRecord = {
        id,
        labels,
        fence,
        network: network.name,
        address,
        memoryMb: request.memoryMb,
        diskMb: request.diskMb ?? null,
        stopAsked: false,
        launchedAt: new Date(this.#options.clock.now()).toISOString(),
        timedOut: false,
      }
      await writeRecord(directory, record)
      const isNew = await this.containers.make(name, plan, request.present, signal)
      if (isNew && request.tree !== null) await putTree(this.engine, name, request.tree, signal)
      if (request.host !== null) await this.#joinFront(name)
      return { plan, record, network }
    })
    return this.#start(name, made, directory, signal)
  }

  /** Forgets its address, and the network if it was the last in it. */
  async release(kind: ContainerKind, id: string, labels: Labels): Promise<void> {
    const { name } = networkOf(this.owner, labels)
    this.#addresses.release(name, this.nameOf(kind, id))
    await this.networks.drop(name)
  }

  async #start(
    name: string,
    made: { readonly plan: ContainerPlan; readonly record: ContainerRecord; readonly network: ProjectNetwork },
    directory: string,
    signal: AbortSignal,
  ): Promise<ContainerRecord> {
    let { plan, record } = made
    for (let attempt = 1; ; attempt++) {
      try {
        await this.containers.start(name, plan, signal)
        return record
      } catch (error) {
        if (!(error instanceof AddressTaken) || attempt === START_ATTEMPTS) throw error
        if (record.address !== null) this.#addresses.spoil(record.network, record.address)
        const address = attempt + 1 === START_ATTEMPTS ? null : this.#addresses.take(made.network, name, null)
        plan = { ...plan, address }
        record = { ...record, address }
        await writeRecord(directory, record)
        await this.containers.readdress(name, plan, address)
      }
    }
  }

  #frontLabels({ labels, host, port }: LaunchRequest): Readonly<Record<string, string>> {
    const { front } = this.#options
    return front === null || front === undefined || host === null || port === null
      ? {}
      : front.labelsFor(labels.serviceEnvironmentId, host, port)
  }

  async #joinFront(name: string): Promise<void> {
    const network = this.#options.front?.network
    if (network === undefined) return
    try {
      await this.engine.json('POST', `/networks/${encodeURIComponent(network)}/connect`, { body: { Container: name } })
    } catch (error) {
      // 403: it is in it already.
      if (isRefusal(error, 403)) return
      if (!isRefusal(error)) throw error
      throw new ShiplockError('LAUNCH_FAILED', `the container can't join the network ${network} of Traefik: ${error.message}`, {
        hint: `Make it: docker network create ${network}; or unset SHIPLOCK_TRAEFIK_NETWORK.`,
      })
    }
  }

  #plan(request: LaunchRequest, network: ProjectNetwork, address: string | null): ContainerPlan {
    const { kind, id, labels, fence } = request
    return {
      image: request.image.id,
      imageLabels: request.image.labels,
      ...request.command,
      workingDirectory: request.tree === null ? null : TREE_MOUNT,
      env: request.env,
      ...(request.mounts === undefined ? {} : { mounts: request.mounts }),
      labels: { ...labelsFor(this.owner, kind, id, labels, fence), ...this.#frontLabels(request) },
      cpu: request.cpu,
      memoryMb: request.memoryMb,
      ociRuntime: request.ociRuntime,
      network: network.name,
      // A task must not be found as an instance of its service.
      alias: kind === 'instance' ? network.alias : null,
      address,
      port: request.port,
      reach: reachOf(this.#options.reach, network),
    }
  }
}
const START_ATTEMPTS = 4

function reachOf(setting: ReachSetting, network: ProjectNetwork): Reach {
  if (typeof setting === 'object') return { kind: 'publish', bind: setting.address }
  const kind = setting === 'auto' ? (isOnThisHost(network) ? 'container' : 'publish') : setting
  return kind === 'container' ? { kind } : { kind, bind: '127.0.0.1' }
}
