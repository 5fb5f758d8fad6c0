// Readers of one log. argv: url token count. Each goes away once, somewhere, and comes back with Last-Event-ID.
// When the log ends they say whether every line came exactly once to each, and how late (lines carry the time when they were printed).
import { request } from 'node:http'

const [url, token, count] = process.argv.slice(2)
const delays = []
const problems = []
let started = 0

function stream(reader) {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, accept: 'text/event-stream' }
    if (reader.last > 0) headers['last-event-id'] = String(reader.last)
    const question = request(url, { agent: false, headers }, (response) => {
      if (response.statusCode !== 200) return reject(new Error(`status ${response.statusCode}`))
      if (!reader.hasStarted) announce(reader)
      let rest = ''
      response.setEncoding('utf8')
      response.on('data', (chunk) => {
        const frames = (rest + chunk).split('\n\n')
        rest = frames.pop()
        for (const frame of frames) {
          take(reader, frame)
          if (reader.isOver) return resolve()
          if (reader.last >= reader.leavesAt) {
            reader.leavesAt = Number.POSITIVE_INFINITY
            question.destroy()
            return resolve()
          }
        }
      })
      response.on('close', resolve)
      response.on('error', resolve)
    })
    question.on('error', reject)
    question.end()
  })
}

function announce(reader) {
  reader.hasStarted = true
  started += 1
  if (started === Number(count)) process.send?.({ kind: 'reading' })
}

/** Bare text search: a thousand readers must not be what is measured. */
function take(reader, frame) {
  if (!frame.startsWith('id: ')) {
    if (frame.startsWith('event: end')) reader.isOver = true
    return
  }
  const sequence = Number.parseInt(frame.slice(4, 14), 10)
  if (sequence !== reader.last + 1) problems.push(`reader ${reader.number}: ${sequence} came after ${reader.last}`)
  reader.last = sequence
  const printed = frame.indexOf('tick ')
  const at = printed === -1 ? Number.NaN : Number(frame.slice(printed + 5, printed + 18))
  // The command itself stands in the log too.
  if (Number.isNaN(at)) return
  reader.ticks += 1
  delays.push(Date.now() - at)
}

async function read(number) {
  const reader = { number, last: 0, ticks: 0, leavesAt: 20 + Math.floor(Math.random() * 200), isOver: false, hasStarted: false }
  while (!reader.isOver)
    await stream(reader).catch(
      (error) => problems.push(`reader ${number}: ${error.message}`) && new Promise((again) => setTimeout(again, 100)),
    )
  return reader
}

process.on('disconnect', () => process.exit(0))
const readers = await Promise.all(Array.from({ length: Number(count) }, (_, number) => read(number)))
delays.sort((a, b) => a - b)
const at = (share) => delays[Math.min(delays.length - 1, Math.floor(delays.length * share))] ?? 0
const ticks = readers.map((reader) => reader.ticks)
process.send?.(
  {
    kind: 'done',
    problems: problems.slice(0, 5),
    problemCount: problems.length,
    fewest: Math.min(...ticks),
    most: Math.max(...ticks),
    lines: delays.length,
    p50: at(0.5),
    p99: at(0.99),
    max: at(1),
  },
  () => process.exit(0),
)
