import { createColors } from 'picocolors'
import { expect, test } from 'vitest'
import type { RollbackPlan } from '../../contract/rollback.ts'
import { renderPlan } from './releases.ts'

const PLAN: RollbackPlan = {
  service: 'api',
  from: 5,
  to: 2,
  warm: true,
  differences: [
    { kind: 'artifact', name: 'digest', change: 'changed', target: 'sha256:aa', current: 'sha256:bb' },
    { kind: 'config', name: 'run.instances', change: 'changed', target: '1', current: '2' },
    { kind: 'variable', name: 'TOKEN', change: 'changed', target: null, current: null },
    { kind: 'variable', name: 'OLD', change: 'added', target: 'yes', current: null },
    { kind: 'variable', name: 'NEW', change: 'removed', target: null, current: 'x\u001b[2J' },
  ],
  warnings: [],
}
const render = (plan: RollbackPlan) => renderPlan(plan, { colors: createColors(false) })

test('a plan shows then, now and what differs; of secrets only that they differ', () => {
  expect(render(PLAN)).toEqual([
    '  api  v5 → v2  its instances still stand',
    '      WHAT DIFFERS          THEN (v2)  NOW (v5)',
    '    ~ artifact digest       sha256:aa  sha256:bb',
    '    ~ config run.instances  1          2',
    '    ~ variable TOKEN        ********   ********',
    '    + variable OLD          yes        –',
    expect.stringMatching(/^ {4}- variable NEW {10}–/),
  ])
  expect(render(PLAN).join('\n')).not.toContain('\u001b')
})

test('a plan without differences says so', () => {
  expect(render({ ...PLAN, from: null, warm: false, differences: [] })).toEqual([
    '  api  nothing live → v2  new instances are started',
    '    nothing differs',
  ])
})
