import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  assertMove,
  canMove,
  type DeploymentStatus,
  IN_PROGRESS,
  isPastNoReturn,
  NEXT,
  STAGES,
  STATUS_OF_STAGE,
  STATUSES,
  stageAfter,
} from './deployment-machine.ts'

const status = fc.constantFrom(...STATUSES)

describe('the table of moves', () => {
  test('allows every move that it names, and refuses every other', () => {
    for (const from of STATUSES) {
      for (const to of STATUSES) {
        const isNamed = (NEXT[from] as readonly DeploymentStatus[]).includes(to)
        expect(canMove(from, to)).toBe(isNamed)
        if (isNamed || from === to) expect(() => assertMove(from, to)).not.toThrow()
        else expect(() => assertMove(from, to)).toThrow(`${from} → ${to}`)
      }
    }
  })

  test('a walk of random wishes never leaves the table, and what is final stays', () => {
    fc.assert(
      fc.property(fc.array(status, { maxLength: 40 }), (wishes) => {
        let at: DeploymentStatus = 'pending'
        const been: DeploymentStatus[] = [at]
        for (const wish of wishes) {
          try {
            assertMove(at, wish)
          } catch {
            continue
          }
          at = wish
          been.push(at)
        }
        const end = been.findIndex((known) => known === 'failed' || known === 'canceled')
        if (end !== -1) expect(new Set(been.slice(end)).size).toBe(1)
        expect(been.slice(1)).not.toContain(been.includes('running') ? 'none' : 'rolled_back')
      }),
    )
  })

  test('a status is reached from pending, and pending from nowhere', () => {
    const reached = new Set<DeploymentStatus>(['pending'])
    for (const from of reached) for (const to of NEXT[from]) reached.add(to)
    expect([...reached].sort()).toEqual([...STATUSES].sort())
    for (const from of STATUSES) expect(NEXT[from]).not.toContain('pending')
  })

  test('once it has served, a deployment never holds a slot again', () => {
    const after = new Set<DeploymentStatus>(['running'])
    for (const from of after) for (const to of NEXT[from]) after.add(to)
    for (const held of IN_PROGRESS) expect([...after]).not.toContain(held)
  })
})

describe('stages and statuses', () => {
  test('each stage follows the one before, and going on is always a legal move', () => {
    for (const [place, stage] of STAGES.entries()) {
      const next = stageAfter(stage)
      expect(next).toBe(STAGES[place + 1] ?? null)
      if (next !== null) expect(() => assertMove(STATUS_OF_STAGE[stage], STATUS_OF_STAGE[next])).not.toThrow()
    }
  })

  test('a deployment begins at fetch or at launch, straight from pending', () => {
    expect(canMove('pending', STATUS_OF_STAGE.fetch)).toBe(true)
    expect(canMove('pending', STATUS_OF_STAGE.launch)).toBe(true)
  })

  test('before the swap every stage may fail and be canceled; after it a failure is possible, a cancel is not', () => {
    for (const stage of STAGES) {
      expect(canMove(STATUS_OF_STAGE[stage], 'failed')).toBe(true)
      expect(canMove(STATUS_OF_STAGE[stage], 'canceled')).toBe(STATUS_OF_STAGE[stage] !== 'running')
    }
  })

  test('the point of no return is the entry into the swap', () => {
    const past = STAGES.filter((stage) => isPastNoReturn(stage))
    expect(past).toEqual(['swap', 'drain', 'bake', 'retire'])
    expect(isPastNoReturn(null)).toBe(false)
  })

  test('I4: the slot is held exactly while a deployment is in progress', () => {
    for (const stage of STAGES) {
      const isHeld = (IN_PROGRESS as readonly DeploymentStatus[]).includes(STATUS_OF_STAGE[stage])
      expect(isHeld).toBe(!['drain', 'bake', 'retire'].includes(stage))
    }
  })
})
