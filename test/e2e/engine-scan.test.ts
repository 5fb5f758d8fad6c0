import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ShiplockError } from '../../src/core/errors.ts'
import type { Deployment } from '../../src/domain/deployment.ts'
import type { ReleaseId } from '../../src/domain/ids.ts'
import { countSeverities, type ScanFinding, type ScanReport } from '../../src/domain/scan-report.ts'
import type { ScanConfig } from '../../src/domain/service-config.ts'
import type { Scanner, ScanRules } from '../../src/scanner/scanner.ts'
import type { ServiceEnvironment } from '../../src/store/sql/catalog.ts'
import { findScan } from '../../src/store/sql/scans.ts'
import { expectSound } from '../support/engine-checks.ts'
import { createWorld, type World } from '../support/engine-world.ts'

const CRITICAL = finding('CVE-2026-1', 'critical')
const HIGH = finding('CVE-2026-2', 'high')

function finding(id: string, severity: ScanFinding['severity']): ScanFinding {
  return { id, package: 'openssl', installed: '3.0.1', fixed: '3.0.2', severity, target: 'Node.js', title: null, url: null }
}

/** What the next scans find; an error is what they fail with. */
class FakeScanner implements Scanner {
  readonly name = 'fake'
  rules: ScanRules = { onFailure: { image: 'fail', tree: 'warn' }, reuseMs: 3_600_000 }
  finds: readonly ScanFinding[] | ShiplockError = []
  absent: string | null = null
  gaps: readonly string[] = []
  scans = 0

  check = async () => ({ ok: true, summary: 'fake', hint: null })
  missing = async () => this.absent
  cleanUp = async () => {}
  scan = async (): Promise<ScanReport> => {
    this.scans++
    if (this.absent !== null) throw new ShiplockError('SCANNER_FAILED', this.absent)
    if (this.finds instanceof ShiplockError) throw this.finds
    const targets = [{ target: 'Node.js', kind: 'node-pkg', packages: 3 }]
    const counts = countSeverities(this.finds)
    const scannedAt = new Date().toISOString()
    return {
      scanner: 'fake',
      version: '1',
      databaseAt: scannedAt,
      scannedAt,
      targets,
      counts,
      findings: this.finds,
      notes: [],
      gaps: this.gaps,
    }
  }
}

let world: World
let app: ServiceEnvironment
let scanner: FakeScanner
beforeEach(async () => {
  scanner = new FakeScanner()
  world = await createWorld({ scanner })
  app = await world.service()
  await world.server().start()
})
afterEach(() => world.close())

function commit(ref: string, scan: Partial<ScanConfig> = {}): void {
  world.commit(ref)
  const known = world.repository.get(ref)
  if (known === undefined) throw new Error(`no ${ref}`)
  const rules: ScanConfig = { ...known.config.scan, enabled: true, onScannerFailure: null, ...scan }
  world.repository.set(ref, { ...known, config: { ...known.config, scan: rules } })
}

async function deploy(ref: string, scan: Partial<ScanConfig> = {}): Promise<Deployment> {
  commit(ref, scan)
  const { id } = await world.deploy(app, ref)
  return world.settled(id)
}

async function typesOf({ id }: Deployment): Promise<string[]> {
  return (await world.events(id)).map((event) => event.type).filter((type) => type.startsWith('scan.') || type === 'deployment.warning')
}

function releaseOf({ releaseId }: Deployment): ReleaseId {
  if (releaseId === null) throw new Error('no release')
  return releaseId
}

describe('I1: what blocks', () => {
  test('ends the deployment before anything starts; what is live serves on, and the report is kept', async () => {
    const live = await deploy('one')
    scanner.finds = [CRITICAL, HIGH]
    const blocked = await deploy('two')
    expect(blocked).toMatchObject({
      status: 'failed',
      stage: 'scan',
      error: { code: 'SCAN_BLOCKED', hint: expect.stringContaining('Update openssl to 3.0.2') },
      facts: { scan: { outcome: 'blocked', critical: 1, high: 1, report: blocked.id } },
    })
    expect(blocked.facts.warnings).toEqual(['scan: 1 HIGH: CVE-2026-2 in openssl 3.0.1 (fixed in 3.0.2)'])
    expect(await typesOf(blocked)).toEqual(['scan.finished', 'scan.blocked', 'deployment.warning'])
    expect((await findScan(world.database, blocked.id))?.report.findings).toEqual([CRITICAL, HIGH])
    expect((await world.route(app))?.targets.every((target) => target.instanceId.includes(live.id.slice(4)))).toBe(true)
    expect((await world.instances(app)).filter((instance) => instance.deploymentId === blocked.id)).toEqual([])
    await expectSound(world)
  })

  test('a HIGH does not: it is a warning on a deployment that goes live', async () => {
    scanner.finds = [HIGH]
    const warned = await deploy('one')
    expect(warned).toMatchObject({ status: 'running', facts: { scan: { outcome: 'warned', high: 1 } } })
    expect(await typesOf(warned)).toEqual(['scan.finished', 'deployment.warning'])
  })

  test('unless a waiver holds; when it ends the same artifact is blocked again, without another scan, and says so', async () => {
    scanner.finds = [CRITICAL]
    const waiver = { id: CRITICAL.id, reason: 'not reachable', expires: '2999-01-01' }
    expect((await deploy('one', { waivers: [waiver] })).status).toBe('running')
    commit('one', { waivers: [{ ...waiver, expires: '2020-01-01' }] })
    const { id } = await world.deploy(app, 'one', { rebuild: true })
    const blocked = await world.settled(id)
    expect(blocked.error?.code).toBe('SCAN_BLOCKED')
    expect(blocked.facts.warnings).toEqual(['scan: the waiver of CVE-2026-1 expired after 2020-01-01 (not reachable)'])
    expect(await typesOf(blocked)).toContain('scan.waiver_expired')
    expect(scanner.scans).toBe(1)
  })
})

