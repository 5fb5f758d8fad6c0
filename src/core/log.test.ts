import { expect, test } from 'vitest'
import { createLogger, silentLogger } from './log.ts'

function capture(level: Parameters<typeof createLogger>[0]) {
  const lines: string[] = []
  return { logger: createLogger(level, (line) => lines.push(line)), lines }
}

test('each line is one JSON object with time, level and what was said', () => {
  const { logger, lines } = capture('info')
  logger.info('began\nto work', { id: 7 })
  expect(lines).toHaveLength(1)
  expect(lines[0]?.endsWith('\n')).toBe(true)
  expect(lines[0]?.slice(0, -1)).not.toContain('\n')
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ level: 'info', message: 'began\nto work', id: 7, at: expect.stringMatching(/Z$/) })
})

test('only the wanted levels are written', () => {
  for (const [level, count] of Object.entries({ debug: 4, info: 3, warn: 2, error: 1, silent: 0 } as const)) {
    const { logger, lines } = capture(level as 'debug')
    for (const say of ['debug', 'info', 'warn', 'error'] as const) logger[say]('x')
    expect(lines).toHaveLength(count)
  }
  expect(() => silentLogger.error('x')).not.toThrow()
})

test('fields are added to every line, and an error is named without its stack', () => {
  const { logger, lines } = capture('debug')
  logger
    .with({ server: 'a' })
    .with({ deployment: 'b' })
    .warn('x', { error: new TypeError('wrong') })
  expect(JSON.parse(lines[0] ?? '')).toMatchObject({ server: 'a', deployment: 'b', error: 'TypeError: wrong' })
})
