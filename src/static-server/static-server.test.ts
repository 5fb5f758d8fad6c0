import { once } from 'node:events'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { brotliCompressSync, gzipSync } from 'node:zlib'
import { afterEach, describe, expect, test } from 'vitest'
import { removeTree } from '../core/remove-tree.ts'
import { PLAIN_SITE, type SiteOptions } from './site-options.ts'
import { createStaticServer } from './static-server.ts'

const BROWSER = { accept: 'text/html,application/xhtml+xml,*/*;q=0.8', 'sec-fetch-dest': 'document' }
const cleanup: (() => unknown)[] = []
afterEach(async () => {
  for (const step of cleanup.splice(0).reverse()) await step()
})

interface Answer {
  readonly status: number
  readonly body: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}
type Ask = (path: string, headers?: Record<string, string>, method?: string) => Promise<Answer>

/** Paths go on the wire as they are written. */
async function serve(files: Record<string, string | Uint8Array>, options: Partial<SiteOptions> = {}): Promise<Ask & { said: string[] }> {
  const root = mkdtempSync(join(tmpdir(), 'shiplock-site-'))
  cleanup.push(() => removeTree(root))
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, name)), { recursive: true })
    writeFileSync(join(root, name), content)
  }
  const said: string[] = []
  const server = createStaticServer(root, { ...PLAIN_SITE, ...options }, (line) => said.push(line)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanup.push(() => new Promise((done) => server.close(done).closeAllConnections()))
  const { port } = server.address() as AddressInfo
  const ask: Ask = (path, headers = {}, method = 'GET') =>
    new Promise((done, failed) => {
      request({ port, host: '127.0.0.1', path, headers, method, agent: false }, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () =>
          done({ status: response.statusCode ?? 0, body: Buffer.concat(chunks).toString('latin1'), headers: response.headers }),
        )
      })
        .on('error', failed)
        .end()
    })
  return Object.assign(ask, { said })
}

const SITE = {
  'index.html': 'home',
  'about.html': 'about',
  'docs/index.html': 'docs',
  'both.html': 'page',
  'both/index.html': 'directory',
  'both/inner.txt': 'inner',
  'has#hash.txt': 'hash',
  'größe.txt': 'utf8',
  'a b.txt': 'blank',
  '404.html': 'lost',
}

describe('addresses', () => {
  test.each<[string, number, string]>([
    ['/', 200, 'home'],
    ['/index.html', 200, 'home'],
    ['/about', 200, 'about'],
    ['/about.html', 200, 'about'],
    ['/docs/', 200, 'docs'],
    ['/both', 200, 'page'],
    ['/both/', 200, 'directory'],
    ['/both/inner.txt', 200, 'inner'],
    ['/has%23hash.txt', 200, 'hash'],
    ['/gr%C3%B6%C3%9Fe.txt', 200, 'utf8'],
    ['/a%20b.txt?x=%zz', 200, 'blank'],
    ['//docs//', 200, 'docs'],
    ['/nowhere', 404, 'lost'],
    ['/nowhere.js', 404, 'lost'],
    ['/index.html/', 404, 'lost'],
    ['/both%2Finner.txt', 404, 'lost'],
    ['/%zz', 404, 'lost'],
    ['/%00', 404, 'lost'],
  ])('%s answers %i %s', async (path, status, body) => {
    expect(await (await serve(SITE))(path)).toMatchObject({ status, body })
  })

  test.each<[string, string]>([
    ['/docs', '/docs/'],
    ['/docs?a=1', '/docs/?a=1'],
    ['/about/', '/about'],
    ['//docs', '/docs/'],
    ['/%64ocs', '/docs/'],
  ])('%s leads to %s, where relative links hold, and is asked about again', async (path, to) => {
    expect(await (await serve(SITE))(path)).toMatchObject({ status: 301, headers: { location: to, 'cache-control': 'no-cache' } })
  })

  test('I9: a redirect never leads to another host', async () => {
    const ask = await serve({ 'evil.example/index.html': 'x', _redirects: '/to/* /:splat' })
    expect((await ask('//evil.example')).headers.location).toBe('/evil.example/')
    expect((await ask('/to//evil.example/x')).headers.location).toBe('/evil.example/x')
    expect((await ask('/to/%0d%0aset-cookie:x')).headers['set-cookie']).toBeUndefined()
  })

  test('I9: rules and hidden files are not shown', async () => {
    const ask = await serve({ _redirects: '/a /b', _headers: '/a\n  x: y', '.env': 'S', '.well-known/x': 'seen', 'd/.git/c': 'S' })
    for (const path of ['/_redirects', '/_headers', '/.env', '/d/.git/c', '/d/../.env', '/%2eenv'])
      expect((await ask(path)).status, path).toBe(404)
    expect((await ask('/.well-known/x')).body).toBe('seen')
  })
})