describe('the ratchet', () => {
  test('lets through what live has and stops what it does not have', async () => {
    scanner.finds = [CRITICAL]
    await deploy('one', { critical: 'warn' })
    const same = await deploy('two', { critical: 'block-new' })
    expect(same).toMatchObject({ status: 'running', facts: { scan: { baseline: { name: 'v1' } } } })
    scanner.finds = [CRITICAL, finding('CVE-2026-9', 'critical')]
    const worse = await deploy('three', { critical: 'block-new' })
    expect(worse.error).toMatchObject({ code: 'SCAN_BLOCKED', message: expect.stringMatching(/^blocked by 1 CRITICAL: CVE-2026-9/) })
  })

  test('without a stored scan of live takes all for new, and says so', async () => {
    await deploy('one', { enabled: false })
    scanner.finds = [CRITICAL]
    const blocked = await deploy('two', { critical: 'block-new' })
    expect(blocked.error?.code).toBe('SCAN_BLOCKED')
    expect(blocked.facts.warnings).toContain('scan: block-new: v1, which is live, has no stored scan, so every finding counts as new')
  })
})

describe('an identical artifact', () => {
  test('is not scanned again while the scan is young; the record says whose report it is', async () => {
    scanner.finds = [HIGH]
    const first = await deploy('one')
    const second = await deploy('one')
    expect(scanner.scans).toBe(1)
    expect(second.facts.scan).toMatchObject({ outcome: 'warned', high: 1, report: first.id })
    expect(
      (await world.events(second.id)).find((event) => event.type === 'stage.skipped' && event.data.stage === 'scan')?.message,
    ).toContain('identical to what was scanned before')
  })

  test('is scanned again when the scan is too old', async () => {
    await deploy('one')
    await world.database.query(`update scans set scanned_at = scanned_at - interval '2 hours'`)
    scanner.finds = [CRITICAL]
    expect((await deploy('one')).error?.code).toBe('SCAN_BLOCKED')
    expect(scanner.scans).toBe(2)
  })

  test('I10: of another project is scanned there: its reports are nobody else’s', async () => {
    await deploy('one')
    const other = await world.service('app', 'other')
    const { id } = await world.deploy(other, 'one')
    await world.settled(id)
    expect(scanner.scans).toBe(2)
  })
})

describe('a rollback', () => {
  test('to what has a CRITICAL is allowed with a warning, on the record', async () => {
    const first = await deploy('one')
    await deploy('two')
    // What is known of v1 today: somebody scanned it again.
    const report = JSON.stringify([CRITICAL])
    await world.database.query('update scans set findings = $2, critical = 1 where deployment_id = $1', [first.id, report])
    const { id } = await world.rollback(app, releaseOf(first))
    const back = await world.settled(id)
    expect(back).toMatchObject({ status: 'running', facts: { scan: { outcome: 'warned', critical: 1, report: first.id } } })
    expect(back.facts.warnings).toEqual([
      expect.stringMatching(/^scan: v1, to which this goes back, has 1 CRITICAL: CVE-2026-1 .* allowed all the same$/),
    ])
    expect(await typesOf(back)).toEqual(['deployment.warning'])
    expect(scanner.scans).toBe(2)
  })

  test('to what has none has no warning', async () => {
    const first = await deploy('one')
    await deploy('two')
    const { id } = await world.rollback(app, releaseOf(first))
    expect((await world.settled(id)).facts).toMatchObject({ scan: { outcome: 'passed' }, warnings: [] })
  })
})

