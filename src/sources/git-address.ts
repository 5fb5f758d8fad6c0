import { isAbsolute } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { printable } from '../core/printable.ts'
import { gitRefProblem } from '../domain/git-ref-name.ts'

export type GitProtocol = 'https' | 'ssh' | 'file'

/** A repository address that git can't read as an option, a helper or another protocol. */
export interface GitAddress {
  readonly protocol: GitProtocol
  /** In the form that is given to git. */
  readonly url: string
  /** Of a file address: the directory on this host. */
  readonly path: string | null
}

const SCP_LIKE = /^(?:(?<user>[A-Za-z0-9_][A-Za-z0-9._-]*)@)?(?<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?<path>[^:].*)$/
const HOST = /^(?:[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])$/
const USER = /^[A-Za-z0-9_][A-Za-z0-9._-]*$/
const URL_LENGTH_MAX = 2048
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this refuses
const CONTROL_OR_SPACE = /[\u0000-\u0020\u007f-\u00a0\u2028\u2029]/

/** Reads a repository address, or refuses it with the reason. Nothing is asked of the network. */
export function parseGitAddress(text: string): GitAddress {
  if (text === '') throw refused('url', text, 'is empty')
  if (text.length > URL_LENGTH_MAX) throw refused('url', text, `is longer than ${URL_LENGTH_MAX} characters`)
  if (CONTROL_OR_SPACE.test(isAbsolute(text) ? text.replaceAll(' ', '_') : text)) {
    throw refused('url', text, 'holds white space or control characters')
  }
  if (text.startsWith('-')) throw refused('url', text, 'begins with a dash and would be read as an option')
  if (isAbsolute(text)) return fileAddress(text)
  if (/^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(text)) return urlAddress(text)
  if (/^[A-Za-z0-9+.-]*::/.test(text)) throw refused('url', text, 'names a remote helper, which can run any command')
  return scpAddress(text)
}

function urlAddress(text: string): GitAddress {
  let url: URL
  try {
    url = new URL(text)
  } catch {
    throw refused('url', text, 'is not a valid URL')
  }
  if (url.protocol === 'file:') return fileUrl(text, url)
  if (url.protocol !== 'https:' && url.protocol !== 'ssh:') {
    throw refused('url', text, `uses ${url.protocol}// where https, ssh or file is needed`)
  }
  if (url.password !== '' || (url.protocol === 'https:' && url.username !== '')) {
    throw new ShiplockError('SOURCE_REFUSED', 'source.url holds a user name or password, which would end up in logs and process lists', {
      hint: 'Keep the token apart from the address: `shiplock git-token set HOST`; or use an ssh URL with a deploy key.',
      details: { field: 'url' },
    })
  }
  if (!HOST.test(url.hostname)) throw refused('url', text, 'has no usable host name')
  if (url.username !== '' && !USER.test(url.username)) throw refused('url', text, 'has an unusable user name')
  if (url.search !== '' || url.hash !== '') throw refused('url', text, 'has a query or fragment')
  checkPath(text, url.pathname)
  return { protocol: url.protocol === 'https:' ? 'https' : 'ssh', url: url.href, path: null }
}

function fileUrl(text: string, url: URL): GitAddress {
  if (url.host !== '') throw refused('url', text, 'names a host in a file URL; write file:///path')
  let path: string
  try {
    path = decodeURIComponent(url.pathname)
  } catch {
    throw refused('url', text, 'has a bad percent escape')
  }
  // biome-ignore lint/suspicious/noControlCharactersInRegex: as above
  if (/[\u0000-\u001f\u007f]/.test(path)) throw refused('url', text, 'holds control characters')
  return fileAddress(path)
}

/** Which paths may be sources is decided elsewhere (`local-repository.ts`). */
function fileAddress(path: string): GitAddress {
  return { protocol: 'file', url: pathToFileURL(path).href, path }
}

/** `user@host:path`, rewritten as an ssh URL so that only one form reaches git. */
function scpAddress(text: string): GitAddress {
  const match = SCP_LIKE.exec(text)
  const { user, host, path } = match?.groups ?? {}
  if (host === undefined || path === undefined || !HOST.test(host)) {
    throw refused('url', text, 'is no https, ssh or file URL, user@host:path or absolute path')
  }
  checkPath(text, `/${path}`)
  // A relative path is relative to the home of the remote user, which an ssh URL spells `/~/`.
  const absolute = path.startsWith('/') ? path : path.startsWith('~') ? `/${path}` : `/~/${path}`
  return { protocol: 'ssh', url: `ssh://${user === undefined ? '' : `${user}@`}${host}${absolute}`, path: null }
}

/** The path reaches a remote shell or server as an argument. */
function checkPath(text: string, path: string): void {
  if (path === '' || path === '/') throw refused('url', text, 'has no path to a repository')
  if (path.startsWith('/-')) throw refused('url', text, 'has a path that begins with a dash')
  if (/['"`$;&|<>(){}*?!\\^]/.test(path)) throw refused('url', text, 'has quotes, wildcards or shell characters in its path')
  if (path.split('/').includes('..')) throw refused('url', text, 'has `..` in its path')
}

/** `host` or `host:port` in lower case, as credentials are kept by; null for a path. */
export function hostOf({ protocol, url }: GitAddress): string | null {
  return protocol === 'file' ? null : new URL(url).host.toLowerCase()
}

/** Refuses what is not plainly a branch, tag or commit. */
export function checkGitRef(ref: string): void {
  const problem = gitRefProblem(ref, LIMITS.refLength)
  if (problem !== null) throw refused('ref', ref, problem)
}

function refused(field: 'url' | 'ref', value: string, reason: string, hint?: string): ShiplockError {
  const shown = printable(value.slice(0, 120))
  return new ShiplockError('SOURCE_REFUSED', `source.${field} ${reason}: ${JSON.stringify(shown)}`, {
    details: { field, value: shown },
    ...(hint === undefined ? {} : { hint }),
  })
}