describe('single-page apps', () => {
  const APP = { 'index.html': 'app', 'assets/index-1.js': 'js', '404.html': 'lost' }
  const ASKS: [string, Record<string, string>, number][] = [
    ['/users/7', BROWSER, 200],
    ['/users/7', {}, 200],
    ['/users/7?tab=1', { accept: '*/*' }, 200],
    ['/users/jane.doe', BROWSER, 200],
    ['/v1.2', {}, 200],
    ['/assets/index-old.js', BROWSER, 404],
    ['/assets/index-old.js', {}, 404],
    ['/missing.png', { accept: '*/*', 'sec-fetch-dest': 'document' }, 404],
    ['/missing.weird', { accept: '*/*' }, 404],
    ['/chunk', { 'sec-fetch-dest': 'script', accept: '*/*' }, 404],
    ['/picture', { accept: 'image/avif,image/*' }, 404],
    ['/api/users', { accept: 'application/json' }, 404],
    ['/api/users', { 'sec-fetch-dest': 'empty', accept: '*/*' }, 404],
    ['/page', { accept: 'text/html;q=0, application/json' }, 404],
  ]
  test.each(ASKS)('%s asked with %j answers %i', async (path, headers, status) => {
    const answer = await (await serve(APP, { singlePage: true }))(path, headers)
    expect(answer).toMatchObject({ status, body: status === 200 ? 'app' : 'lost', headers: { 'cache-control': 'no-cache' } })
    expect((await (await serve({ 'index.html': 'home', '200.html': 'app', '404.html': 'lost' }))(path, headers)).body).toBe(answer.body)
    expect((await (await serve({ ...APP, _redirects: '/* /index.html 200' }))(path, headers)).body).toBe(answer.body)
  })

  test('without a word of it a path of no file is missing', async () => {
    expect(await (await serve({ 'index.html': 'app' }))('/users/7', BROWSER)).toMatchObject({ status: 404, body: 'Not found\n' })
  })
})

