import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { dockerdMissing, sharedDockerd } from '../support/dockerd.ts'
import { COMMANDS, filled, reachOf } from '../support/hostile-commands.ts'
import { HostileWorld, Watch } from '../support/hostile-world.ts'

/** The hostile tenant where everything runs in containers: what he does from within his app and in a build, in short. */
const missing = dockerdMissing()
const LONG = 300_000
let world: HostileWorld

beforeAll(async () => {
  if (missing !== null) return
  world = await HostileWorld.begin({ BUILD_TIMEOUT: '2m' }, await sharedDockerd())
  const { deployment } = await world.deploy('evil', await world.appTree('evil', { memoryMb: 192 }))
  expect(deployment?.error ?? null).toBeNull()
}, LONG)
afterAll(() => world?.end())

beforeEach(async (context) => {
  context.skip(missing !== null, missing ?? '')
  const watch = await Watch.begin(world)
  return () => watch.end()
})

test(
  'I10, I13: from within his app',
  async () => {
    for (const [name, command] of COMMANDS) {
      const said = await world.inside(filled(command, world))
      expect(said, name).toMatch(/ended with|socket hang up|ECONNRESET|502/)
      expect(world.seenIn(said), name).toEqual([])
      expect(said, name).not.toMatch(/^REACHED/m)
      expect(said, name).not.toMatch(/^uid=0\(root\)/m)
    }
  },
  LONG,
)

test('I15: the instances of others are out of reach', async () => {
  const said = await world.inside(await reachOf(world, [{ host: '127.0.0.1', port: world.server.edgePort }]))
  expect(said).toContain('ended with 0')
  expect(said).not.toMatch(/^REACHED/m)
})

test(
  'I13: a fork bomb, all memory and a flood of output are his own',
  async () => {
    await world.inside('(f() { f | f & }; f) >/dev/null 2>&1 & sleep 2; echo over')
    await world.inside(`node -e 'const held = []; for (;;) held.push(Buffer.alloc(16777216, 1))'`)
    await world.inside('yes hostile | head -c 30000000')
    const { deployment } = await world.deploy('evil', await world.appTree('evil', { env: { AGAIN: '1' } }))
    expect(deployment?.error ?? null).toBeNull()
  },
  LONG,
)

test(
  'I10, I13: in a build',
  async () => {
    const commands = COMMANDS.slice(0, -1).map(([, command]) => `(${filled(command, world)}) 2>&1 || true`)
    const archive = await world.appTree('built', {}, { build: { buildCommands: commands, deployFiles: ['./app.mjs', './shiplock.yaml'] } })
    const { deployment } = await world.deploy('built', archive)
    expect(deployment?.error ?? null).toBeNull()
    const log = deployment === null ? '' : await world.logOf(deployment)
    expect(log.length).toBeGreaterThan(500)
    expect(world.seenIn(log)).toEqual([])
    expect(log).not.toMatch(/^REACHED/m)
  },
  LONG,
)
