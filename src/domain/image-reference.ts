import type { Digest } from './ids.ts'

/** `registry.example.com:5000/team/api:1.4@sha256:…` in its parts. */
export interface ImageReference {
  /** `docker.io` where none was written. */
  readonly host: string
  /** `library/node` for `node`. */
  readonly path: string
  readonly tag: string | null
  readonly digest: Digest | null
  /** `host/path`, without tag and digest, as engines take it. */
  readonly name: string
}

/** The variable that holds a project's registry credentials, in the form of `docker login`'s config.json. Instances do not get it. */
export const REGISTRY_AUTH_VARIABLE = 'REGISTRY_AUTH'

const HUB = 'docker.io'
const HUB_NAMES: readonly string[] = [HUB, 'index.docker.io', 'registry-1.docker.io']
const HOST = /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*|\[[0-9a-f:]{2,39}\])(?::(\d{1,5}))?$/
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/
const DIGEST = /^sha256:[0-9a-f]{64}$/
const NAME_LENGTH_MAX = 255
/** Name, tag and digest at their longest. */
const REFERENCE_LENGTH_MAX = NAME_LENGTH_MAX + 1 + 128 + 1 + 71

/** Grammar of the distribution reference (github.com/distribution/reference): the parts, or what is wrong as the end of a sentence (I9). */
export function parseImageReference(text: string): ImageReference | { readonly problem: string } {
  if (text === '') return { problem: 'is empty' }
  if (text.length > REFERENCE_LENGTH_MAX) return { problem: `is longer than ${REFERENCE_LENGTH_MAX} characters` }
  const [beforeDigest = '', digest, ...more] = text.split('@')
  if (more.length > 0) return { problem: 'has more than one @' }
  if (digest !== undefined && !DIGEST.test(digest)) return { problem: 'has a digest that is not sha256: and 64 hexadecimal digits' }
  const colon = beforeDigest.indexOf(':', beforeDigest.lastIndexOf('/') + 1)
  const named = colon === -1 ? beforeDigest : beforeDigest.slice(0, colon)
  const tag = colon === -1 ? null : beforeDigest.slice(colon + 1)
  if (tag !== null && !TAG.test(tag)) return { problem: 'has a tag with characters that no tag may have' }
  const name = splitHost(named)
  if ('problem' in name) return name
  if (/^[0-9a-f]{64}$/.test(named)) return { problem: 'is an image id, not a name' }
  return { ...name, tag, digest: (digest ?? null) as Digest | null, name: `${name.host}/${name.path}` }
}

/** The same with an exact digest: what a tag was found to mean. */
export function pinnedReference(reference: ImageReference, digest: Digest): string {
  return `${familiarName(reference)}${reference.tag === null ? '' : `:${reference.tag}`}@${digest}`
}

/** As people write it: without the host and library of Docker Hub. */
export function familiarName({ host, path }: ImageReference): string {
  if (host !== HUB) return `${host}/${path}`
  return path.replace(/^library\/(?=[^/]+$)/, '')
}

function splitHost(named: string): { readonly host: string; readonly path: string } | { readonly problem: string } {
  const slash = named.indexOf('/')
  const first = slash === -1 ? '' : named.slice(0, slash)
  const isHost = first === 'localhost' || /[.:[]/.test(first)
  const written = isHost ? first.toLowerCase() : HUB
  const host = HUB_NAMES.includes(written) ? HUB : written
  const rest = isHost ? named.slice(slash + 1) : named
  const path = host === HUB && !rest.includes('/') ? `library/${rest}` : rest
  const port = HOST.exec(host)
  if (port === null || Number(port[1] ?? 1) > 65_535 || port[1] === '0')
    return { problem: 'has a registry that is no host name with an optional port' }
  if (rest === '' || !path.split('/').every((part) => COMPONENT.test(part))) {
    const isUpper = /[A-Z]/.test(rest)
    return { problem: isUpper ? 'has capital letters in its name' : 'has a name with characters that no image may have' }
  }
  if (host.length + 1 + path.length > NAME_LENGTH_MAX) return { problem: `has a name longer than ${NAME_LENGTH_MAX} characters` }
  return { host, path }
}