describe('content', () => {
  test.each<[string, string | Uint8Array, string]>([
    ['a.html', 'x', 'text/html; charset=utf-8'],
    ['a.js', 'x', 'text/javascript; charset=utf-8'],
    ['a.mjs', 'x', 'text/javascript; charset=utf-8'],
    ['a.json', '{}', 'application/json; charset=utf-8'],
    ['a.svg', 'x', 'image/svg+xml; charset=utf-8'],
    ['a.wasm', 'x', 'application/wasm'],
    ['a.webmanifest', '{}', 'application/manifest+json; charset=utf-8'],
    ['a.woff2', 'x', 'font/woff2'],
    ['a.css.gz', 'x', 'application/gzip'],
    ['a.css.br', 'x', 'application/octet-stream'],
    ['LICENSE', 'MIT', 'text/plain; charset=utf-8'],
    ['bare', '<!doctype html><p>', 'text/html; charset=utf-8'],
    ['binary', new Uint8Array([0, 1, 2]), 'application/octet-stream'],
    ['latin', new Uint8Array([0x66, 0xfc, 0x72, 0x20, 0x61, 0x62]), 'application/octet-stream'],
    ['empty', '', 'text/plain; charset=utf-8'],
    ['x.unknownkind', 'words', 'text/plain; charset=utf-8'],
    ['.well-known/apple-app-site-association', '{}', 'application/json; charset=utf-8'],
  ])('%s is sent as what it is', async (name, content, type) => {
    const answer = await (await serve({ [name]: content }))(`/${name}`)
    expect(answer).toMatchObject({ status: 200, headers: { 'content-type': type } })
    expect(answer.headers['content-encoding']).toBeUndefined()
  })

  const css = 'body{}'.repeat(50)
  const TWINS = { 'a.css': css, 'a.css.gz': gzipSync(css), 'a.css.br': brotliCompressSync(css), 'b.css': css }
  test.each<[string | undefined, string | undefined]>([
    ['gzip, deflate, br', 'br'],
    ['gzip', 'gzip'],
    ['br;q=0, gzip;q=0.5', 'gzip'],
    ['br;q=0.1, gzip', 'gzip'],
    ['*', 'br'],
    ['identity', undefined],
    ['gzip;q=0', undefined],
    [undefined, undefined],
  ])('the compressed twin is chosen by Accept-Encoding %j', async (accepted, coding) => {
    const ask = await serve(TWINS)
    const { headers } = await ask('/a.css', accepted === undefined ? {} : { 'accept-encoding': accepted })
    expect(headers).toMatchObject({ 'content-type': 'text/css; charset=utf-8', vary: 'Accept-Encoding' })
    expect(headers['content-encoding']).toBe(coding)
    expect((await ask('/b.css', { 'accept-encoding': 'br' })).headers).not.toHaveProperty('vary')
  })

  test('each form has a tag of its own, parts are of the file itself', async () => {
    const ask = await serve(TWINS)
    const [plain, packed] = [await ask('/a.css'), await ask('/a.css', { 'accept-encoding': 'br' })]
    expect(packed.headers.etag).not.toBe(plain.headers.etag)
    expect(await ask('/a.css', { 'accept-encoding': 'br', 'if-none-match': String(packed.headers.etag) })).toMatchObject({
      status: 304,
      body: '',
    })
    expect(await ask('/a.css', { 'accept-encoding': 'br', range: 'bytes=0-3' })).toMatchObject({ status: 206, body: 'body' })
  })

  test.each<[string, number, string, string | undefined]>([
    ['bytes=0-1', 206, 'ab', 'bytes 0-1/4'],
    ['bytes=2-', 206, 'cd', 'bytes 2-3/4'],
    ['bytes=-1', 206, 'd', 'bytes 3-3/4'],
    ['bytes=-99', 206, 'abcd', 'bytes 0-3/4'],
    ['bytes=4-', 416, '', 'bytes */4'],
    ['bytes=-0', 416, '', 'bytes */4'],
    ['bytes=2-1', 200, 'abcd', undefined],
    ['bytes=0-1,2-3', 200, 'abcd', undefined],
    ['lines=0-1', 200, 'abcd', undefined],
  ])('range %s answers %i', async (range, status, body, contentRange) => {
    const answer = await (await serve({ 'a.txt': 'abcd' }))('/a.txt', { range })
    expect(answer).toMatchObject({ status, body })
    expect(answer.headers['content-range']).toBe(contentRange)
  })

  test('an old part is not mixed with a new file', async () => {
    const ask = await serve({ 'a.txt': 'abcd' })
    expect(await ask('/a.txt', { range: 'bytes=2-', 'if-range': '"old"' })).toMatchObject({ status: 200, body: 'abcd' })
  })

  test('tags come from the content: versions of one size and one time differ', async () => {
    const [one, other, same] = [await serve({ 'a.html': '1' }), await serve({ 'a.html': '2' }), await serve({ 'a.html': '1' })]
    const tags = await Promise.all([one, other, same].map(async (ask) => (await ask('/a')).headers.etag))
    expect(tags[0]).toBe(tags[2])
    expect(tags[0]).not.toBe(tags[1])
  })

  test('HEAD answers as GET without a body, other methods are refused', async () => {
    const ask = await serve(SITE)
    expect(await ask('/about', {}, 'HEAD')).toMatchObject({ status: 200, body: '', headers: { 'content-length': '5' } })
    expect(await ask('/about', {}, 'POST')).toMatchObject({ status: 405, headers: { allow: 'GET, HEAD' } })
  })
})

describe('caches', () => {
  test.each<[string, boolean]>([
    ['/assets/index-DxYk2pLm.js', true],
    ['/static/js/main.8f3a2b1c.chunk.js', true],
    ['/_next/static/abc/_buildManifest.js', true],
    ['/_app/immutable/entry/start.js', true],
    ['/chunk-K2XB7QZ4.js', true],
    ['/fonts/inter-8f3a2b1c9d.woff2', true],
    ['/index.html', false],
    ['/page-8f3a2b1c.html', false],
    ['/app.js', false],
    ['/jquery-ui-bootstrap.js', false],
    ['/assets/icon-MyButton.js', false],
    ['/photo-20240101.jpg', false],
    ['/app-v1234567.js', false],
    ['/report-8f3a2b1c.pdf', false],
    ['/assets/worker.js', false],
  ])('%s may be kept without asking: %s', async (path, isKept) => {
    const { headers } = await (await serve({ [path.slice(1)]: 'x' }))(path)
    expect(headers['cache-control']).toBe(isKept ? 'public, max-age=31536000, immutable' : 'no-cache')
  })
})

