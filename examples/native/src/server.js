import { execFile } from 'node:child_process'
import { createServer } from 'node:http'

const PRIMES = new URL('../bin/primes', import.meta.url).pathname

const server = createServer((request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://native')
  if (pathname === '/healthz') return response.end('ok\n')
  const below = /^\d{1,8}$/.exec(searchParams.get('below') ?? '1000')?.[0] ?? '1000'
  execFile(PRIMES, [below], (error, stdout) => {
    if (error !== null) response.writeHead(400)
    response.end(error === null ? `${stdout.trim()} primes below ${below}\n` : 'a number up to 10000000 is needed\n')
  })
})
server.listen(process.env.PORT)
process.on('SIGTERM', () => server.close())