describe('no scanner', () => {
  beforeEach(() => {
    scanner.absent = 'trivy is not in PATH'
  })

  test('a file tree goes live all the same, and the record says that nobody has looked', async () => {
    const deployed = await deploy('one')
    expect(deployed).toMatchObject({
      status: 'running',
      facts: { scan: { outcome: 'unknown', note: 'not scanned: trivy is not in PATH' }, warnings: [] },
    })
  })

  test('where the service says fail, that is said before the build', async () => {
    const refused = await deploy('one', { onScannerFailure: 'fail' })
    expect(refused).toMatchObject({
      stage: 'build',
      error: { code: 'SCANNER_FAILED', hint: expect.stringContaining('SHIPLOCK_SCAN_WITHOUT_SCANNER') },
    })
    expect(refused.error?.message).toBe('not scanned: trivy is not in PATH; scan.onScannerFailure is "fail"')
    expect(world.builder.builds).toEqual([])
  })

  test("the server's word holds where the service has none", async () => {
    scanner.rules = { ...scanner.rules, onFailure: { image: 'fail', tree: 'fail' } }
    expect((await deploy('one')).error).toMatchObject({
      code: 'SCANNER_FAILED',
      message: expect.stringContaining('a file tree is not deployed'),
    })
    expect((await deploy('two', { onScannerFailure: 'warn' })).facts.warnings).toEqual(['scan: not scanned: trivy is not in PATH'])
  })

  test('a service that is not scanned at all does not care', async () => {
    expect((await deploy('one', { enabled: false, onScannerFailure: 'fail' })).facts.scan).toMatchObject({ outcome: 'skipped' })
  })
})

describe('a scan that could look into a part only', () => {
  beforeEach(() => {
    scanner.gaps = ['installed packages, jars and programs (trivy has no Java database)']
  })

  test('I1: blocks by what it found; the report is kept and says what it lacks', async () => {
    scanner.finds = [CRITICAL]
    const blocked = await deploy('one')
    expect(blocked).toMatchObject({
      status: 'failed',
      error: { code: 'SCAN_BLOCKED' },
      facts: { scan: { outcome: 'blocked', critical: 1 } },
    })
    expect(blocked.error?.message).toContain('not all was looked into: installed packages')
    expect((await findScan(world.database, blocked.id))?.report).toMatchObject({ findings: [CRITICAL], gaps: scanner.gaps })
  })

  test('goes live as partial where a scan may be missing, and is looked at again next time', async () => {
    scanner.finds = [HIGH]
    const first = await deploy('one')
    expect(first).toMatchObject({ status: 'running', facts: { scan: { outcome: 'partial', high: 1 } } })
    expect(first.facts.warnings).toContain('scan: partial: installed packages, jars and programs (trivy has no Java database)')
    scanner.gaps = []
    expect((await deploy('one')).facts.scan).toMatchObject({ outcome: 'warned' })
    expect(scanner.scans).toBe(2)
  })

  test('ends the deployment where none may, and what it found is kept', async () => {
    scanner.finds = [HIGH]
    const refused = await deploy('one', { onScannerFailure: 'fail' })
    expect(refused).toMatchObject({ status: 'failed', error: { code: 'SCANNER_FAILED' }, facts: { scan: { outcome: 'partial', high: 1 } } })
    expect((await findScan(world.database, refused.id))?.report.findings).toEqual([HIGH])
  })
})

test('I1: what an earlier scan of the same content found blocks also while the scanner fails, or sees a part only', async () => {
  scanner.finds = [CRITICAL]
  expect((await deploy('one')).error?.code).toBe('SCAN_BLOCKED')
  await world.database.query(`update scans set scanned_at = scanned_at - interval '2 hours'`)
  scanner.finds = new ShiplockError('SCANNER_FAILED', 'trivy was killed')
  const blind = await deploy('one')
  expect(blind.error).toMatchObject({ code: 'SCAN_BLOCKED', message: expect.stringContaining('today trivy was killed') })
  scanner.finds = []
  scanner.gaps = ['lock files (it failed)']
  expect((await deploy('one')).error?.code).toBe('SCAN_BLOCKED')
  scanner.gaps = []
  expect((await deploy('one')).status).toBe('running')
})

describe('a scanner that fails', () => {
  beforeEach(() => {
    scanner.finds = new ShiplockError('SCANNER_FAILED', 'trivy was killed', { hint: 'See the kernel log.' })
  })

  test('is a warning to everybody where a scan may be missing', async () => {
    const deployed = await deploy('one')
    expect(deployed).toMatchObject({
      status: 'running',
      facts: { scan: { outcome: 'unknown' }, warnings: ['scan: not scanned: trivy was killed'] },
    })
  })

  test('ends the deployment where it must not', async () => {
    expect((await deploy('one', { onScannerFailure: 'fail' })).error).toMatchObject({
      code: 'SCANNER_FAILED',
      stage: 'scan',
      hint: 'See the kernel log.',
    })
  })
})

test('reports that nothing kept refers to go after their time, those of kept releases stay', async () => {
  await deploy('one')
  scanner.finds = [CRITICAL]
  await deploy('two')
  await world.database.query(`update scans set scanned_at = scanned_at - interval '100 days'`)
  scanner.finds = []
  await deploy('three')
  const [left] = await world.database.query<{ count: number }>('select count(*)::int as count from scans')
  expect(left?.count).toBe(2)
})
