import { LIMITS } from '../core/limits.ts'
import type { SettingDefinition } from './setting-definition.ts'
import { wholeNumber } from './setting-parsers.ts'

const MiB = 1024 ** 2
const MOST_MB = 16_777_216

/** How much of the disk tenants may have. */
export interface DiskSettings {
  readonly instanceDiskMb: number
  /** null = half of the volume. */
  readonly projectDiskMb: number | null
  readonly projectUploadMb: number
  readonly diskReserveMb: number
}

export const DISK_SETTING_DEFINITIONS: { readonly [Key in keyof DiskSettings]: SettingDefinition<DiskSettings[Key]> } = {
  instanceDiskMb: {
    variable: 'SHIPLOCK_INSTANCE_DISK_MB',
    about:
      'What one instance may have on disk, in MiB: its copy of the artifact, what it writes, its log. `run.diskMb` asks for less. One that has more is stopped.',
    example: '2048',
    defaultText: String(LIMITS.instanceDiskBytes / MiB),
    parse: (text) => wholeNumber(text, 16, MOST_MB),
    default: () => LIMITS.instanceDiskBytes / MiB,
  },
  projectDiskMb: {
    variable: 'SHIPLOCK_PROJECT_DISK_MB',
    about: 'What all instances of a project may have on disk together, and all its kept artifacts, in MiB each.',
    example: '20480',
    defaultText: 'half of the volume',
    parse: (text) => wholeNumber(text, 16, MOST_MB),
    default: () => null,
  },
  projectUploadMb: {
    variable: 'SHIPLOCK_PROJECT_UPLOAD_MB',
    about: 'Uploads of one project that are kept or on their way in, in MiB. More are refused until old ones go, after a day.',
    example: '1024',
    defaultText: String(LIMITS.projectUploadBytes / MiB),
    parse: (text) => wholeNumber(text, 1, MOST_MB),
    default: () => LIMITS.projectUploadBytes / MiB,
  },
  diskReserveMb: {
    variable: 'SHIPLOCK_DISK_RESERVE_MB',
    about: 'Kept free for the database and the edge, in MiB, on the volume of the data directory: whoever fills it further is stopped.',
    example: '2048',
    defaultText: `${LIMITS.diskReserveBytes / MiB}; on a small volume a fifth of it`,
    parse: (text) => wholeNumber(text, 16, MOST_MB),
    default: () => LIMITS.diskReserveBytes / MiB,
  },
}
