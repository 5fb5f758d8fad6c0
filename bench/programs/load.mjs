// Keep-alive clients that never retry; every second request is a POST whose body must come back. argv: port host clients pauseMs.
// Says when every client has had an answer; told `stop` it says what it saw.
import { Agent, request } from 'node:http'

const [port, host, clients, pauseMs] = process.argv.slice(2)
const report = { requests: 0, errors: [] }
let isStopping = false
let answered = 0

function exchange(agent, body) {
  return new Promise((resolve, reject) => {
    const method = body === null ? 'GET' : 'POST'
    const question = request({ port, host: '127.0.0.1', method, agent, headers: { host } }, (response) => {
      const chunks = []
      response.on('data', (chunk) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        if (response.statusCode !== 200) reject(new Error(`${response.statusCode} ${text.slice(0, 200)}`))
        else if (body !== null && text !== body) reject(new Error('the body came back changed'))
        else resolve()
      })
    })
    question.on('error', reject)
    question.end(body ?? undefined)
  })
}

async function client(number) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  for (let count = number; !isStopping; count++) {
    try {
      await exchange(agent, count % 2 === 0 ? null : `body ${number} ${count}`)
      report.requests += 1
      if (count === number && ++answered === Number(clients)) process.send?.('loading')
      if (Number(pauseMs) > 0) await new Promise((done) => setTimeout(done, Number(pauseMs)))
    } catch (error) {
      report.errors.push(String(error))
    }
  }
  agent.destroy()
}

const loops = Array.from({ length: Number(clients) }, (_, number) => client(number))
process.on('message', async () => {
  isStopping = true
  await Promise.all(loops)
  process.send?.(report, () => process.exit(0))
})
process.on('disconnect', () => process.exit(0))