describe('_redirects and _headers', () => {
  const RULES = `# comment
/old /about  # why
/blog/* /docs/:splat 302
/u/:id/x  https://else.example/users/:id?from=a 307
/shown /about 200
/index.html /about 301!
/gone /404 404
/api/* https://api.example/:splat 200
/store id=:id /store/:id
/here /there 302 Country=de
https://other.example/* /x
/bad /x 999
/middle/*/x /y`
  test.each<[string, number, string]>([
    ['/old', 301, '/about'],
    ['/old/?q=1', 301, '/about?q=1'],
    ['/blog/2024/x', 302, '/docs/2024/x'],
    ['/blog', 302, '/docs/'],
    ['/u/7/x?q=2', 307, 'https://else.example/users/7?from=a'],
    ['/shown', 200, 'about'],
    ['/index.html', 301, '/about'],
    ['/gone', 404, 'lost'],
    ['/about', 200, 'about'],
    ['/api/x', 404, 'lost'],
    ['/here', 404, 'lost'],
  ])('%s answers %i %s', async (path, status, told) => {
    const answer = await (await serve({ ...SITE, _redirects: RULES }))(path)
    expect(answer.status).toBe(status)
    expect(status >= 300 && status < 400 ? answer.headers.location : answer.body).toBe(told)
  })

  test('what is not taken over is said, with its line', async () => {
    expect((await serve({ _redirects: RULES })).said).toEqual([
      'warning: _redirects:8 is not taken over: requests are not passed on to other servers',
      'warning: _redirects:9 is not taken over: conditions on the query are not supported',
      'warning: _redirects:10 is not taken over: conditions on country, language, role or cookie are not supported',
      'warning: _redirects:11 is not taken over: it begins with an address; only paths of the site itself are redirected',
      'warning: _redirects:12 is not taken over: 999 is no status that is supported',
      'warning: the path /middle/*/x is not taken over: only a * at its end is understood',
    ])
  })

  test('headers by path, those of the configuration win', async () => {
    const _headers = `/*
  X-Frame-Options: DENY
  Cache-Control: max-age=60
  Link: <a>
  Link: <b>
  Content-Length: 3
  Basic-Auth: me:secret
/docs/*
  X-Docs: 1
nonsense`
    const ask = await serve({ ...SITE, _headers }, { headers: [{ for: '/about', values: { 'x-frame-options': 'SAMEORIGIN' } }] })
    expect((await ask('/')).headers).toMatchObject({
      'x-frame-options': 'DENY',
      'cache-control': 'max-age=60',
      link: '<a>, <b>',
      'content-length': '4',
    })
    expect((await ask('/docs/')).headers).toMatchObject({ 'x-docs': '1' })
    expect((await ask('/about')).headers).toMatchObject({ 'x-frame-options': 'SAMEORIGIN' })
    expect((await ask('/nowhere')).headers).toMatchObject({ 'x-frame-options': 'DENY' })
    expect(ask.said).toEqual([
      'warning: _headers:6 is not taken over: content-length is set by the server',
      'warning: _headers:7 is not taken over: Basic-Auth does not protect anything here. Put the check into an app, or before the server',
      'warning: _headers:10 is not taken over: it is neither a path nor Name: value below one',
    ])
  })

  test('I16: files of rules are bounded', async () => {
    const many = Array.from({ length: 2500 }, (_, at) => `/r${at} /about`).join('\n')
    const ask = await serve({ 'about.html': 'x', _redirects: many, _headers: 'x'.repeat(600_000) })
    expect(ask.said).toEqual([
      'warning: _headers is larger than 524288 bytes: nothing of it is taken over',
      'warning: only the first 2000 redirects are taken over',
    ])
    expect([(await ask('/r1999')).status, (await ask('/r2000')).status]).toEqual([301, 404])
  })
})
