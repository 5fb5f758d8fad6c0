import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { StageName } from '../../src/domain/deployment-machine.ts'
import type { ServiceEnvironment } from '../../src/store/sql/catalog.ts'
import { expectSound } from '../support/engine-checks.ts'
import type { ConfigChanges } from '../support/engine-config.ts'
import type { Step } from '../support/engine-server.ts'
import { createWorld, type World } from '../support/engine-world.ts'

/** A call in which a deployment is held while it is in the stage. */
const CALL_OF: Partial<Record<StageName, string>> = {
  fetch: 'source.fetch',
  build: 'builder.build',
  scan: 'scanner.scan',
  publish: 'registry.publish',
  'release-command': 'runtime.runTask',
  launch: 'runtime.start',
  verify: 'runtime.exec',
}
const STAGES_BEFORE_SWAP = Object.keys(CALL_OF) as StageName[]
const CONFIG: ConfigChanges = { deploy: { releaseCommand: 'migrate' }, readiness: { failureTimeoutMs: 60_000 } }

function withScan(world: World, ref: string): void {
  world.commit(ref, CONFIG)
  const commit = world.repository.get(ref)
  if (commit !== undefined)
    world.repository.set(ref, { ...commit, config: { ...commit.config, scan: { ...commit.config.scan, enabled: true } } })
}

function isStageCommit(step: Step): boolean {
  return (
    step.name === 'db.commit' && step.side === 'before' && step.args.some((text) => String(text).includes('update stage_runs set outcome'))
  )
}

describe('cancel', () => {
  let world: World
  let app: ServiceEnvironment
  beforeEach(async () => {
    world = await createWorld()
    app = await world.service()
    world.commit('old')
    const server = await world.server().start()
    await world.live(app, 'old')
    expect(server.problems).toEqual([])
  })
  afterEach(() => world.close())

  test.each(STAGES_BEFORE_SWAP)(
    'during %s: the work is really stopped and undone, the slot is free, what is live serves on',
    async (stage) => {
      withScan(world, 'new')
      const before = await world.route(app)
      // Never opened: only the abort of the call's own signal gets it out of there.
      const gate = world.gate((step) => step.name === CALL_OF[stage] && step.side === 'before')
      const { id } = await world.deploy(app, 'new')
      await gate.reached
      expect((await world.find(id)).stage).toBe(stage)
      await world.cancel(id)
      const ended = await world.settled(id)
      expect(ended).toMatchObject({ status: 'canceled', stage, error: null, statusReason: `somebody canceled it during ${stage}` })
      expect(await world.route(app)).toEqual(before)
      const types = (await world.events(id)).map((event) => event.type)
      expect(types.slice(-1)).toEqual(['deployment.canceled'])
      expect(types).toContain('deployment.cancel_requested')
      await expectSound(world)
    },
  )

  test('while it waits: at once, and it never begins', async () => {
    withScan(world, 'new')
    const gate = world.gate((step) => step.name === 'builder.build' && step.side === 'before')
    const first = await world.deploy(app, 'new')
    await gate.reached
    const second = await world.deploy(app, 'new')
    expect(await world.cancel(second.id)).toMatchObject({ status: 'canceled', settled: true })
    gate.open()
    await world.settled(first.id)
    expect((await world.events(second.id)).map((event) => event.type)).toEqual(['deployment.queued', 'deployment.canceled'])
    await expectSound(world)
  })

  test('asked for twice is asked for once; of what has ended it is refused', async () => {
    withScan(world, 'new')
    const gate = world.gate((step) => step.name === 'builder.build' && step.side === 'before')
    const { id } = await world.deploy(app, 'new')
    await gate.reached
    await world.cancel(id)
    await world.cancel(id)
    await world.settled(id)
    expect((await world.events(id)).filter((event) => event.type === 'deployment.cancel_requested')).toHaveLength(1)
    expect((await world.cancel(id)).status).toBe('canceled')
    const live = await world.live(app, 'new')
    await expect(world.cancel(live.id)).rejects.toMatchObject({ code: 'CANCEL_REFUSED' })
  })

  test('racing the entry into the swap: whoever commits first wins, and both sides say the same', async () => {
    withScan(world, 'new')
    // The entry is written, not yet committed: the cancel has to wait, and comes too late.
    let id = ''
    const entry = world.gate(async (step) => isStageCommit(step) && (await stageOf(id)) === 'verify')
    const late = await world.deploy(app, 'new')
    id = late.id
    await entry.reached
    const refusal = world.cancel(late.id).catch((error: unknown) => error)
    entry.open()
    expect(await refusal).toMatchObject({ code: 'CANCEL_REFUSED' })
    expect((await world.settled(late.id)).status).toBe('running')

    // The check has passed, the entry is not yet written: the cancel comes first.
    world.hooks = []
    id = ''
    const passed = world.gate(async (step) => step.name === 'runtime.exec' && step.side === 'after' && (await stageOf(id)) === 'verify')
    const early = await world.deploy(app, 'new')
    id = early.id
    await passed.reached
    await world.cancel(early.id)
    passed.open()
    expect((await world.settled(early.id)).status).toBe('canceled')
    await expectSound(world)

    async function stageOf(known: string): Promise<string | null> {
      const [row] = await world.database.query<{ stage: string }>('select stage from deployments where id = $1', [known])
      return row?.stage ?? null
    }
  })

  test.each(['drain', 'bake', 'retire'] as const)('is refused from the swap on: %s', async (stage) => {
    world.commit('new', { deploy: { bakeMs: 300 } })
    const { id } = await world.deploy(app, 'new')
    const call = { drain: 'edge.drain', bake: 'edge.traffic', retire: 'runtime.stop' }[stage]
    const gate = world.gate(async (step) => step.name === call && step.side === 'before' && (await world.find(id)).stage === stage)
    await gate.reached
    await expect(world.cancel(id)).rejects.toMatchObject({ code: 'CANCEL_REFUSED' })
    gate.open()
    expect((await world.settled(id)).status).toBe('running')
  })
})

