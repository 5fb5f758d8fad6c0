import { describe, expect, test } from 'vitest'
import type { DeploymentId } from './ids.ts'
import { type WaitingState, waitOf } from './waiting.ts'

const NOON = '2026-11-21T12:00:00.000Z'
const LATER = '2026-11-21T12:05:00.000Z'
const FREE: WaitingState = {
  place: '-s web -e production -p shop',
  environment: 'production',
  createdAt: NOON,
  freeze: null,
  hold: null,
  current: null,
  ahead: 0,
  project: { inProgress: 0, limit: null },
  server: { inProgress: 0, slots: 2 },
}
const FREEZE = { reason: 'holidays', until: '2026-12-24T18:00:00.000Z', createdAt: LATER, isWholeProject: false }

describe('what a deployment waits for', () => {
  test('nothing', () => {
    expect(waitOf(FREE)).toMatchObject({ cause: 'turn', text: 'about to start', since: NOON })
  })

  test('a freeze, from its beginning or the deployment’s own', () => {
    const wait = waitOf({ ...FREE, freeze: FREEZE })
    expect(wait).toMatchObject({ cause: 'freeze', since: LATER, next: expect.stringContaining('shiplock unfreeze production') })
    expect(wait.text).toContain('frozen until 2026-12-24T18:00:00.000Z (holidays)')
    expect(waitOf({ ...FREE, createdAt: LATER, freeze: { ...FREEZE, createdAt: NOON } }).since).toBe(LATER)
    expect(waitOf({ ...FREE, freeze: { ...FREEZE, until: null, isWholeProject: true } })).toMatchObject({
      text: expect.stringContaining('the project is frozen until it is lifted'),
      next: expect.stringContaining('--project-wide'),
    })
  })

  test('a hold', () => {
    expect(waitOf({ ...FREE, hold: { reason: 'rolled back to v3', since: LATER } })).toMatchObject({
      cause: 'hold',
      text: expect.stringContaining('rolled back to v3'),
      next: expect.stringContaining('--release-hold -s web -e production -p shop'),
    })
  })

  test('the one that is in progress for its service, and those in between', () => {
    const current = { id: 'dep_1' as DeploymentId, startedAt: LATER }
    expect(waitOf({ ...FREE, current })).toMatchObject({
      cause: 'previous',
      text: 'waits for dep_1 of the same service and environment',
      since: LATER,
    })
    expect(waitOf({ ...FREE, current, ahead: 1 }).text).toContain('then for an earlier deployment')
    expect(waitOf({ ...FREE, ahead: 3 }).text).toContain('3 earlier deployments')
  })

  test("its project's limit, before the server's", () => {
    const full = { ...FREE, server: { inProgress: 2, slots: 2 } }
    expect(waitOf({ ...full, project: { inProgress: 1, limit: 1 } })).toMatchObject({
      cause: 'project-limit',
      text: expect.stringContaining('1 of 1'),
    })
    expect(waitOf(full)).toMatchObject({ cause: 'slot', text: 'waits for a free slot: 2 of 2 in progress' })
  })

  test('what a person can end is told before what ends by itself', () => {
    const all = { ...FREE, freeze: FREEZE, hold: { reason: 'r', since: NOON }, current: { id: 'dep_1' as DeploymentId, startedAt: NOON } }
    expect(waitOf(all).cause).toBe('freeze')
    expect(waitOf({ ...all, freeze: null }).cause).toBe('hold')
    expect(waitOf({ ...all, freeze: null, hold: null }).cause).toBe('previous')
  })
})
