import { expect, test } from 'vitest'
import { createLogger } from '../core/log.ts'
import { STOP_ORDER, type StopName, Stops } from './stop-order.ts'

const silent = createLogger('silent')

function filled(names: readonly StopName[], failing: readonly StopName[] = []) {
  const stopped: StopName[] = []
  const stops = new Stops(silent)
  for (const name of names)
    stops.set(name, async () => {
      stopped.push(name)
      if (failing.includes(name)) throw new Error(`${name} does not stop`)
    })
  return { stops, stopped }
}

test('parts stop from the last to the first, in whatever order they were named', async () => {
  const { stops, stopped } = filled([...STOP_ORDER].sort())
  await stops.run()
  expect(stopped).toEqual([...STOP_ORDER].reverse())
  expect(stopped.at(-1)).toBe('directory lock')
})

test('a part that does not stop keeps no other from stopping, and none stops twice', async () => {
  const { stops, stopped } = filled(STOP_ORDER, ['duty', 'api'])
  await stops.run()
  await stops.run()
  expect(stopped).toEqual([...STOP_ORDER].reverse())
})

test('what the others stand on has to stop: its failure is that of the stop, after all the rest', async () => {
  const { stops, stopped } = filled(STOP_ORDER, ['duty', 'embedded database'])
  await expect(stops.run()).rejects.toThrow('embedded database does not stop')
  expect(stopped).toHaveLength(STOP_ORDER.length)
})

test('a start that failed half way stops what it had started', async () => {
  const { stops, stopped } = filled(['directory lock', 'embedded database'])
  stops.set('embedded database', async () => void stopped.push('embedded database'))
  await stops.run()
  expect(stopped).toEqual(['embedded database', 'directory lock'])
})