describe('BUILD_TIMEOUT', () => {
  test('ends a deployment in any stage before the swap, and says which', async () => {
    const world = await createWorld({ slots: STAGES_BEFORE_SWAP.length, buildTimeoutMs: 4000 })
    try {
      await world.server().start()
      const begun = await Promise.all(
        STAGES_BEFORE_SWAP.map(async (stage) => {
          // Only the one that is to be held there is scanned.
          const target = await world.service(`app-${stage}`)
          if (stage === 'scan') withScan(world, stage)
          else world.commit(stage, CONFIG)
          const { id } = await world.deploy(target, stage)
          const marks = [id.slice(4), `app-${stage}`, `"ref":"${stage}"`]
          const isOwn = (args: unknown) => stage === 'scan' || marks.some((mark) => JSON.stringify(args).includes(mark))
          world.gate((step) => step.name === CALL_OF[stage] && step.side === 'before' && isOwn(step.args))
          return { id, stage }
        }),
      )
      for (const { id, stage } of begun) {
        const ended = await world.settled(id, 30_000)
        expect(ended).toMatchObject({ status: 'failed', error: { code: 'DEPLOYMENT_TIMEOUT', stage } })
        expect(ended.statusReason).toContain(`${stage} was still at work`)
      }
      await expectSound(world)
    } finally {
      await world.close()
    }
  })

  test('does nothing from the swap on, and does not name what fails there', async () => {
    const world = await createWorld({ buildTimeoutMs: 3000 })
    try {
      await world.server().start()
      const app = await world.service()
      world.commit('old')
      await world.live(app, 'old')
      world.commit('new')
      const { id } = await world.deploy(app, 'new')
      const gate = world.gate((step) => step.name === 'edge.drain' && step.side === 'before')
      await gate.reached
      const [row] = await world.database.query<{ left: number }>(
        `select greatest(0, extract(epoch from deadline_at - clock_timestamp()) * 1000)::int as left from deployments where id = $1`,
        [id],
      )
      await new Promise((resolve) => setTimeout(resolve, (row?.left ?? 0) + 100))
      world.edge.fail('drain', 'refuse', 2)
      gate.open()
      const ended = await world.settled(id)
      expect(ended).toMatchObject({ status: 'running', facts: { warnings: [] } })
      await expectSound(world)
    } finally {
      await world.close()
    }
  })
})
