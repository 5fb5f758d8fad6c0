import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { blockedHint, judgeScan, rollbackWarning, type ScanBaseline } from './scan-policy.ts'
import { countSeverities, orderFindings, type ScanFinding, type ScanReport, SEVERITIES, withEarlierFindings } from './scan-report.ts'
import type { FindingPolicy, ScanConfig } from './service-config.ts'

const NOW = Date.parse('2026-11-20T12:00:00Z')
const DEFAULTS = { high: 'warn', critical: 'block', ignoreUnfixed: false, waivers: [] } as const satisfies Partial<ScanConfig>
const NOTHING: ScanBaseline = { kind: 'nothing-live' }

function finding(changes: Partial<ScanFinding> = {}): ScanFinding {
  return {
    id: 'CVE-2026-1',
    package: 'openssl',
    installed: '3.0.1',
    fixed: '3.0.2',
    severity: 'critical',
    target: 'alpine 3.19',
    title: null,
    url: null,
    ...changes,
  }
}

function reportOf(findings: readonly ScanFinding[], changes: Partial<ScanReport> = {}): ScanReport {
  return {
    scanner: 'trivy',
    version: '0.69.3',
    databaseAt: null,
    scannedAt: '2026-11-20T11:00:00Z',
    targets: [{ target: 'alpine', kind: 'alpine', packages: 14 }],
    counts: countSeverities(findings),
    findings: orderFindings(findings),
    notes: [],
    gaps: [],
    ...changes,
  }
}

function judge(findings: readonly ScanFinding[], config: Partial<ScanConfig> = {}, baseline = NOTHING, now = NOW) {
  return judgeScan(reportOf(findings), { ...DEFAULTS, ...config }, baseline, now)
}

describe('partial knowledge', () => {
  const partial = (findings: readonly ScanFinding[], config: Partial<ScanConfig> = {}, changes: Partial<ScanReport> = {}) =>
    judgeScan(reportOf(findings, { gaps: ['Java archives (no Java database)'], ...changes }), { ...DEFAULTS, ...config }, NOTHING, NOW)

  it.each<[string, ScanFinding[], Partial<ScanConfig>, string]>([
    ['a CRITICAL blocks whatever else was not looked into', [finding()], {}, 'blocked'],
    ['a HIGH is partial, not only a warning', [finding({ severity: 'high' })], {}, 'partial'],
    ['nothing found is partial, not passed', [], {}, 'partial'],
    ['a waived CRITICAL too', [finding()], { waivers: [{ id: 'CVE-2026-1', reason: 'x', expires: null }] }, 'partial'],
  ])('%s', (_what, findings, config, outcome) => {
    const judged = partial(findings, config)
    expect(judged.outcome).toBe(outcome)
    expect(judged.note).toContain('not all was looked into: Java archives (no Java database)')
    expect(judged.warnings).toContain('scan: partial: Java archives (no Java database)')
  })

  it('nothing recognised in the part that was looked into is partial, never clean', () => {
    expect(partial([], {}, { targets: [] })).toMatchObject({
      outcome: 'partial',
      note: expect.stringContaining('nothing found in what was'),
    })
  })

  it('what an earlier scan of the same content found stays known; a whole report takes it back', () => {
    const earlier = reportOf([finding()], { scannedAt: '2026-11-01T00:00:00Z' })
    const now = reportOf([finding({ id: 'CVE-2026-2', severity: 'high' })], { gaps: ['lock files (x)'] })
    const both = withEarlierFindings(now, earlier)
    expect(both.findings.map(({ id }) => id)).toEqual(['CVE-2026-1', 'CVE-2026-2'])
    expect(both.counts).toMatchObject({ critical: 1, high: 1 })
    expect(both.notes.join()).toContain('1 findings are of the scan of 2026-11-01')
    expect(withEarlierFindings({ ...now, gaps: [] }, earlier).findings).toHaveLength(1)
  })
})

