import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { createServer, type Server } from 'node:https'
import { connect, createServer as createTcpServer } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { eventually } from './eventually.ts'

const SSHD = '/usr/sbin/sshd'
const HTTP_BACKEND = '/usr/lib/git-core/git-http-backend'

/** Why these servers can't be started here; null when they can. For `context.skip`. */
export function gitServersMissing(): string | null {
  const missing = [SSHD, HTTP_BACKEND, '/usr/bin/openssl'].filter((path) => !existsSync(path))
  return missing.length === 0 ? null : `needs ${missing.join(', ')}`
}

/** OpenSSH's own server on a free port of loopback. It serves git to whoever has the authorized key, and nothing else. */
export class SshServer {
  readonly port: number
  readonly #directory: string
  #child: ChildProcess | null = null

  private constructor(directory: string, port: number) {
    this.#directory = directory
    this.port = port
  }

  static async start(directory: string, authorizedKeys: readonly string[]): Promise<SshServer> {
    mkdirSync(directory, { recursive: true })
    const server = new SshServer(directory, await freePort())
    server.authorize(authorizedKeys)
    server.drawHostKey()
    await server.#run()
    return server
  }

  /** Of a repository on this machine. */
  urlOf(path: string): string {
    return `ssh://${userInfo().username}@127.0.0.1:${this.port}${path}`
  }

  get host(): string {
    return `127.0.0.1:${this.port}`
  }

