// An app of a hostile tenant that says what it found: POST /sh runs its body as a shell command and answers with all that it printed.
import { spawn } from 'node:child_process'
import { createServer } from 'node:http'

const OUTPUT_MAX = 2_000_000
const COMMAND_MS = 30_000

createServer((request, response) => {
  if (request.method !== 'POST') return response.end(`tenant ${process.pid}`)
  let command = ''
  request.setEncoding('utf8').on('data', (text) => {
    command += text
  })
  request.on('end', () => {
    const child = spawn('/bin/sh', ['-c', command], { stdio: ['ignore', 'pipe', 'pipe'], detached: true })
    let said = ''
    for (const output of [child.stdout, child.stderr]) {
      output.on('data', (chunk) => {
        if (said.length < OUTPUT_MAX) said += chunk.toString('latin1')
      })
    }
    const timer = setTimeout(() => child.kill('SIGKILL'), COMMAND_MS)
    child.once('error', (error) => response.end(`not started: ${error.message}`))
    child.once('exit', (code, signal) => {
      clearTimeout(timer)
      response.end(`${said}\nended with ${signal ?? code}`)
    })
  })
}).listen(Number(process.env.PORT), process.env.LISTEN ?? '127.0.0.1')
