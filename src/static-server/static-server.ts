import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { resolve } from 'node:path'
import { ContentTags } from './content-tag.ts'
import { addressOf, type FoundFile, findFile, firstFile } from './find-file.ts'
import { isPage } from './media-type.ts'
import { type Captured, fillIn } from './path-pattern.ts'
import { wantsPage } from './request-kind.ts'
import { sendFile } from './send-file.ts'
import { PLAIN_SITE, type SiteOptions } from './site-options.ts'
import { findRedirect, headersFor, type Redirect, readSiteRules, type SiteRules } from './site-rules.ts'

const HEALTH_PATH = '/healthz'
const KEEP_ALIVE_MS = 75_000

interface Site {
  readonly root: string
  readonly options: SiteOptions
  readonly rules: SiteRules
  readonly tags: ContentTags
}

interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  /** As it was asked for, without the query. */
  readonly path: string
  /** With its question mark; empty = none. */
  readonly query: string
}

/**
 * Serves a directory as people expect of a site (docs/static-sites.md): index.html for directories, pages without `.html`, 404.html, no
 * dotfiles, no listing. It looks at the disk for each request: init commands and the app's own jobs may change the files while it runs.
 * Runs inside an instance's sandbox with no rights of its own.
 */
export function createStaticServer(directory: string, options: SiteOptions = PLAIN_SITE, say: (line: string) => void = () => {}) {
  const root = resolve(directory)
  const site: Site = { root, options, rules: readSiteRules(root, options), tags: new ContentTags() }
  for (const note of site.rules.notes) say(`warning: ${note}`)
  const server = createServer((request, response) => {
    const url = request.url ?? '/'
    const at = url.indexOf('?')
    const exchange = { request, response, path: at === -1 ? url : url.slice(0, at), query: at === -1 ? '' : url.slice(at) }
    answer(site, exchange).catch(() => {
      // What was there when it was looked for and is not there now, or can't be read.
      if (response.headersSent) response.destroy()
      else send(exchange, 404, 'Not found\n')
    })
  })
  // Longer than any proxy before it keeps an idle connection, so that the proxy is the one who closes.
  server.keepAliveTimeout = KEEP_ALIVE_MS
  return server
}

async function answer(site: Site, exchange: Exchange): Promise<void> {
  const { request, path } = exchange
  if (request.method !== 'GET' && request.method !== 'HEAD') return refuse(exchange)
  const address = addressOf(path)
  if (address === null) return missing(site, exchange)
  if (await redirected(site, exchange, true)) return undefined
  const found = findFile(site.root, address)
  if (found.kind === 'file') return sendPage(site, exchange, found.file, 200)
  if (found.kind === 'moved') return move(exchange, 301, encoded(found.to), site)
  if (await redirected(site, exchange, false)) return undefined
  if (address === HEALTH_PATH) return send(exchange, 200, 'ok\n')
  const fallback = fallbackPage(site)
  if (fallback !== null && wantsPage(path, request.headers)) return sendPage(site, exchange, fallback, 200)
  return missing(site, exchange)
}

/** `200.html` is what several hosts and generators call the page of a single-page app; being there, it says enough. */
function fallbackPage({ root, options }: Site): FoundFile | null {
  return firstFile(root, options.singlePage ? ['/200.html', '/index.html'] : ['/200.html'])
}

/** Whether a rule answered. */
async function redirected(site: Site, exchange: Exchange, isForced: boolean): Promise<boolean> {
  const found = findRedirect(site.rules, exchange.path, isForced)
  if (found === null) return false
  const { redirect, captured } = found
  if (redirect.status !== 200 && redirect.status !== 404) {
    move(exchange, redirect.status, fillIn(redirect.to, captured), site)
    return true
  }
  const file = targetOf(site, redirect, captured)
  if (file === null) return false
  // `/* /index.html 200` is meant for people who follow links, not for scripts that are missing.
  const isCatchAll = redirect.pattern.takesRest && isPage(file.address)
  if (redirect.status === 200 && isCatchAll && !wantsPage(exchange.path, exchange.request.headers)) return false
  await sendPage(site, exchange, file, redirect.status)
  return true
}

function targetOf({ root }: Site, { to }: Redirect, captured: Captured): FoundFile | null {
  const address = addressOf((fillIn(to, captured).split(/[?#]/)[0] ?? '/') || '/')
  if (address === null) return null
  const found = findFile(root, address)
  if (found.kind === 'moved') return firstFile(root, [`${found.to}index.html`, `${found.to}.html`])
  return found.kind === 'file' ? found.file : null
}

function missing(site: Site, exchange: Exchange): Promise<void> | void {
  const page = firstFile(site.root, ['/404.html'])
  if (page === null) send(exchange, 404, 'Not found\n')
  else return sendPage(site, exchange, page, 404)
}

function sendPage({ root, tags, rules }: Site, { request, response, path }: Exchange, file: FoundFile, status: number): Promise<void> {
  return sendFile({ root, tags, request, response, status, headers: headersFor(rules, path) }, file)
}

/** The query goes along where the target has none. Asked about each time: what is a directory now may be a page in the next version. */
function move({ request, response, path, query }: Exchange, status: number, to: string, { rules }: Site): void {
  const [, before = to, fragment = ''] = /^([^#]*)(#.*)?$/.exec(to) ?? []
  const location = `${before}${before.includes('?') ? '' : query}${fragment}`
  // Two slashes at the beginning would name another host.
  const own = location.startsWith('/') ? `/${location.replace(/^[/\\]+/, '')}` : location
  response.writeHead(status, {
    'cache-control': 'no-cache',
    ...headersFor(rules, path),
    location: printableAscii(own),
    'content-length': 0,
  })
  response.end(request.method === 'HEAD' ? undefined : '')
}

function encoded(address: string): string {
  return address.split('/').map(encodeURIComponent).join('/')
}

/** A header takes nothing else. */
function printableAscii(text: string): string {
  return text.replace(/[^\x21-\x7e]/gu, (character) => encodeURIComponent(character))
}

function send({ request, response }: Exchange, status: number, text: string): void {
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-cache',
  })
  response.end(request.method === 'HEAD' ? undefined : text)
}

function refuse({ response }: Exchange): void {
  response.writeHead(405, { allow: 'GET, HEAD', 'content-type': 'text/plain; charset=utf-8' }).end('Only GET and HEAD\n')
}