  /** A line of known_hosts. */
  get hostKey(): string {
    const [type, key] = readFileSync(join(this.#directory, 'host.pub'), 'utf8').split(' ')
    return `[127.0.0.1]:${this.port} ${type} ${key}`
  }

  authorize(publicKeys: readonly string[]): void {
    writeFileSync(join(this.#directory, 'authorized_keys'), `${publicKeys.join('\n')}\n`, { mode: 0o600 })
  }

  drawHostKey(): void {
    const path = join(this.#directory, 'host')
    execFileSync('rm', ['-f', path, `${path}.pub`])
    execFileSync('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'test', '-f', path])
  }

  async restart(): Promise<void> {
    await this.stop()
    await this.#run()
  }

  async stop(): Promise<void> {
    const child = this.#child
    this.#child = null
    if (child === null || child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }

  async #run(): Promise<void> {
    // Where sshd, as root, locks up its unprivileged part.
    if (process.getuid?.() === 0) mkdirSync('/run/sshd', { recursive: true, mode: 0o755 })
    const file = (name: string) => join(this.#directory, name)
    const settings = {
      ListenAddress: '127.0.0.1',
      Port: String(this.port),
      HostKey: file('host'),
      PidFile: 'none',
      AuthorizedKeysFile: file('authorized_keys'),
      StrictModes: 'no',
      UsePAM: 'no',
      PasswordAuthentication: 'no',
      KbdInteractiveAuthentication: 'no',
      PermitRootLogin: 'yes',
      AllowTcpForwarding: 'no',
      LogLevel: 'ERROR',
      ForceCommand: 'git-shell -c "$SSH_ORIGINAL_COMMAND"',
    }
    const lines = Object.entries(settings).map(([name, value]) => `${name} ${value}\n`)
    writeFileSync(file('sshd_config'), lines.join(''))
    this.#child = spawn(SSHD, ['-D', '-e', '-f', file('sshd_config')], { stdio: 'ignore' })
    await eventually(() => answers(this.port))
  }
}

export type HttpsBehaviour = 'serve' | 'redirect' | 'hang' | 'die'

/** git's own HTTP backend behind TLS and a password, on a free port of loopback. */
export class HttpsGitServer {
  readonly caFile: string
  /** Every Authorization header that came, in order; '' for none. */
  readonly authorizations: string[] = []
  behaviour: HttpsBehaviour = 'serve'
  /** Where `redirect` sends to. */
  redirectTo = ''
  readonly #server: Server
  readonly #root: string
  readonly #expected: string

  private constructor(directory: string, root: string, account: { readonly username: string; readonly token: string }) {
    mkdirSync(directory, { recursive: true })
    const [key, certificate] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
    const subject = ['-subj', '/CN=tests', '-addext', 'subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:git.test']
    const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2', ...subject]
    execFileSync('openssl', [...args, '-keyout', key, '-out', certificate], { stdio: 'ignore' })
    this.caFile = certificate
    this.#root = root
    this.#expected = `Basic ${Buffer.from(`${account.username}:${account.token}`).toString('base64')}`
    this.#server = createServer({ key: readFileSync(key), cert: readFileSync(certificate) }, (request, response) =>
      this.#answer(request, response),
    )
  }

  /** Serves every repository below `root`. */
  static async start(
    directory: string,
    root: string,
    account: { readonly username: string; readonly token: string },
  ): Promise<HttpsGitServer> {
    const server = new HttpsGitServer(directory, root, account)
    await new Promise<void>((resolve) => server.#server.listen(0, '127.0.0.1', resolve))
    return server
  }

  get host(): string {
    return `127.0.0.1:${(this.#server.address() as { port: number }).port}`
  }

  urlOf(name: string): string {
    return `https://${this.host}/${name}`
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    this.authorizations.push(request.headers.authorization ?? '')
    if (this.behaviour === 'redirect') {
      response.writeHead(302, { location: `${this.redirectTo}${request.url}` }).end()
      return
    }
    if (request.headers.authorization !== this.#expected) {
      response.writeHead(401, { 'www-authenticate': 'Basic realm="tests"' }).end('no')
      return
    }
    if (this.behaviour === 'hang') return
    this.#serve(request, response)
  }

  /** CGI, as far as git's backend needs it. */
  #serve(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '/', 'https://x')
    const isPack = request.method === 'POST'
    const child = spawn(HTTP_BACKEND, [], {
      env: {
        PATH: '/usr/bin:/bin',
        GIT_PROJECT_ROOT: this.#root,
        GIT_HTTP_EXPORT_ALL: '1',
        REQUEST_METHOD: request.method ?? 'GET',
        PATH_INFO: decodeURIComponent(url.pathname),
        QUERY_STRING: url.search.slice(1),
        CONTENT_TYPE: request.headers['content-type'] ?? '',
        HTTP_CONTENT_ENCODING: request.headers['content-encoding'] ?? '',
        GIT_PROTOCOL: String(request.headers['git-protocol'] ?? ''),
        GIT_CONFIG_COUNT: '1',
        GIT_CONFIG_KEY_0: 'safe.directory',
        GIT_CONFIG_VALUE_0: '*',
      },
    })
    request.pipe(child.stdin)
    child.stdin.on('error', () => {})
    let head = Buffer.alloc(0)
    let isHeadSent = false
    child.stdout.on('data', (chunk: Buffer) => {
      if (isHeadSent) {
        response.write(chunk)
        return
      }
      head = Buffer.concat([head, chunk])
      const end = head.indexOf('\r\n\r\n')
      if (end === -1) return
      isHeadSent = true
      const headers = head
        .subarray(0, end)
        .toString()
        .split('\r\n')
        .map((line) => line.split(': ') as [string, string])
      const status = headers.find(([name]) => name === 'Status')?.[1]
      response.writeHead(Number(status?.slice(0, 3) ?? 200), Object.fromEntries(headers.filter(([name]) => name !== 'Status')))
      response.write(this.behaviour === 'die' && isPack ? head.subarray(end + 4, end + 24) : head.subarray(end + 4))
      if (this.behaviour === 'die' && isPack) request.socket.destroy()
    })
    child.on('close', () => response.end())
  }
}

function answers(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve()
    })
    socket.on('error', reject)
  })
}

async function freePort(): Promise<number> {
  const server = createTcpServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}