describe('by default', () => {
  it('a CRITICAL blocks, and the note names it with what fixes it', () => {
    expect(judge([finding()])).toMatchObject({
      outcome: 'blocked',
      note: 'blocked by 1 CRITICAL: CVE-2026-1 in openssl 3.0.1 (fixed in 3.0.2)',
    })
  })

  it('a HIGH warns', () => {
    const { outcome, warnings } = judge([finding({ severity: 'high', fixed: null })])
    expect(outcome).toBe('warned')
    expect(warnings).toEqual(['scan: 1 HIGH: CVE-2026-1 in openssl 3.0.1 (no fix yet)'])
  })

  it('what is below is counted, nothing more', () => {
    expect(judge([finding({ severity: 'medium' }), finding({ severity: 'unknown', id: 'CVE-2026-2' })])).toMatchObject({
      outcome: 'passed',
      note: '1 medium, 1 unknown',
      warnings: [],
    })
  })

  it('nothing found in something recognised is said as it is', () => {
    expect(judge([])).toMatchObject({ outcome: 'passed', note: 'no known vulnerability' })
  })

  it('nothing recognised is never called clean', () => {
    const { outcome, note, warnings } = judgeScan(reportOf([], { targets: [] }), DEFAULTS, NOTHING, NOW)
    expect(outcome).toBe('unknown')
    expect(note).toContain('nothing recognised')
    expect(warnings).toHaveLength(1)
  })

  it('a long list is named by its worst', () => {
    const many = Array.from({ length: 9 }, (_, index) => finding({ id: `CVE-2026-${index + 1}`, package: `lib${index}` }))
    expect(judge(many).note).toMatch(/^blocked by 9 CRITICAL: .* and 6 more$/)
  })
})

describe('a waiver', () => {
  const waiver = { id: 'CVE-2026-1', reason: 'not reachable', expires: '2026-11-20' }

  it('holds through its last day', () => {
    expect(judge([finding()], { waivers: [waiver] })).toMatchObject({ outcome: 'passed', note: '1 critical, 1 waived' })
  })

  it('that expired blocks again, and says so', () => {
    const judged = judge([finding()], { waivers: [waiver] }, NOTHING, NOW + 86_400_000)
    expect(judged.outcome).toBe('blocked')
    expect(judged.expired).toEqual([waiver])
    expect(judged.warnings).toContain('scan: the waiver of CVE-2026-1 expired after 2026-11-20 (not reachable)')
    expect(judged.blocking[0]?.waiver).toMatchObject({ isExpired: true, reason: 'not reachable' })
  })

  it('that expired, of something that would not block, still warns', () => {
    expect(judge([finding({ severity: 'low' })], { waivers: [{ ...waiver, expires: '2026-01-01' }] }).outcome).toBe('warned')
  })

  it('that expired is not mentioned when another one of that id holds, or nothing of that id was found', () => {
    const expired = { ...waiver, expires: '2026-01-01' }
    expect(judge([finding()], { waivers: [expired, waiver] })).toMatchObject({ outcome: 'passed', expired: [] })
    expect(judge([finding({ id: 'CVE-2026-2', severity: 'low' })], { waivers: [expired] })).toMatchObject({
      outcome: 'passed',
      expired: [],
    })
  })

  it('without an end holds, and its id is not a matter of case', () => {
    expect(judge([finding()], { waivers: [{ ...waiver, id: 'cve-2026-1', expires: null }] }).outcome).toBe('passed')
  })
})

describe('ignoreUnfixed', () => {
  it('leaves out what no update fixes, not what one does', () => {
    const unfixed = finding({ id: 'CVE-2026-2', fixed: null })
    expect(judge([unfixed], { ignoreUnfixed: true }).outcome).toBe('passed')
    expect(judge([unfixed, finding()], { ignoreUnfixed: true }).blocking).toHaveLength(1)
  })
})

describe('block-new', () => {
  const live = (findings: readonly ScanFinding[]): ScanBaseline => ({ kind: 'scanned', name: 'v3', findings })

  it('lets through what live has, in whatever version, and warns of it', () => {
    const judged = judge([finding({ installed: '3.0.0' })], { critical: 'block-new' }, live([finding()]))
    expect(judged.outcome).toBe('warned')
    expect(judged.findings[0]?.state).toBe('known')
  })

  it('blocks what live does not have: another id, or the same one in another package', () => {
    const judged = judge(
      [finding(), finding({ id: 'CVE-2026-2' }), finding({ package: 'libssl' })],
      { critical: 'block-new' },
      live([finding()]),
    )
    expect(judged.blocking.map((blocked) => `${blocked.id} ${blocked.package}`)).toEqual(['CVE-2026-1 libssl', 'CVE-2026-2 openssl'])
  })

  it.each([
    [NOTHING, 'nothing is live'],
    [{ kind: 'not-scanned', name: 'v3' } as const, 'v3, which is live, has no stored scan'],
  ])('takes everything for new where there is nothing to compare with, and says so', (baseline, why) => {
    const judged = judge([finding()], { critical: 'block-new' }, baseline)
    expect(judged.outcome).toBe('blocked')
    expect(judged.warnings).toContain(`scan: block-new: ${why}, so every finding counts as new`)
  })

  it('keeps quiet about that where it made no difference', () => {
    expect(judge([finding({ severity: 'low' })], { critical: 'block-new' }).warnings).toEqual([])
  })

  it('works for HIGH as well', () => {
    const high = finding({ severity: 'high' })
    expect(judge([high], { high: 'block-new' }).outcome).toBe('blocked')
    expect(judge([high], { high: 'block-new' }, live([high])).outcome).toBe('warned')
  })
})

