// An app of a hostile tenant: does what it is told. GET /sh?c=<shell command> begins it and answers; anything else answers its version.
import { spawn } from 'node:child_process'
import { createServer } from 'node:http'

createServer((request, response) => {
  const url = new URL(request.url, 'http://app')
  if (url.pathname === '/sh') {
    const child = spawn('/bin/sh', ['-c', url.searchParams.get('c')], { stdio: ['ignore', 'inherit', 'inherit'] })
    let answered = false
    const answer = (text) => {
      if (!answered) response.end(text)
      answered = true
    }
    if (url.searchParams.has('wait')) child.once('exit', (code) => answer(`exit ${code}`))
    else child.once('spawn', () => answer('begun'))
    child.once('error', (error) => answer(`error ${error.message}`))
    return
  }
  response.setHeader('x-version', process.env.VERSION ?? '')
  response.end(`pid ${process.pid}`)
}).listen(Number(process.env.PORT), process.env.LISTEN ?? '127.0.0.1')
