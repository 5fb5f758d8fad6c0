import { createReadStream, statSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { join, resolve } from 'node:path'
import sirv from 'sirv'

const HEALTH_PATH = '/healthz'
const KEEP_ALIVE_MS = 75_000

/**
 * Serves a directory: index.html for directories, strong caching left to the site (etag and
 * last-modified are sent), no dotfiles, no listing, 404.html if there is one. Runs inside an instance's sandbox with no rights of its own.
 */
export function createStaticServer(directory: string) {
  const root = resolve(directory)
  // `dev` looks at the disk for each request: init commands and the app's own jobs may change the files while it runs.
  const serve = sirv(root, { dev: true, etag: true, dotfiles: true, single: false })
  const server = createServer((request, response) => {
    if (request.method !== 'GET' && request.method !== 'HEAD') refuse(response)
    else if (isHidden(request.url ?? '/')) missing(root, request, response)
    else serve(request, response, () => missing(root, request, response))
  })
  // Longer than any proxy before it keeps an idle connection, so that the proxy is the one who closes.
  server.keepAliveTimeout = KEEP_ALIVE_MS
  return server
}

/** sirv leaves dotfiles to us when it looks at the disk. `.well-known` is there to be seen (RFC 8615). A path that can't be decoded is hidden, too. */
function isHidden(url: string): boolean {
  try {
    const path = decodeURIComponent(url.split('?')[0] ?? '/')
    return path.includes('\0') || path.split(/[/\\]/).some((segment) => segment.startsWith('.') && segment !== '.well-known')
  } catch {
    return true
  }
}

function missing(root: string, request: IncomingMessage, response: ServerResponse): void {
  const page = join(root, '404.html')
  const size = fileSize(page)
  if ((request.url ?? '/').split('?')[0] === HEALTH_PATH) send(request, response, 200, 'ok\n')
  else if (size === null) send(request, response, 404, 'Not found\n')
  else sendPage(request, response, page, size)
}

function sendPage(request: IncomingMessage, response: ServerResponse, page: string, size: number): void {
  response.writeHead(404, { 'content-type': 'text/html; charset=utf-8', 'content-length': size })
  if (request.method === 'HEAD') response.end()
  else
    createReadStream(page)
      .on('error', () => response.destroy())
      .pipe(response)
}

function send(request: IncomingMessage, response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8', 'content-length': Buffer.byteLength(text) })
  response.end(request.method === 'HEAD' ? undefined : text)
}

function refuse(response: ServerResponse): void {
  response.writeHead(405, { allow: 'GET, HEAD', 'content-type': 'text/plain; charset=utf-8' }).end('Only GET and HEAD\n')
}

function fileSize(path: string): number | null {
  try {
    const stat = statSync(path)
    return stat.isFile() ? stat.size : null
  } catch {
    return null
  }
}
