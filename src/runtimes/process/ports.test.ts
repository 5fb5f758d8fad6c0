import { readdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { temporaryDirectory } from '../../../test/support/temporary-directory.ts'
import type { InstanceId } from '../../domain/ids.ts'
import { isFree, PortBook } from './ports.ts'

const id = (name: string) => `ins_${name}` as InstanceId

const occupy = async (port = 0): Promise<number> => {
  const server = createServer()
  onTestFinished(() => void server.close())
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return (server.address() as { port: number }).port
}

describe('PortBook', () => {
  test('starts at the same time never get one port twice', async () => {
    const directory = temporaryDirectory()
    const books = [new PortBook(directory), new PortBook(directory)]
    const ports = await Promise.all(Array.from({ length: 40 }, (_, index) => (books[index % 2] ?? books[0])?.reserve(id(`${index}`), null)))
    expect(new Set(ports).size).toBe(40)
  })

  test('an instance gets its port again, unless somebody else listens there', async () => {
    const book = new PortBook(temporaryDirectory())
    const port = await book.reserve(id('a'), null)
    expect(await book.reserve(id('a'), port)).toBe(port)
    expect(await book.reserve(id('b'), port)).not.toBe(port)
    await occupy(port)
    expect(await book.reserve(id('a'), port)).not.toBe(port)
  })

  test('a fixed port is given once, and the refusal names the instance that has it', async () => {
    const book = new PortBook(temporaryDirectory())
    const port = await book.reserve(id('probe'), null)
    await book.releaseAll(id('probe'))
    expect(await book.reserveFixed(id('a'), port, () => null)).toBe(port)
    await expect(book.reserveFixed(id('b'), port, () => null)).rejects.toThrow(`port ${port} is already in use by instance ins_a`)
  })

  test('a fixed port on which a stranger listens is refused with its name, and not kept', async () => {
    const directory = temporaryDirectory()
    const port = await occupy()
    expect(await isFree(port)).toBe(false)
    await expect(new PortBook(directory).reserveFixed(id('a'), port, () => null)).rejects.toThrow(new RegExp(`pid ${process.pid}`))
    await expect(new PortBook(directory).reserveFixed(id('a'), port, () => 'shop/production/api')).rejects.toThrow(/shop\/production\/api/)
    expect(await readdir(directory)).toEqual([])
  })

  test('only the owner releases, and a sweep frees what has no owner any more', async () => {
    const directory = temporaryDirectory()
    const book = new PortBook(directory)
    const port = await book.reserve(id('a'), null)
    await book.release(port, id('b'))
    expect(await book.ownerOf(port)).toBe('ins_a')
    await writeFile(join(directory, '20001'), '')
    await book.sweep((owner) => owner === 'ins_a')
    expect(await readdir(directory)).toEqual([String(port)])
  })
})
