import { expect, test } from 'vitest'
import { BuildLog } from './build-log.ts'

function recorded(bytesMax: number) {
  const lines: string[] = []
  return { lines, log: new BuildLog((line, kind) => void lines.push(`${kind} ${line}`), bytesMax) }
}

test('a command of several lines shows each of them', () => {
  const { lines, log } = recorded(100)
  log.command('npm ci\nnpm test\n')
  expect(lines).toEqual(['command $ npm ci', 'command > npm test'])
})

test('I12: output above the bound is dropped, counted, and its end shown', () => {
  const { lines, log } = recorded(100)
  log.command('yes')
  for (let number = 0; number < 100_000; number++) log.output(`line ${number}`)
  log.flush()
  expect(lines.length).toBeLessThan(80)
  expect(lines.at(-1)).toBe('build line 99999')
  expect(lines.find((line) => line.includes('were dropped'))).toMatch(/^engine … \d+ lines \(\d+ bytes\) of output were dropped …$/)
  const shown = lines.filter((line) => line.startsWith('build ')).length
  const dropped = Number(/… (\d+) lines/.exec(lines.join('\n'))?.[1])
  expect(shown + dropped).toBe(100_000)
})

test('output within the bound passes as it is', () => {
  const { lines, log } = recorded(100)
  log.output('a')
  log.output('b')
  log.flush()
  expect(lines).toEqual(['build a', 'build b'])
})

test('the tail belongs to the present command', () => {
  const { log } = recorded(100)
  log.command('one')
  log.output('of one')
  log.command('two')
  log.output('of two')
  expect(log.tail).toEqual(['of two'])
})
