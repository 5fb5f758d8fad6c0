import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { temporaryDirectory } from '../../test/support/temporary-directory.ts'
import type { EnvironmentId, ProjectId } from '../domain/ids.ts'
import type { Tenant } from '../domain/tenant.ts'
import { TenantUsers } from './tenant-users.ts'

const tenant = (project: string, environment: string | null): Tenant => ({
  projectId: `prj_${project}` as ProjectId,
  environmentId: environment === null ? null : (`env_${environment}` as EnvironmentId),
})
const living =
  (...names: readonly string[]) =>
  async () =>
    new Set(names.map((name) => `env_${name}` as EnvironmentId))

describe('TenantUsers', () => {
  test('I10: every environment of every project has a user of its own, also when they come at once', async () => {
    const users = new TenantUsers(temporaryDirectory())
    const tenants = Array.from({ length: 20 }, (_, index) => tenant(String(index % 4), String(index)))
    const given = await Promise.all(tenants.map((one) => users.userOf(one)))
    expect(new Set(given).size).toBe(20)
    for (const user of given) expect(user).toBeGreaterThanOrEqual(200_000)
  })

  test('an environment keeps its user over restarts, and a new one gets another', async () => {
    const directory = temporaryDirectory()
    const before = await new TenantUsers(directory).userOf(tenant('a', 'production'))
    const after = new TenantUsers(directory)
    expect(await after.userOf(tenant('a', 'staging'))).not.toBe(before)
    expect(await after.userOf(tenant('a', 'production'))).toBe(before)
  })

  test('I10: what a server gave away while another one of the same directory worked is not given a second time', async () => {
    const directory = temporaryDirectory()
    const [one, other] = [new TenantUsers(directory), new TenantUsers(directory)]
    const first = await one.userOf(tenant('a', 'x'))
    const second = await other.userOf(tenant('b', 'y'))
    const third = await one.userOf(tenant('c', 'z'))
    expect(new Set([first, second, third]).size).toBe(3)
    expect(await one.userOf(tenant('b', 'y'))).toBe(second)
  })

  test('I10: the user that a project had before its environments were told apart is never that of one of them', async () => {
    const directory = temporaryDirectory()
    await writeFile(join(directory, 'users.json'), '{"prj_a": 200123}')
    const users = new TenantUsers(directory)
    expect(await users.userOf(tenant('a', null))).toBe(200_123)
    expect(await users.userOf(tenant('a', 'production'))).not.toBe(200_123)
    expect(await users.userOf(tenant('a', null))).toBe(200_123)
  })

  test('I10: users of environments that are gone are given again only when no fresh one is left, and only theirs', async () => {
    const directory = temporaryDirectory()
    const users = new TenantUsers(directory, 3)
    const [old, kept] = [await users.userOf(tenant('a', 'preview-1')), await users.userOf(tenant('a', 'production'))]
    await users.retain(living('production'))
    const fresh = await users.userOf(tenant('a', 'preview-2'))
    expect([old, kept]).not.toContain(fresh)
    expect(await users.userOf(tenant('a', 'preview-3'))).toBe(old)
    await expect(users.userOf(tenant('a', 'preview-4'))).rejects.toThrow(/all 3 users/)
    expect(await users.userOf(tenant('a', 'production'))).toBe(kept)
    expect(Object.keys(JSON.parse(await readFile(join(directory, 'users.json'), 'utf8')))).toHaveLength(3)
  })

  test('I10: a file that can not be read gives no user, rather than one of somebody else', async () => {
    const directory = temporaryDirectory()
    await writeFile(join(directory, 'users.json'), '{"prj_a": 2000')
    await expect(new TenantUsers(directory).userOf(tenant('b', 'x'))).rejects.toThrow(/can't be read/)
  })
})
