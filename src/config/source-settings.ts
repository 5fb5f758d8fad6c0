import { isIP } from 'node:net'
import { isAbsolute } from 'node:path'
import { REACHES, type Reach } from '../core/outgoing.ts'
import type { SettingDefinition } from './setting-definition.ts'
import { absolutePath, oneOf, type Parsed, trueOrFalse } from './setting-parsers.ts'

/** What the server's owner decides about where code and images come from. */
export interface SourceSettings {
  /** Paths of this host below which an administrator may deploy repositories from. */
  readonly fileSourceDirectories: readonly string[]
  /** Of servers before this one: null = not set. Has no effect any more. */
  readonly allowFileSources: boolean | null
  readonly sourceReach: Reach
  /** Names, `*.names`, addresses and networks, lower case. */
  readonly sourceHosts: readonly string[]
  /** Certificates (PEM) to believe of git hosts; null = those of the system. */
  readonly gitCaFile: string | null
}

export const SOURCE_SETTING_DEFINITIONS: { readonly [Key in keyof SourceSettings]: SettingDefinition<SourceSettings[Key]> } = {
  fileSourceDirectories: {
    variable: 'SHIPLOCK_FILE_SOURCE_DIRECTORIES',
    about:
      'Directories of this machine, commas between them, below which a git source may be a path. Only a token that may `administer` the server can name one, and nothing in or around the data directory is ever a source.',
    example: '/srv/git',
    defaultText: 'none: no path of this machine is a source',
    parse: parseDirectories,
    default: () => [],
  },
  allowFileSources: {
    variable: 'SHIPLOCK_ALLOW_FILE_SOURCES',
    about: 'Of earlier versions; it has no effect any more: name the directories in `SHIPLOCK_FILE_SOURCE_DIRECTORIES`.',
    example: 'false',
    defaultText: 'none',
    parse: trueOrFalse,
    default: () => null,
  },
  sourceReach: {
    variable: 'SHIPLOCK_SOURCE_REACH',
    about:
      'Where git hosts and image registries that members name may be: `public` = the internet, `private` = also networks like 10.0.0.0/8, `any` = also this machine, its containers and instances, and link-local addresses.',
    example: 'public',
    defaultText: '`private`',
    parse: (text) => oneOf(text, REACHES),
    default: () => 'private',
  },
  sourceHosts: {
    variable: 'SHIPLOCK_SOURCE_HOSTS',
    about:
      'Git hosts and image registries that may be used wherever they are: names, `*.names`, addresses, networks in CIDR notation; commas between them.',
    example: 'git.example.com,*.corp.example.com,10.1.0.0/16',
    defaultText: 'none',
    parse: parseHosts,
    default: () => [],
  },
  gitCaFile: {
    variable: 'SHIPLOCK_GIT_CA_FILE',
    about: 'PEM file with the certificate authorities of your git hosts, in place of those of the system.',
    example: '/etc/ssl/certs/company-ca.pem',
    defaultText: 'those of the system',
    parse: absolutePath,
    default: () => null,
  },
}

function entriesOf(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}

function parseDirectories(text: string): Parsed<readonly string[]> {
  const directories = entriesOf(text)
  return directories.every((directory) => isAbsolute(directory))
    ? { value: directories }
    : { problem: 'must be absolute paths, with commas between them' }
}

const NAME = /^(?:\*\.)?[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?$/

function parseHosts(text: string): Parsed<readonly string[]> {
  const hosts = entriesOf(text.toLowerCase())
  const wrong = hosts.find((host) => !NAME.test(host) && !isNetwork(host))
  if (wrong === undefined) return { value: hosts }
  return { problem: `has ${JSON.stringify(wrong.slice(0, 80))}, which is no host name, address or network (no port, no https://)` }
}

function isNetwork(text: string): boolean {
  const [address = '', prefix, ...rest] = text.split('/')
  const family = isIP(address)
  if (family === 0 || rest.length > 0) return false
  return prefix === undefined || (/^\d{1,3}$/.test(prefix) && Number(prefix) <= (family === 6 ? 128 : 32))
}
