import { nextAddress } from './addresses.ts'
import type { ProjectNetwork } from './networks.ts'

/** Who holds which address in which network: of running, crashed and stopped instances alike, until they are removed. */
export class AddressBook {
  readonly #held = new Map<string, Map<string, string>>()
  readonly #last = new Map<string, string>()

  /** Its present address, if it is still its own, else a free one; null = the engine chooses. */
  take(network: ProjectNetwork, holder: string, present: string | null): string | null {
    const held = this.#of(network.name)
    if (present !== null && (held.get(present) ?? holder) === holder) {
      held.set(present, holder)
      return present
    }
    this.release(network.name, holder)
    const address = nextAddress(network, new Set(held.keys()), this.#last.get(network.name) ?? null)
    if (address !== null) {
      held.set(address, holder)
      this.#last.set(network.name, address)
    }
    return address
  }

  /** Somebody whom this book does not know has it: it is not given out while this server lives. */
  spoil(network: string, address: string): void {
    this.#of(network).set(address, '')
  }

  remember(network: string, holder: string, address: string | null): void {
    if (address !== null) this.#of(network).set(address, holder)
  }

  release(network: string, holder: string): void {
    const held = this.#of(network)
    for (const [address, owner] of held) if (owner === holder) held.delete(address)
  }

  #of(network: string): Map<string, string> {
    const held = this.#held.get(network) ?? new Map<string, string>()
    this.#held.set(network, held)
    return held
  }
}
