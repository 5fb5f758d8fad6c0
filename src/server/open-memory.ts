import { join } from 'node:path'
import { MemoryDirectory } from '../core/memory-directory.ts'

/** Where the servers of that data directory keep what no disk shall hold. */
export function openMemory(dataDirectory: string): Promise<MemoryDirectory> {
  return MemoryDirectory.find({ dataDirectory, fallback: join(dataDirectory, 'private') })
}
