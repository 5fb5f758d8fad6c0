import type { Deployment } from '../../src/domain/deployment.ts'
import type { ServerId } from '../../src/domain/ids.ts'
import { reap } from '../../src/engine/reaper.ts'
import type { ServiceEnvironment } from '../../src/store/sql/catalog.ts'
import { freshDatabase, type TestDatabase } from './database.ts'
import { expectSound } from './engine-checks.ts'
import type { Step, TestServer } from './engine-server.ts'
import { createWorld, type World } from './engine-world.ts'
import { eventually } from './eventually.ts'

/** One story that a server may be killed in at every step. */
export interface Scenario {
  readonly name: string
  /** What stands before; runs with a server that is not killed. Its steps don't count. */
  prepare(world: World, target: ServiceEnvironment): Promise<void>
  /** Puts into the queue what the doomed server shall do. */
  begin(world: World, target: ServiceEnvironment): Promise<Deployment>
  /** Runs at each step of any server, e.g. to make an instance crash when it is on the route. */
  meanwhile?(world: World, step: Step): Promise<void>
  /** Beside `expectSound`. */
  check(world: World, target: ServiceEnvironment, ended: Deployment): Promise<void>
}

const READS = new Set(['db.begin', 'runtime.inspect', 'runtime.exec', 'edge.read', 'edge.traffic', 'edge.probe'])

/** Both sides of each commit that says something happened, and each effect that happened but was not written down; before it is after what came before it. */
function isCut(step: Step): boolean {
  if (step.name === 'db.commit') return step.args.some((text) => String(text).includes('insert into events'))
  return step.side === 'after' && !READS.has(step.name)
}

/** How many steps the story has when nobody is killed, with their names. */
export async function stepsOf(scenario: Scenario, test: TestDatabase): Promise<string[]> {
  const steps: string[] = []
  const world = await createWorld({ test })
  try {
    await play(world, scenario, (step) => {
      if (isCut(step)) steps.push(`${step.side} ${step.name}`)
      return false
    })
  } finally {
    await world.close()
  }
  return steps
}

/** Kills the server at step `nth`, lets `successor` go on, and expects the story to end as it would have. Returns the step's name. */
export async function killAt(
  scenario: Scenario,
  nth: number,
  successor: 'same server' | 'another server',
  test: TestDatabase,
): Promise<string> {
  let count = 0
  let cut = ''
  const world = await createWorld({ test })
  try {
    await play(
      world,
      scenario,
      (step) => {
        if (!isCut(step) || ++count !== nth) return false
        cut = `${step.side} ${step.name}`
        return true
      },
      successor,
    )
  } catch (error) {
    ;(error as Error).message = `killed ${cut} (step ${nth}), gone on by ${successor}: ${(error as Error).message}`
    throw error
  } finally {
    await world.close()
  }
  return cut
}

async function play(
  world: World,
  scenario: Scenario,
  killsHere: (step: Step) => boolean,
  successor: 'same server' | 'another server' = 'another server',
): Promise<void> {
  const target = await world.service()
  const first = await world.server().start()
  await scenario.prepare(world, target)
  // The queue is filled while nobody looks, so that each story begins at its claim.
  const doomed = world.server(first.engine.owner.serverId)
  await first.stop()
  const deployment = await scenario.begin(world, target)
  world.hooks.push(async (step) => {
    await scenario.meanwhile?.(world, step)
    if (step.server === doomed && killsHere(step)) doomed.kill()
  })
  await doomed.start()
  await eventually(async () => doomed.isDead || (await world.find(deployment.id)).settled, { withinMs: 20_000 })
  if (doomed.isDead) {
    const next: TestServer = world.server(successor === 'same server' ? first.engine.owner.serverId : ('srv_successor' as ServerId))
    await next.register()
    await world.expireLeases()
    await next.start()
    // The dead one's transactions may still be rolled back, and a rescue passes over locked rows: look again instead of waiting for the poll.
    await eventually(
      async () => {
        next.worker.look()
        return (await world.find(deployment.id)).settled
      },
      { withinMs: 20_000 },
    )
  }
  const ended = await world.settled(deployment.id)
  await reap((await world.server(first.engine.owner.serverId).register()).engine)
  await expectSound(world)
  await scenario.check(world, target, ended)
}

const LANES = 3

/** Every step once, in a few databases at a time. Returns what went wrong. */
export async function killEverywhere(
  scenario: Scenario,
): Promise<{ readonly steps: readonly string[]; readonly failures: readonly string[] }> {
  const tests = await Promise.all(Array.from({ length: LANES }, () => freshDatabase()))
  try {
    const steps = await stepsOf(scenario, tests[0] as TestDatabase)
    const failures: string[] = []
    let next = 1
    await Promise.all(
      tests.map(async (test) => {
        while (next <= steps.length) {
          const nth = next++
          await killAt(scenario, nth, nth % 2 === 0 ? 'same server' : 'another server', test).catch((error: Error) =>
            failures.push(error.message),
          )
        }
      }),
    )
    return { steps, failures }
  } finally {
    await Promise.all(tests.map((test) => test.drop()))
  }
}
