import { afterEach, expect, test } from 'vitest'
import { ShiplockError } from './errors.ts'
import { factsOf, OffLoop } from './off-loop.ts'

/** A program that knows some tasks; threads can't run what is not compiled. */
const PROGRAM = `
  const { parentPort } = require('node:worker_threads')
  const tasks = {
    double: (n) => n * 2,
    fail: () => { throw new Error('never caught') },
    spin: () => { for (;;); },
    fill: () => { const all = []; for (;;) all.push(new Array(100_000).fill(Math.random())) },
    leave: () => process.exit(3),
    environment: () => Object.keys(process.env),
  }
  parentPort.on('message', ({ task, input }) => {
    if (task === 'refuse') return parentPort.postMessage({ error: input })
    parentPort.postMessage({ value: tasks[task](input) })
  })`
const entry = new URL(
  `data:text/javascript,${encodeURIComponent(`import { createRequire } from 'node:module'; const require = createRequire('/');${PROGRAM}`)}`,
)
const offLoop = new OffLoop({ entry, deadlineMs: 2000, workers: 1 })
const small = new OffLoop({ entry, deadlineMs: 60_000, workers: 1, memoryMb: 16 })
afterEach(async () => {
  expect(await offLoop.run('double', 21, 'doubling')).toBe(42)
})

test('what is asked one after another is answered, by one thread that has nothing of the server’s environment', async () => {
  expect(await Promise.all([1, 2, 3].map((n) => offLoop.run('double', n, 'doubling')))).toEqual([2, 4, 6])
  expect(await offLoop.run('environment', null, 'looking')).toEqual([])
})

test('I12: what never ends is ended, with a sentence, and the next one is answered', async () => {
  const spinning = offLoop.run('spin', null, 'reading the configuration')
  const next = offLoop.run('double', 4, 'doubling')
  await expect(spinning).rejects.toMatchObject({ code: 'WORK_TOO_LARGE', message: 'reading the configuration took longer than 2 s' })
  expect(await next).toBe(8)
})

test('I12: what takes all memory is ended, and not the server with it', async () => {
  await expect(small.run('fill', null, 'reading the report')).rejects.toMatchObject({
    code: 'WORK_TOO_LARGE',
    message: 'reading the report took too much memory',
  })
})

test('a refusal comes as it was thrown; a thread that dies fails what it was doing alone', async () => {
  const refusal = new ShiplockError('CONFIG_INVALID', 'shiplock.yaml:3: is wrong', { hint: 'Correct it.', details: { line: 3 } })
  await expect(offLoop.run('refuse', factsOf(refusal), 'reading')).rejects.toMatchObject(factsOf(refusal))
  await expect(offLoop.run('leave', null, 'reading')).rejects.toThrow('the thread that was reading ended with 3')
  await expect(offLoop.run('fail', null, 'reading')).rejects.toThrow('never caught')
})
