import { networkInterfaces } from 'node:os'
import { type ContainerEngine, isRefusal } from '../../container-engine/engine.ts'
import { ShiplockError } from '../../core/errors.ts'
import { KeyedLock } from '../process/keyed-lock.ts'
import type { Labels } from '../runtime.ts'
import { filters, LABEL, networkOf } from './container-labels.ts'

export interface ProjectNetwork {
  readonly name: string
  /** Under which siblings find the service; null where its name is none for a host. */
  readonly alias: string | null
  /** `10.1.2.0/24`; null where the engine does not say, or gives addresses only by itself. */
  readonly subnet: string | null
  readonly gateway: string | null
}

interface NetworkFacts {
  readonly Id: string
  readonly Labels?: Readonly<Record<string, string>> | null
  readonly IPAM?: { readonly Config?: readonly { readonly Subnet?: string; readonly Gateway?: string }[] | null }
}

const ATTEMPTS = 5

/** A bridge network per project and environment, made when the first container needs it and removed with the last. */
export class Networks {
  readonly #engine: ContainerEngine
  readonly #owner: string
  readonly #locks = new KeyedLock()

  constructor(engine: ContainerEngine, owner: string) {
    this.#engine = engine
    this.#owner = owner
  }

  /** Runs with the network there, and kept there until `use` has ended. */
  with<Result>(labels: Labels, use: (network: ProjectNetwork) => Promise<Result>): Promise<Result> {
    const { name, alias } = networkOf(this.#owner, labels)
    return this.#locks.run(name, async () => {
      const facts = (await this.#find(name)) ?? (await this.#create(name, labels))
      const { Subnet: subnet, Gateway: gateway = null } = facts.IPAM?.Config?.find((entry) => entry.Subnet?.includes('.')) ?? {}
      const isFixed = facts.Labels?.[LABEL.addresses] === 'fixed'
      return use({ name, alias, subnet: isFixed ? (subnet ?? null) : null, gateway })
    })
  }

  /** What a crash left, or a project that is gone; how many went. */
  async dropUnused(): Promise<number> {
    const query = { filters: filters(`${LABEL.owner}=${this.#owner}`, `${LABEL.kind}=network`) }
    const networks = await this.#engine.json<readonly { readonly Name: string }[]>('GET', '/networks', { query })
    let dropped = 0
    for (const { Name } of networks) if (await this.drop(Name)) dropped += 1
    return dropped
  }

  /** Removes it when no container of ours, running or not, belongs to it. True = it went. */
  drop(name: string): Promise<boolean> {
    return this.#locks.run(name, async () => {
      const query = { all: true, limit: 1, filters: filters(`${LABEL.owner}=${this.#owner}`, `${LABEL.network}=${name}`) }
      const users = await this.#engine.json<readonly unknown[]>('GET', '/containers/json', { query })
      if (users.length > 0) return false
      try {
        await this.#engine.json('DELETE', `/networks/${encodeURIComponent(name)}`)
        return true
      } catch (error) {
        // Gone already, or somebody else's container is in it.
        if (!isRefusal(error, 403, 404, 409)) throw error
        return false
      }
    })
  }

  async #find(name: string): Promise<NetworkFacts | null> {
    try {
      return await this.#engine.json<NetworkFacts>('GET', `/networks/${encodeURIComponent(name)}`)
    } catch (error) {
      if (isRefusal(error, 404)) return null
      throw error
    }
  }

  /**
   * Docker gives fixed addresses only in networks whose subnet was asked for. So the engine chooses a free one, and the network is made
   * again with that one asked for; whoever takes it in between makes us try once more.
   */
  async #create(name: string, labels: Labels): Promise<NetworkFacts> {
    for (let attempt = 1; ; attempt++) {
      const chosen = await this.#post(name, labels, null)
      const [config] = chosen.IPAM?.Config ?? []
      if (config?.Subnet === undefined) return chosen
      await this.#engine.json('DELETE', `/networks/${chosen.Id}`)
      try {
        return await this.#post(name, labels, {
          Subnet: config.Subnet,
          ...(config.Gateway === undefined ? {} : { Gateway: config.Gateway }),
        })
      } catch (error) {
        if (attempt === ATTEMPTS || !(error instanceof ShiplockError)) throw error
      }
    }
  }

  async #post(name: string, labels: Labels, ipam: Record<string, string> | null): Promise<NetworkFacts> {
    const body = {
      Name: name,
      CheckDuplicate: true,
      Driver: 'bridge',
      Labels: {
        [LABEL.owner]: this.#owner,
        [LABEL.kind]: 'network',
        [LABEL.project]: labels.projectId,
        [LABEL.title]: labels.title,
        ...(ipam === null ? {} : { [LABEL.addresses]: 'fixed' }),
      },
      ...(ipam === null ? {} : { IPAM: { Driver: 'default', Config: [ipam] } }),
    }
    try {
      await this.#engine.json('POST', '/networks/create', { body })
    } catch (error) {
      // 409: an earlier call made it and its reply was lost.
      if (!isRefusal(error, 409)) throw isRefusal(error) ? noNetwork(name, error.message) : error
    }
    const facts = await this.#find(name)
    if (facts === null) throw noNetwork(name, 'it was removed right after it was made')
    return facts
  }
}

function noNetwork(name: string, reason: string): ShiplockError {
  return new ShiplockError('RUNTIME_UNAVAILABLE', `the engine can't make the network ${name}: ${reason}`, {
    hint: 'Each environment of a project has a network: give the engine more of them (default-address-pools in daemon.json), or remove unused ones (docker network prune).',
  })
}

/** Whether containers of a network can be reached by their addresses: its bridge is an interface of this host. */
export function isOnThisHost({ gateway }: ProjectNetwork): boolean {
  if (gateway === null) return false
  return Object.values(networkInterfaces()).some((entries) => entries?.some((entry) => entry.address === gateway))
}
