import { type ContainerEngine, type EngineRefusal, isRefusal } from '../../container-engine/engine.ts'
import type { Clock } from '../../core/clock.ts'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { StopReport } from '../runtime.ts'
import { type ContainerPlan, containerBody, specOf } from './container-body.ts'
import { LABEL } from './container-labels.ts'
import { type ContainerFacts, isRunning, labelsIn, neverRan } from './container-state.ts'

/** Containers by name, as an engine has them: make, start, end, remove. Each may be called twice. */
export class Containers {
  readonly #engine: ContainerEngine
  readonly #clock: Clock
  /** Unlearned from an engine that has no init of its own. */
  #hasInit = true
  /** Unlearned from an engine that does not see the files of this host, e.g. behind a forwarded socket. */
  #seesFiles = true

  constructor(engine: ContainerEngine, clock: Clock) {
    this.#engine = engine
    this.#clock = clock
  }

  async find(name: string): Promise<ContainerFacts | null> {
    try {
      return await this.#engine.json<ContainerFacts>('GET', `/containers/${name}/json`)
    } catch (error) {
      if (isRefusal(error, 404)) return null
      throw error
    }
  }

  /**
   * The container of a plan, made if it is not there; one that was made from another plan is replaced, what it wrote goes with it.
   * Resolves with whether it was never started.
   * @throws LAUNCH_FAILED in the engine's words
   */
  async make(name: string, plan: ContainerPlan, present: ContainerFacts | null, signal: AbortSignal): Promise<boolean> {
    const body = containerBody({ ...plan, init: this.#hasInit, mounts: this.#seesFiles ? (plan.mounts ?? []) : [] })
    if (present !== null && labelsIn(present)[LABEL.owner] !== plan.labels[LABEL.owner])
      throw new ShiplockError('LAUNCH_FAILED', `the engine has a container ${name} that is not ours`, { hint: 'Remove or rename it.' })
    if (present !== null && labelsIn(present)[LABEL.spec] === specOf(body)) return neverRan(present)
    if (present !== null) await this.remove(name)
    try {
      await this.#engine.json('POST', '/containers/create', { query: { name }, body, signal })
      return true
    } catch (error) {
      // An earlier call made it and its reply was lost.
      if (isRefusal(error, 409) && (await this.find(name)) !== null) return true
      if (isRefusal(error, 400) && this.#seesFiles && /bind source path does not exist/i.test(error.message)) {
        this.#seesFiles = false
        return this.make(name, plan, null, signal)
      }
      throw isRefusal(error) ? await this.#explained(error, plan) : error
    }
  }

  /** @throws LAUNCH_FAILED in the engine's words; `AddressTaken` when its address belongs to another by now */
  async start(name: string, plan: ContainerPlan, signal: AbortSignal): Promise<void> {
    try {
      await this.#engine.json('POST', `/containers/${name}/start`, { signal })
    } catch (error) {
      if (!isRefusal(error)) throw error
      if (error.status === 304) return
      if (/address already in use|address .*already (allocated|assigned)/i.test(error.message)) throw new AddressTaken(error.message)
      if (this.#hasInit && /docker-init|catatonit|init binary/i.test(error.message)) {
        this.#hasInit = false
        await this.make(name, plan, await this.find(name), signal)
        return this.start(name, plan, signal)
      }
      throw await this.#explained(error, plan)
    }
  }

  /** Its stop signal, patience, SIGKILL, proof. */
  async stop(name: string, timeoutMs: number): Promise<StopReport> {
    const started = this.#clock.monotonic()
    const facts = await this.find(name)
    if (facts === null || !isRunning(facts)) return { killed: false, tookMs: 0 }
    await this.#kill(name, facts.Config.StopSignal || 'SIGTERM')
    let killed = !(await this.#gone(name, timeoutMs))
    if (killed) {
      // It may have ended in this moment; then it was not we who killed it.
      killed = await this.#kill(name, 'SIGKILL')
      if (!(await this.#gone(name, LIMITS.killConfirmMs)))
        throw new ShiplockError('RUNTIME_UNAVAILABLE', `the engine could not end the container ${name} in ${LIMITS.killConfirmMs / 1000} s`)
    }
    return { killed, tookMs: this.#clock.monotonic() - started }
  }

  async remove(name: string): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#engine.json('DELETE', `/containers/${name}`, { query: { force: true, v: true } })
        return
      } catch (error) {
        if (isRefusal(error, 404)) return
        // 409: it is being removed already; 500: a mount was still busy.
        if (!isRefusal(error, 409, 500) || attempt === REMOVE_ATTEMPTS) throw error
        await this.#clock.sleep(REMOVE_PAUSE_MS)
      }
    }
  }

  /** Gives a container that does not run another address (null = the engine chooses). */
  async readdress(name: string, plan: ContainerPlan, address: string | null): Promise<void> {
    const path = `/networks/${encodeURIComponent(plan.network)}`
    try {
      await this.#engine.json('POST', `${path}/disconnect`, { body: { Container: name, Force: true } })
    } catch (error) {
      if (!isRefusal(error)) throw error
    }
    const EndpointConfig = {
      ...(plan.alias === null ? {} : { Aliases: [plan.alias] }),
      ...(address === null ? {} : { IPAMConfig: { IPv4Address: address } }),
    }
    await this.#engine.json('POST', `${path}/connect`, { body: { Container: name, EndpointConfig } })
  }

  /** False when it does not run. */
  async #kill(name: string, signal: string): Promise<boolean> {
    try {
      await this.#engine.json('POST', `/containers/${name}/kill`, { query: { signal } })
      return true
    } catch (error) {
      if (isRefusal(error, 404, 409)) return false
      throw error
    }
  }

  async #gone(name: string, withinMs: number): Promise<boolean> {
    const late = AbortSignal.timeout(withinMs)
    try {
      await this.#engine.json('POST', `/containers/${name}/wait`, { query: { condition: 'not-running' }, signal: late, timeoutMs: null })
      return true
    } catch (error) {
      if (isRefusal(error, 404)) return true
      if (!late.aborted) throw error
      const facts = await this.find(name)
      return facts === null || !isRunning(facts)
    }
  }

  async #explained(error: EngineRefusal, plan: ContainerPlan): Promise<ShiplockError> {
    const { message } = error
    if (/no space left on device/i.test(message))
      return new ShiplockError('DISK_FULL', `the engine has no space left: ${message}`, { cause: error })
    if (plan.ociRuntime !== null && /runtime/i.test(message) && message.includes(plan.ociRuntime)) {
      return new ShiplockError('LAUNCH_FAILED', `run.ociRuntime: the engine has no runtime ${plan.ociRuntime}`, {
        hint: `Install it in the engine, or choose one that it has: ${(await this.#runtimes()).join(', ')}.`,
        cause: error,
      })
    }
    const missing = /exec: "([^"]+)": (?:executable file not found|stat .*no such file|.*no such file)/.exec(message)?.[1]
    if (missing !== undefined) {
      return new ShiplockError('LAUNCH_FAILED', `the image has no program ${missing}`, {
        hint:
          missing === '/bin/sh'
            ? 'run.start, init and release commands need a shell in the image.'
            : 'Check CMD, ENTRYPOINT and run.start.',
        cause: error,
      })
    }
    return new ShiplockError('LAUNCH_FAILED', `the engine can't start it: ${message}`, { cause: error })
  }

  async #runtimes(): Promise<readonly string[]> {
    const info = await this.#engine.json<{ Runtimes?: Record<string, unknown> }>('GET', '/info').catch(() => null)
    return Object.keys(info?.Runtimes ?? {})
  }
}
const REMOVE_ATTEMPTS = 20
const REMOVE_PAUSE_MS = 100

export class AddressTaken extends Error {}
