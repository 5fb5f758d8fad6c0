import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { temporaryDirectory } from '../../test/support/temporary-directory.ts'
import type { ProjectId } from '../domain/ids.ts'
import { ProjectUsers } from './project-users.ts'

const project = (name: string) => `prj_${name}` as ProjectId

describe('ProjectUsers', () => {
  test('I10: every project has a user of its own, also when they come at once', async () => {
    const users = new ProjectUsers(temporaryDirectory())
    const given = await Promise.all(Array.from({ length: 20 }, (_, index) => users.userOf(project(String(index)))))
    expect(new Set(given).size).toBe(20)
    for (const user of given) expect(user).toBeGreaterThanOrEqual(200_000)
  })

  test('a project keeps its user over restarts, and a new one gets another', async () => {
    const directory = temporaryDirectory()
    const before = await new ProjectUsers(directory).userOf(project('a'))
    const after = new ProjectUsers(directory)
    expect(await after.userOf(project('b'))).not.toBe(before)
    expect(await after.userOf(project('a'))).toBe(before)
  })

  test('I10: a file that can not be read gives no user, rather than one of somebody else', async () => {
    const directory = temporaryDirectory()
    await writeFile(join(directory, 'users.json'), '{"prj_a": 2000')
    await expect(new ProjectUsers(directory).userOf(project('b'))).rejects.toThrow(/can't be read/)
  })
})
