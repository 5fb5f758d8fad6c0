import { REACHES, type Reach } from '../core/outgoing.ts'
import { type ListenAddress, parseListenAddress } from './listen-address.ts'
import type { SettingDefinition } from './setting-definition.ts'
import { duration, oneOf, type Parsed } from './setting-parsers.ts'

/** What the server's owner decides about git hosts and chats: how they reach us, and what of them we call. */
export interface HookSettings {
  /** Where others reach this server, without a slash at the end; null = nobody said. */
  readonly publicUrl: string | null
  /** A listener for webhooks alone; null = they come in where the API listens. */
  readonly hooksListen: ListenAddress | null
  /** Between two looks at the branch heads of one repository; 0 = none. */
  readonly headCheckMs: number
  readonly outgoing: Reach
}

export const HOOK_SETTING_DEFINITIONS: { readonly [Key in keyof HookSettings]: SettingDefinition<HookSettings[Key]> } = {
  publicUrl: {
    variable: 'SHIPLOCK_PUBLIC_URL',
    about: 'Where git hosts and people reach this server, e.g. the proxy before it. The API may be called by that host name.',
    example: 'https://deploy.example.com',
    defaultText: 'none: addresses are shown as the caller sees them',
    parse: parsePublicUrl,
    default: () => null,
  },
  hooksListen: {
    variable: 'SHIPLOCK_HOOKS_LISTEN',
    about: 'A listener of its own for webhooks, which answers nothing else: the API can then stay on loopback.',
    example: '0.0.0.0:4701',
    defaultText: 'none: `/hooks/…` answers where the API listens',
    parse: (text) => {
      const value = parseListenAddress(text)
      return value === null ? { problem: 'must be an IP address and a port (0 = any free port), or a port alone' } : { value }
    },
    default: () => null,
  },
  headCheckMs: {
    variable: 'SHIPLOCK_HEAD_CHECK',
    about: 'How often the branches of services with a webhook are looked at for pushes that never arrived; 0s = never.',
    example: '15m',
    defaultText: '5m',
    parse: (text) => duration(text, 0, 24 * 3_600_000),
    default: () => 5 * 60_000,
  },
  outgoing: {
    variable: 'SHIPLOCK_OUTGOING',
    about:
      'What may be called at addresses that members enter (notifications, APIs of git hosts): `public` = the internet, `private` = also networks like 10.0.0.0/8, `any` = also this machine, its containers and instances, and link-local addresses.',
    example: 'public',
    defaultText: '`private`',
    parse: (text) => oneOf(text, REACHES),
    default: () => 'private',
  },
}

function parsePublicUrl(text: string): Parsed<string> {
  const url = URL.canParse(text) ? new URL(text) : null
  const isPlain = url !== null && url.username === '' && url.password === '' && url.search === '' && url.hash === ''
  if (!isPlain || (url.protocol !== 'https:' && url.protocol !== 'http:')) return { problem: 'must be an http or https URL' }
  return { value: `${url.origin}${url.pathname.replace(/\/+$/, '')}` }
}
