import { LIMITS } from '../core/limits.ts'
import type { SettingDefinition } from './setting-definition.ts'
import { absolutePath, type Parsed, trueOrFalse } from './setting-parsers.ts'

/** Where images go, and how much room they and builds may take. */
export interface RegistrySettings {
  /** Where images are pushed: `host[:port]/path`; null = they stay on this server. */
  readonly registry: string | null
  readonly registryUser: string | null
  /** Never log it (I8). */
  readonly registryPassword: string | null
  readonly registryAuthFile: string | null
  /** Plain HTTP to the registry. */
  readonly registryInsecure: boolean
  readonly diskMark: DiskMark
}

/** Above it nothing new is built. */
export interface DiskMark {
  /** Of the volume in use; 100 = only the free bytes count. */
  readonly percent: number
  readonly freeBytes: number
}

export const REGISTRY_SETTING_DEFINITIONS: { readonly [Key in keyof RegistrySettings]: SettingDefinition<RegistrySettings[Key]> } = {
  registry: {
    variable: 'SHIPLOCK_REGISTRY',
    about: 'Where images are pushed, as `<this>/<project>/<service>@sha256:…`, so that other hosts can pull them.',
    example: 'registry.example.com:5000/apps',
    defaultText: 'none: images stay on this server',
    parse: registryPrefix,
    default: () => null,
  },
  registryUser: {
    variable: 'SHIPLOCK_REGISTRY_USER',
    about: 'User for that registry.',
    example: 'shiplock',
    defaultText: 'none',
    parse: (text) => (/^[^\s:]{1,256}$/.test(text) ? { value: text } : { problem: 'must be a user name without spaces and colons' }),
    default: () => null,
  },
  registryPassword: {
    variable: 'SHIPLOCK_REGISTRY_PASSWORD',
    about: 'Password or access token for that registry.',
    example: 'a password',
    defaultText: 'none',
    isSecret: true,
    parse: (text) => (text.length <= 8192 ? { value: text } : { problem: 'is too long' }),
    default: () => null,
  },
  registryAuthFile: {
    variable: 'SHIPLOCK_REGISTRY_AUTH_FILE',
    about: 'Instead of user and password: a file as `docker login` writes it, mode 0600, read at each use. Credential helpers are not run.',
    example: '/etc/shiplock/registry.json',
    defaultText: 'none',
    parse: absolutePath,
    default: () => null,
  },
  registryInsecure: {
    variable: 'SHIPLOCK_REGISTRY_INSECURE',
    about: 'Plain HTTP to the registry. The container engine must know it as insecure, too.',
    example: 'true',
    defaultText: '`true` for a registry on loopback, otherwise `false`',
    parse: trueOrFalse,
    default: (_host, settled) => /^(localhost|127\.[0-9.]+|\[::1\])(:|\/|$)/.test(settled.registry ?? ''),
  },
  diskMark: {
    variable: 'SHIPLOCK_DISK_MARK',
    about:
      'Above it nothing new is built: share of the disk in use (`90%`, and 512 MiB are kept free), or what must be free (`20G`). Holds for the data directory and the container engine.',
    example: '90%',
    defaultText: '`95%`',
    parse: parseDiskMark,
    default: () => ({ percent: 95, freeBytes: LIMITS.diskFreeBytesMin }),
  },
}

function registryPrefix(text: string): Parsed<string> {
  if (text.includes('://')) return { problem: 'must not have a scheme; SHIPLOCK_REGISTRY_INSECURE says that it speaks plain HTTP' }
  if (text.includes('@')) return { problem: 'must not hold a user or password; SHIPLOCK_REGISTRY_USER and _PASSWORD do' }
  const [host = '', ...path] = text.replace(/\/+$/, '').split('/')
  const port = /:(\d{1,5})$/.exec(host)?.[1] ?? '5000'
  if (!/^(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-f:.]+\])(?::\d{1,5})?$/.test(host) || !/[.:]|^localhost$/.test(host))
    return { problem: 'must begin with the host of a registry: a name with a dot, or with a port' }
  if (Number(port) < 1 || Number(port) > 65_535) return { problem: 'has a port that does not exist' }
  if (text.length > 150) return { problem: 'is too long for image names below it' }
  if (!path.every((component) => /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/.test(component)))
    return { problem: 'has a path that no image name may have: lower-case letters, digits, inner `.`, `_`, `-`' }
  return { value: [host.toLowerCase(), ...path].join('/') }
}

function parseDiskMark(text: string): Parsed<DiskMark> {
  const percent = /^([1-9]\d?|100)\s?%$/.exec(text)?.[1]
  if (percent !== undefined) return { value: { percent: Number(percent), freeBytes: LIMITS.diskFreeBytesMin } }
  const [, amount, unit = 'M'] = /^(\d{1,7})\s?([MGT])(?:i?B)?$/i.exec(text) ?? []
  if (amount === undefined) return { problem: 'must be a share such as 90%, or free space such as 500M or 20G' }
  const factor = { M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 }[unit.toUpperCase()] ?? 1
  return { value: { percent: 100, freeBytes: Number(amount) * factor } }
}