describe('a rollback', () => {
  it('is warned of a CRITICAL by name, never blocked', () => {
    expect(rollbackWarning('v2', reportOf([finding()]), DEFAULTS, NOW)).toBe(
      'scan: v2, to which this goes back, has 1 CRITICAL: CVE-2026-1 in openssl 3.0.1 (fixed in 3.0.2); a rollback is allowed all the same',
    )
  })

  it('has nothing to be warned of where there is no CRITICAL, or it is waived', () => {
    expect(rollbackWarning('v2', reportOf([finding({ severity: 'high' })]), DEFAULTS, NOW)).toBeNull()
    const waivers = [{ id: 'CVE-2026-1', reason: 'r', expires: null }]
    expect(rollbackWarning('v2', reportOf([finding()]), { ...DEFAULTS, waivers }, NOW)).toBeNull()
  })
})

it('the hint names updates where there are some, and a waiver in any case', () => {
  expect(blockedHint([finding()])).toMatch(/^Update openssl to 3\.0\.2, or accept it for a time: scan: .*CVE-2026-1/)
  expect(blockedHint([finding({ fixed: null })])).toMatch(/^No update fixes it yet; accept it/)
})

const someFinding: fc.Arbitrary<ScanFinding> = fc.record({
  id: fc.constantFrom('CVE-1', 'CVE-2', 'CVE-3', 'GHSA-4'),
  package: fc.constantFrom('a', 'b', 'c'),
  installed: fc.constantFrom('1', '2'),
  fixed: fc.constantFrom(null, '3'),
  severity: fc.constantFrom(...SEVERITIES),
  target: fc.constant('t'),
  title: fc.constant(null),
  url: fc.constant(null),
})
const findings = fc.array(someFinding, { maxLength: 12 })
const policy = fc.constantFrom<FindingPolicy>('ignore', 'warn', 'block', 'block-new')
const config = fc.record({
  high: policy,
  critical: policy,
  ignoreUnfixed: fc.boolean(),
  waivers: fc.array(
    fc.record({
      id: fc.constantFrom('CVE-1', 'CVE-2', 'CVE-9'),
      reason: fc.constant('r'),
      expires: fc.constantFrom(null, '2026-01-01', '2027-01-01'),
    }),
    { maxLength: 3 },
  ),
})

describe('for any report and policy', () => {
  const judged = (
    found: readonly ScanFinding[],
    rules: Pick<ScanConfig, 'high' | 'critical' | 'ignoreUnfixed' | 'waivers'>,
    live: readonly ScanFinding[],
  ) => judgeScan(reportOf(found), rules, { kind: 'scanned', name: 'v1', findings: live }, NOW)

  it('blocked is what has something blocking, and nothing else', () => {
    fc.assert(
      fc.property(findings, config, findings, (found, rules, live) => {
        const { outcome, blocking } = judged(found, rules, live)
        expect(outcome === 'blocked').toBe(blocking.length > 0)
      }),
    )
  })

  it('only HIGH and CRITICAL that nobody waived can block', () => {
    fc.assert(
      fc.property(findings, config, findings, (found, rules, live) => {
        for (const blocked of judged(found, rules, live).blocking) {
          expect(['high', 'critical']).toContain(blocked.severity)
          expect(blocked.waiver === null || blocked.waiver.isExpired).toBe(true)
          expect(rules.ignoreUnfixed && blocked.fixed === null).toBe(false)
        }
      }),
    )
  })

  it('deploying again what is live never blocks with block-new', () => {
    fc.assert(
      fc.property(findings, config, (found, rules) => {
        expect(judged(found, { ...rules, high: 'block-new', critical: 'block-new' }, found).outcome).not.toBe('blocked')
      }),
    )
  })

  it('another waiver never makes it worse', () => {
    fc.assert(
      fc.property(findings, config, findings, someFinding, (found, rules, live, { id }) => {
        const more = { ...rules, waivers: [...rules.waivers, { id, reason: 'r', expires: null }] }
        expect(judged(found, more, live).blocking.length).toBeLessThanOrEqual(judged(found, rules, live).blocking.length)
      }),
    )
  })

  it('the order in which a scanner lists its findings decides nothing', () => {
    fc.assert(
      fc.property(findings, config, findings, (found, rules, live) => {
        expect(judged([...found].reverse(), rules, live).outcome).toBe(judged(found, rules, live).outcome)
      }),
    )
  })
})
