// Load while a version replaces another: keep-alive clients that never retry, every second request a POST whose body must come back, and
// one that asks on fresh connections for the version. argv: address port host clients pauseMs. Runs in containers too, so it speaks by
// stdout: a line once every client has had an answer, and after SIGTERM one with what it saw (times as Date.now()).
import { Agent, request } from 'node:http'

const [address, port, host, clients, pauseMs] = process.argv.slice(2)
const report = { requests: 0, lost: 0, firstLost: null, firstSeen: {} }
let isStopping = false
let answered = 0
const pause = (ms) => new Promise((done) => setTimeout(done, ms))

function exchange(agent, body) {
  return new Promise((resolve, reject) => {
    const method = body === null ? 'GET' : 'POST'
    const question = request({ host: address, port, method, agent, headers: { host } }, (response) => {
      const chunks = []
      response.on('data', (chunk) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        if (response.statusCode !== 200) reject(new Error(`${response.statusCode} ${text.slice(0, 200)}`))
        else if (body !== null && text !== body) reject(new Error('the body came back changed'))
        else resolve(text)
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
      if (count === number && ++answered === Number(clients)) process.stdout.write('"loading"\n')
      await pause(Number(pauseMs))
    } catch (error) {
      report.lost += 1
      report.firstLost ??= String(error)
    }
  }
  agent.destroy()
}

async function watcher() {
  while (!isStopping) {
    const version = await exchange(false, null).catch(() => null)
    if (version !== null) report.firstSeen[version] ??= Date.now()
    await pause(5)
  }
}

const loops = [watcher(), ...Array.from({ length: Number(clients) }, (_, number) => client(number))]
process.on('SIGTERM', async () => {
  isStopping = true
  await Promise.all(loops)
  process.stdout.write(`${JSON.stringify(report)}\n`, () => process.exit(0))
})
