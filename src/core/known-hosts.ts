import { sshFingerprint } from './ssh-key.ts'

/** One line of a known_hosts file that names its host in plain. */
export interface HostKeyLine {
  /** `host` or `host:port`, as in a repository's address. */
  readonly host: string
  readonly type: string
  readonly fingerprint: string
  readonly line: string
}

const SSH_PORT = '22'
const TYPE = /^(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)|sk-ssh-ed25519@openssh\.com|sk-ecdsa-sha2-nistp256@openssh\.com)$/

/**
 * Keys that these hosts publish: https://docs.github.com/en/authentication/keeping-your-account-and-data-secure/githubs-ssh-key-fingerprints
 * and https://docs.gitlab.com/user/gitlab_com/#ssh-host-keys-fingerprints. A test compares each with the fingerprint that is printed there.
 */
const PUBLISHED = [
  'github.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl',
  'github.com ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=',
  'gitlab.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAfuCHKVTjquxvt6CM6tdG4SLp1Btn/nOeHHE5UOzRdf',
]

/** The published keys of well-known hosts. */
export const PUBLISHED_HOST_KEYS: readonly HostKeyLine[] = PUBLISHED.flatMap((line) => parseHostKeyLine(line) ?? [])

/** null = not `host type key` with a plain host, a known type and a key of that type. Markers such as @cert-authority are refused too. */
export function parseHostKeyLine(line: string): HostKeyLine | null {
  const [pattern = '', type = '', key = '', ...rest] = line.trim().split(/\s+/)
  const host = hostOfPattern(pattern)
  if (host === null || !TYPE.test(type) || !/^[A-Za-z0-9+/]+=*$/.test(key)) return null
  const blob = Buffer.from(key, 'base64')
  const length = blob.length >= 4 ? blob.readUInt32BE(0) : -1
  if (blob.subarray(4, 4 + length).toString('latin1') !== type || rest.length > 1) return null
  return { host, type, fingerprint: sshFingerprint(blob), line: `${patternOf(host)} ${type} ${key}` }
}

/** `[host]:port` is how known_hosts writes a port other than 22. Lists, wildcards, negations and hashes are not taken. */
function hostOfPattern(pattern: string): string | null {
  const [, host, port] = /^\[([A-Za-z0-9.:-]+)\]:(\d{1,5})$/.exec(pattern) ?? []
  if (host !== undefined && port !== undefined) return port === SSH_PORT ? bare(host) : `${bare(host)}:${port}`
  return /^[A-Za-z0-9][A-Za-z0-9.:-]*$/.test(pattern) ? bare(pattern) : null
}

function bare(host: string): string {
  return host.includes(':') ? `[${host.toLowerCase()}]` : host.toLowerCase()
}

/** The place of a key in known_hosts: `example.org`, `[example.org]:2222`. */
function patternOf(host: string): string {
  const { name, port } = splitHost(host)
  return port === null ? name : `[${name}]:${port}`
}

/** `host`, `host:port` or `[v6]:port` → name without brackets, and the port unless it is that of ssh. */
export function splitHost(host: string): { readonly name: string; readonly port: string | null } {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(host) ?? []
  return { name: bracketed ?? plain ?? host, port: port === undefined || port === SSH_PORT ? null : port }
}
