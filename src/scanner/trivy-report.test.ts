import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { mergeFindings, parseTrivyReport } from './trivy-report.ts'

const textOf = (name: string) => readFileSync(join(import.meta.dirname, 'reports', `${name}.json`), 'utf8')
const parse = (name: string) => parseTrivyReport(textOf(name))
const FACTS = { version: '0.69.3', databaseAt: null, scannedAt: '2026-11-20T08:30:00Z', notes: [], gaps: [] }

function refusalOf(text: string): string {
  try {
    parseTrivyReport(text)
  } catch (error) {
    if (error instanceof ShiplockError && error.code === 'SCANNER_FAILED') return error.message
    throw error
  }
  throw new Error('it was taken for a report')
}

describe('a report on an image', () => {
  it('gives system and language packages with what fixes them', () => {
    const report = mergeFindings([parse('image')], FACTS)
    expect(report.counts).toEqual({ critical: 2, high: 1, medium: 4, low: 0, unknown: 0 })
    expect(report.targets.map(({ kind, packages }) => `${kind} ${packages}`)).toEqual(['alpine 3', 'node-pkg 3'])
    expect(report.findings[0]).toEqual({
      id: 'CVE-2021-44906',
      package: 'minimist',
      installed: '1.2.5',
      fixed: '1.2.6, 0.2.4',
      severity: 'critical',
      target: 'Node.js',
      title: 'minimist: prototype pollution',
      url: 'https://avd.aquasec.com/nvd/cve-2021-44906',
    })
    expect(report.findings[1]).toMatchObject({ id: 'CVE-2023-37903', fixed: null })
  })

  it('of a system past its end of life says so: nothing found there means little', () => {
    expect(parse('end-of-life')).toMatchObject({ findings: [], notes: ['debian 9.13 is past its end of life and gets no updates'] })
  })
})

describe('reports on a tree', () => {
  it('are one report: what both saw counts once', () => {
    const report = mergeFindings([parse('lock-files'), parse('installed')], FACTS)
    expect(report.findings.map(({ id, severity }) => `${severity} ${id}`)).toEqual([
      'critical CVE-2024-24790',
      'high CVE-2022-0155',
      'medium CVE-2023-45857',
    ])
    expect(report.targets).toHaveLength(4)
  })

  it('in which nothing was found still tell what was looked at', () => {
    expect(parse('clean')).toEqual({ targets: [{ target: 'package-lock.json', kind: 'npm', packages: 1 }], findings: [], notes: [] })
  })

  it('in which nothing was recognised have no target', () => {
    expect(parse('nothing-recognised').targets).toEqual([])
  })
})

describe('what is no whole report is refused, never taken for a clean one', () => {
  it.each([
    ['nothing', '', 'it printed nothing'],
    ['words', 'Segmentation fault', 'not JSON'],
    ['the beginning of one', textOf('image').slice(0, 900), 'not JSON'],
    ['the format before schemas', textOf('before-schemas'), 'before 0.20'],
    ['another schema', '{"SchemaVersion":3,"Results":[]}', 'schema version 3'],
    ['no schema', '{}', 'schema version undefined'],
    ['results of another kind', '{"SchemaVersion":2,"Results":{"a":1}}', 'Results'],
    [
      'a finding without a package',
      '{"SchemaVersion":2,"Results":[{"Target":"a","Vulnerabilities":[{"VulnerabilityID":"CVE-1"}]}]}',
      'Results.0.Vulnerabilities.0.PkgName',
    ],
  ])('%s', (_what, text, why) => {
    expect(refusalOf(text)).toContain(why)
  })

  it('any prefix of a real one', () => {
    const whole = textOf('lock-files').trim()
    fc.assert(fc.property(fc.nat(whole.length - 1), (length) => refusalOf(whole.slice(0, length)).includes("can't be read")))
  })

  it('any other JSON', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        if ((value as { SchemaVersion?: unknown } | null)?.SchemaVersion === 2) return
        expect(refusalOf(JSON.stringify(value))).toContain("can't be read")
      }),
    )
  })
})

describe('foreign text in it', () => {
  const report = (changes: Record<string, unknown>) =>
    parseTrivyReport(
      JSON.stringify({
        SchemaVersion: 2,
        FromTheFuture: { a: 1 },
        Results: [
          {
            Target: 'evil\u001b[2J',
            Class: 'lang-pkgs',
            Vulnerabilities: [{ VulnerabilityID: 'CVE-1', PkgName: 'p', InstalledVersion: '1', Severity: 'CRITICAL', ...changes }],
          },
        ],
      }),
    )

  it('I9: loses its control characters and its length', () => {
    const [found] = report({ Title: `\u001b]0;x\u0007${'a'.repeat(10_000)}` }).findings
    expect(found?.target).toBe('evil')
    expect(found?.title).toBe('a'.repeat(300))
  })

  it('I9: only web addresses are taken for addresses', () => {
    expect(report({ PrimaryURL: 'javascript:alert(1)' }).findings[0]?.url).toBeNull()
    expect(report({ PrimaryURL: 'https://example.com/a' }).findings[0]?.url).toBe('https://example.com/a')
  })

  it('an unknown severity is unknown, and unknown fields are nothing', () => {
    expect(report({ Severity: 'APOCALYPTIC', Another: [] }).findings[0]?.severity).toBe('unknown')
  })

  it('what is not about packages is not looked at', () => {
    const text = '{"SchemaVersion":2,"Results":[{"Target":"Dockerfile","Class":"config","Type":"dockerfile"}]}'
    expect(parseTrivyReport(text).targets).toEqual([])
  })
})

it('I12: a list without end is cut at its mildest, with its counts whole', () => {
  const many = Array.from({ length: LIMITS.scanFindings + 5 }, (_, index) => ({
    VulnerabilityID: `CVE-${index}`,
    PkgName: 'p',
    InstalledVersion: '1',
    Severity: index % 700 === 7 ? 'CRITICAL' : 'LOW',
  }))
  const run = parseTrivyReport(JSON.stringify({ SchemaVersion: 2, Results: [{ Target: 't', Class: 'os-pkgs', Vulnerabilities: many }] }))
  const report = mergeFindings([run], FACTS)
  expect(report.findings).toHaveLength(LIMITS.scanFindings)
  expect(report.counts).toMatchObject({ critical: 3, low: LIMITS.scanFindings + 2 })
  expect(report.findings.slice(0, 3).every(({ severity }) => severity === 'critical')).toBe(true)
  expect(report.notes).toEqual(['5 more findings, the least severe, were counted but not kept'])
})
