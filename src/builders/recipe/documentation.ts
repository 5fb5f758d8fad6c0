import { LIMITS } from '../../core/limits.ts'
import { formatBytes } from '../../domain/format-bytes.ts'
import { BASES, type Toolchain } from './bases.ts'
import { CAUSES } from './failure-cause.ts'

/** The tables of docs/builds.md that are printed from the code, by the name of their markers. */
export function buildTables(): Readonly<Record<string, string>> {
  return { bases: basesTable(), causes: causesTable(), limits: limitsTable() }
}

function basesTable(): string {
  const rows = Object.entries(BASES).map(([name, { aliases = [], version, image, alpineImage, toolchain }]) => [
    [name, ...aliases].map((one) => `\`${one}\``).join(', '),
    lookedFor(name, toolchain),
    `\`${image}\``,
    alpineImage === undefined ? '–' : `\`${alpineImage}\``,
    `\`${version}\``,
  ])
  return table(['Base', 'Looked for on the host', 'Image', 'On Alpine', 'Version of the image when none is named'], rows)
}

function lookedFor(name: string, toolchain: Toolchain | null): string {
  if (toolchain === null) return 'nothing'
  return toolchain.argv[0] === '/bin/sh' ? `that the host is ${name}` : `\`${toolchain.argv[0]}\``
}

function causesTable(): string {
  const rows = CAUSES.map(({ cause, suggestion }) => [cause.replace(/(\$\d)+/g, '…'), suggestion.replace(/(\$\d)+/g, '…')])
  return table(['Cause', 'Suggestion'], rows)
}

function limitsTable(): string {
  const minutes = (ms: number) => `${ms / 60_000} min`
  return table(
    ['What', 'Limit', 'Setting'],
    [
      ['time of a build', `${minutes(LIMITS.buildHardTimeoutMs)} at most`, '`build.timeout`, `BUILD_TIMEOUT`'],
      ['cores', `1 to ${LIMITS.buildCpus}; none by default`, '`SHIPLOCK_BUILD_CPUS`'],
      ['memory', "three quarters of the host's", '`SHIPLOCK_BUILD_MEMORY_MB`'],
      ['disk', formatBytes(LIMITS.buildDiskBytes), '`SHIPLOCK_BUILD_DISK_MB`'],
      ['left free on the volume', formatBytes(LIMITS.buildDiskReserveBytes), '–'],
      ['processes', String(LIMITS.buildProcesses), '–'],
      ['files and directories', String(LIMITS.buildTreeEntries), '–'],
      ['output kept', formatBytes(LIMITS.buildLogBytes), '–'],
      ['caches of all services', formatBytes(LIMITS.buildCacheBytes), '`SHIPLOCK_BUILD_CACHE_MB`'],
      ['runtime layer without a release', `${LIMITS.runtimeLayerIdleMs / 3_600_000} h after its last use`, '–'],
    ],
  )
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return ['', line(head), line(head.map(() => '---')), ...rows.map(line), ''].join('\n')
}
