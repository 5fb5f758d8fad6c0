import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { randomId } from '../../src/core/random-id.ts'
import type { ServerId } from '../../src/domain/ids.ts'
import { joinNode } from '../../src/server/node.ts'
import { freeLeasesOfNode, listServers, noteGone, noteSeen, registerServer } from '../../src/store/sql/servers.ts'
import { freshDatabase, type TestDatabase } from '../support/database.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

let fixture: TestDatabase
let root: string
beforeEach(async () => {
  fixture = await freshDatabase()
  root = temporaryDirectory()
})
afterEach(() => fixture.drop())

function directory(name: string): string {
  const path = join(root, name)
  mkdirSync(path, { recursive: true })
  return path
}

async function joining(data: string, options: { nodeDirectory?: string; port?: number; alive?: boolean } = {}) {
  const { nodeDirectory = null, port = 8080, alive = true } = options
  const wanted = { dataDirectory: directory(data), nodeDirectory, edgeListen: { host: '127.0.0.1', port } }
  const { node } = await joinNode(fixture.database, wanted, async () => null)
  const owner = { serverId: randomId<ServerId>('srv'), bootId: 'b' }
  await registerServer(fixture.database, owner, 'host', node.id)
  if (!alive) await noteGone(fixture.database, owner)
  return { ...node, owner }
}

describe('a node', () => {
  test('is the data directory of the first server; further ones join it, wherever they keep their own data', async () => {
    const first = await joining('a', { port: 8081 })
    expect(first).toMatchObject({ directory: join(root, 'a'), isHome: true })
    const second = await joining('b', { port: 9999 })
    expect(second).toMatchObject({ id: first.id, directory: join(root, 'a'), isHome: false, edgeListen: { port: 8081 } })
    expect(existsSync(join(root, 'b/node-id'))).toBe(false)
    expect(await joining('a')).toMatchObject({ id: first.id, isHome: true })
  })

  test('is joined also when its first server has ended: what runs there is looked after', async () => {
    const first = await joining('a', { alive: false })
    expect(await joining('b')).toMatchObject({ id: first.id, isHome: false })
  })

  test('named in the settings is that one, made when it is new', async () => {
    const shared = join(root, 'shared')
    const first = await joining('a', { nodeDirectory: shared })
    expect(first).toMatchObject({ directory: shared, isHome: true })
    expect(readFileSync(join(shared, 'node-id'), 'utf8').trim()).toBe(first.id)
    expect(await joining('b', { nodeDirectory: shared })).toMatchObject({ id: first.id, isHome: false })
    expect(await joining('c')).toMatchObject({ id: first.id, directory: shared })
  })

  test('of other servers that live and can not be seen from here keeps a server out', async () => {
    await joining('a')
    await fixture.database.query(`update nodes set directory = '/on/another/host'`)
    await expect(joining('b')).rejects.toMatchObject({
      code: 'CONFLICT',
      hint: expect.stringContaining('SHIPLOCK_NODE_DIR=/on/another/host'),
    })
  })

  test('that nobody serves any more is inherited with all its servers’ instances', async () => {
    const first = await joining('a', { alive: false })
    await fixture.database.query(`update nodes set directory = '/on/another/host'`)
    const second = await joining('b')
    expect(second.id).not.toBe(first.id)
    const [row] = await fixture.database.query<{ node_id: string }>('select node_id from servers where id = $1', [first.owner.serverId])
    expect(row?.node_id).toBe(second.id)
  })

  test('of another database is refused, unless it is the server’s own directory', async () => {
    writeFileSync(join(directory('foreign'), 'node-id'), 'nod_foreign\n')
    await expect(joining('a', { nodeDirectory: join(root, 'foreign') })).rejects.toMatchObject({ code: 'CONFLICT' })
    expect(await joining('foreign')).toMatchObject({ id: 'nod_foreign', isHome: true })
  })

  test('servers that start at once agree on one, and on what is prepared in it', async () => {
    let made = 0
    const prepare = async (path: string) => {
      const file = join(path, 'key')
      if (!existsSync(file)) writeFileSync(file, `${++made}`)
      return readFileSync(file, 'utf8')
    }
    const edgeListen = { host: '127.0.0.1', port: 8080 }
    const joined = await Promise.all(
      ['a', 'b', 'c'].map((name) =>
        joinNode(fixture.database, { dataDirectory: directory(name), nodeDirectory: null, edgeListen }, prepare),
      ),
    )
    expect(new Set(joined.map(({ node }) => node.id)).size).toBe(1)
    expect(joined.map(({ prepared }) => prepared)).toEqual(['1', '1', '1'])
  })
})

test('who takes over frees the leases of its node, and no other', async () => {
  const first = await joining('a')
  const second = await joining('b')
  const other: ServerId = randomId<ServerId>('srv')
  await registerServer(fixture.database, { serverId: other, bootId: 'b' }, 'elsewhere')
  await noteSeen(fixture.database, first.owner, true)
  await fixture.database.query(`alter table leases drop constraint leases_deployment_id_fkey`)
  for (const owner of [first.owner.serverId, second.owner.serverId, other]) {
    await fixture.database.query(`insert into leases values ($1, $1, 'b', 1, now() + interval '1 minute')`, [owner])
  }
  await freeLeasesOfNode(fixture.database, second.owner.serverId)
  const free = await fixture.database.query<{ owner: string }>('select owner from leases where expires_at < now()')
  expect(free.map(({ owner }) => owner)).toEqual([first.owner.serverId])
  expect((await listServers(fixture.database)).some(({ isWorking }) => isWorking)).toBe(false)
})
