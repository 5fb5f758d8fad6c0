import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { accessSync, constants, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'

/** A program under measurement: where it answers and which processes do its work. */
export interface Running {
  readonly name: string
  readonly port: number
  pids(): readonly number[]
  stop(): Promise<void>
}

const DIRECTORIES = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

/** Absolute path of an installed program, null when it is not there. */
export function findProgram(name: string): string | null {
  for (const directory of DIRECTORIES) {
    const path = join(directory, name)
    try {
      accessSync(path, constants.X_OK)
      return path
    } catch {}
  }
  return null
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** The application that all proxies share: nginx, which answers with about 100 bytes. */
export async function startUpstream(directory: string): Promise<Running | null> {
  const port = await freePort()
  const body = 'x'.repeat(100)
  return await startNginx(directory, 'upstream', port, `server { listen 127.0.0.1:${port}; location / { return 200 "${body}"; } }`)
}

/** Every rival that is installed, one core each, keep-alive to the upstream, access log off. */
export async function startRivals(directory: string, upstream: number): Promise<readonly Running[]> {
  const started = await Promise.all([nginxProxy(directory, upstream), haproxy(directory, upstream), caddy(directory, upstream)])
  return started.filter((running) => running !== null)
}

async function nginxProxy(directory: string, upstream: number): Promise<Running | null> {
  const port = await freePort()
  const server = `upstream app { server 127.0.0.1:${upstream}; keepalive 128; }
server { listen 127.0.0.1:${port}; location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection "";
proxy_set_header Host $host; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; proxy_set_header X-Forwarded-Proto $scheme; } }`
  return await startNginx(directory, 'nginx', port, server)
}

async function startNginx(directory: string, name: string, port: number, servers: string): Promise<Running | null> {
  const program = findProgram('nginx')
  if (program === null) return null
  const config = join(directory, `${name}.conf`)
  writeFileSync(
    config,
    `worker_processes 1; daemon off; pid ${directory}/${name}.pid; error_log ${directory}/${name}.log;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 10000000; client_body_temp_path ${directory}/${name}-body; proxy_temp_path ${directory}/${name}-proxy;
fastcgi_temp_path ${directory}/${name}-f; uwsgi_temp_path ${directory}/${name}-u; scgi_temp_path ${directory}/${name}-s;
${servers} }\n`,
  )
  return await run(name, program, ['-c', config, '-p', directory, '-e', `${directory}/${name}.log`], {}, port)
}

async function haproxy(directory: string, upstream: number): Promise<Running | null> {
  const program = findProgram('haproxy')
  if (program === null) return null
  const port = await freePort()
  const config = join(directory, 'haproxy.cfg')
  writeFileSync(
    config,
    `global
  nbthread 1
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  option forwardfor
  http-reuse always
frontend in
  bind 127.0.0.1:${port}
  default_backend app
backend app
  server one 127.0.0.1:${upstream}
`,
  )
  return await run('haproxy', program, ['-db', '-f', config], {}, port)
}

async function caddy(directory: string, upstream: number): Promise<Running | null> {
  const program = findProgram('caddy')
  if (program === null) return null
  const port = await freePort()
  const config = join(directory, 'Caddyfile')
  writeFileSync(
    config,
    `{\n  admin off\n  auto_https off\n}\nhttp://127.0.0.1:${port}, http://localhost:${port} {\n  reverse_proxy 127.0.0.1:${upstream}\n}\n`,
  )
  const env = { GOMAXPROCS: '1', HOME: directory, XDG_DATA_HOME: directory, XDG_CONFIG_HOME: directory }
  return await run('caddy', program, ['run', '--config', config, '--adapter', 'caddyfile'], env, port)
}

async function run(name: string, program: string, args: string[], env: Record<string, string>, port: number): Promise<Running> {
  const child = spawn(program, args, { env, stdio: 'ignore' })
  await untilAnswering(child, port)
  return {
    name,
    port,
    pids: () => [child.pid ?? 0, ...childrenOf(child.pid ?? 0)],
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return
      child.kill('SIGTERM')
      await once(child, 'exit')
    },
  }
}

async function untilAnswering(child: ChildProcess, port: number): Promise<void> {
  for (let attempt = 0; attempt < 500; attempt++) {
    if (child.exitCode !== null) throw new Error(`${child.spawnfile} ended with ${child.exitCode}`)
    try {
      await (await fetch(`http://127.0.0.1:${port}/`, { headers: { connection: 'close' } })).arrayBuffer()
      return
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
  throw new Error(`${child.spawnfile} does not answer on port ${port}`)
}

function childrenOf(pid: number): number[] {
  try {
    return readText(`/proc/${pid}/task/${pid}/children`)
      .split(' ')
      .filter((text) => text.trim() !== '')
      .map(Number)
  } catch {
    return []
  }
}

function readText(path: string): string {
  return readFileSync(path, 'latin1')
}
