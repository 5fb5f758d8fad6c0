import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Trigger } from './deployment.ts'
import type { DeploymentId } from './ids.ts'
import { absorbedBy, isAutomatic, type Queued } from './queue-rules.ts'

const URL = 'https://example.com/app.git'
let next = 0

interface Shape {
  readonly kind?: 'deploy' | 'rollback'
  readonly by?: Trigger['kind']
  readonly ref?: string | null
  readonly pushed?: string
  readonly override?: string
  readonly url?: string
}

function queued({ kind = 'deploy', by = 'webhook', ref = 'main', pushed, override, url = URL }: Shape = {}): Queued {
  const push =
    pushed === undefined
      ? {}
      : { push: { provider: 'github', deliveryId: 'd', ref: pushed, commit: 'c0ffee', author: null, message: null } }
  return {
    id: `dep_${++next}` as DeploymentId,
    kind,
    source: kind === 'rollback' ? null : { kind: 'git', url, ref },
    trigger: { kind: by, actor: 'git', note: null, ...push },
    options: { overrideFreeze: override ?? null },
  }
}

const ids = (found: readonly { readonly id: string }[]) => found.map(({ id }) => id)

describe('latest', () => {
  test('a newer push takes the place of older ones of its branch, however the branch is written', () => {
    const [older, other] = [queued({ pushed: 'refs/heads/main', ref: 'c0ffee' }), queued({ ref: 'release' })]
    expect(ids(absorbedBy(queued({ pushed: 'refs/heads/main', ref: 'beef' }), [older, other], 'latest'))).toEqual([older.id])
    expect(ids(absorbedBy(queued(), [older, other], 'latest'))).toEqual([older.id])
  })

  test('with every, nothing is absorbed', () => {
    expect(absorbedBy(queued(), [queued(), queued()], 'every')).toEqual([])
  })

  test('what a person asked for, a rollback, a tag, another repository or an unnamed branch keeps its place', () => {
    const kept = [
      queued({ by: 'cli' }),
      queued({ kind: 'rollback' }),
      queued({ pushed: 'refs/tags/main' }),
      queued({ url: 'https://example.com/other.git' }),
      queued({ ref: null }),
    ]
    expect(absorbedBy(queued(), kept, 'latest')).toEqual([])
    expect(absorbedBy(queued({ ref: null }), [queued({ ref: null })], 'latest')).toEqual([])
  })
})

describe('an overridden freeze', () => {
  test('takes the place of all that the freeze keeps back, or their older code would come after it', () => {
    const waiting = [queued({ ref: 'other' }), queued({ by: 'cli' }), queued({ kind: 'rollback' }), queued({ override: 'too' })]
    expect(ids(absorbedBy(queued({ by: 'cli', override: 'hotfix' }), waiting, 'every'))).toEqual(ids(waiting.slice(0, 2)))
  })
})

const shape = fc.record({
  kind: fc.constantFrom('deploy' as const, 'rollback' as const),
  by: fc.constantFrom('cli' as const, 'api' as const, 'webhook' as const, 'schedule' as const, 'agent' as const),
  ref: fc.constantFrom('main', 'next', null),
})

test('a queue under latest: nobody in person loses a turn, at most one push of a branch waits, the absorber is always the newest', () => {
  fc.assert(
    fc.property(fc.array(shape, { maxLength: 40 }), (shapes) => {
      let waiting: Queued[] = []
      const absorbers = new Map<string, string>()
      for (const newcomer of shapes.map((one) => queued(one))) {
        const gone = new Set(ids(absorbedBy(newcomer, waiting, 'latest')))
        for (const older of waiting.filter(({ id }) => gone.has(id))) {
          expect(isAutomatic(older.trigger) && older.kind === 'deploy').toBe(true)
          expect(absorbers.has(older.id)).toBe(false)
          absorbers.set(older.id, newcomer.id)
        }
        waiting = [...waiting.filter(({ id }) => !gone.has(id)), newcomer]
      }
      const pushes = waiting.filter(
        ({ kind, trigger, source }) => kind === 'deploy' && isAutomatic(trigger) && source?.kind === 'git' && source.ref !== null,
      )
      const branches = pushes.map(({ source }) => (source?.kind === 'git' ? source.ref : null))
      expect(new Set(branches).size).toBe(branches.length)
      // Whoever follows the chain of absorbers ends at one that waits.
      for (const start of absorbers.keys()) {
        let at = start
        while (absorbers.has(at)) at = absorbers.get(at) ?? ''
        expect(ids(waiting)).toContain(at)
      }
    }),
  )
})
