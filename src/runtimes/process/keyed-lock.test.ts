import { expect, test } from 'vitest'
import { KeyedLock } from './keyed-lock.ts'

test('calls with one key run one after another, a failed one does not stop the next, other keys do not wait', async () => {
  const lock = new KeyedLock()
  const seen: string[] = []
  let release = () => {}
  const first = lock.run('a', () => new Promise<void>((resolve) => (release = resolve)).then(() => void seen.push('first')))
  const failing = lock.run('a', async () => {
    seen.push('failing')
    throw new Error('no')
  })
  const last = lock.run('a', async () => seen.push('last'))
  await lock.run('b', async () => seen.push('other'))
  expect(seen).toEqual(['other'])
  release()
  await expect(failing).rejects.toThrow('no')
  await Promise.all([first, last])
  expect(seen).toEqual(['other', 'first', 'failing', 'last'])
})
