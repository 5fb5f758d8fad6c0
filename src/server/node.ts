import { mkdir, readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { formatListenAddress, type ListenAddress, parseListenAddress } from '../config/listen-address.ts'
import { writeFileAtomic } from '../core/atomic-file.ts'
import { ShiplockError } from '../core/errors.ts'
import { randomId } from '../core/random-id.ts'
import { ID_PREFIXES, type NodeId } from '../domain/ids.ts'
import type { Database, Queryable } from '../store/database.ts'
import { inheritNodes, listNodes, lockNodes, type NodeRow, saveNode } from '../store/sql/nodes.ts'

/** Where the instances, artifacts, edge and keys of a server are: its own data directory, or that of a server it stands beside. */
export interface Node {
  readonly id: NodeId
  readonly directory: string
  readonly edgeListen: ListenAddress
  /** Its directory is this server's own data directory, or is named in its settings. */
  readonly isHome: boolean
}

interface Wanted {
  /** SHIPLOCK_NODE_DIR; null = decided here. */
  readonly nodeDirectory: string | null
  readonly dataDirectory: string
  readonly edgeListen: ListenAddress
}

const FILE = 'node-id'
const NODE_ID = /^nod_[0-9a-z]+$/

/**
 * Finds the node that a server belongs to, or makes it. Without SHIPLOCK_NODE_DIR: the one that its data directory is, else the one that
 * the database knows and this host can see, else a new one. Throws CONFLICT where servers of another node live: what runs there could not
 * be reached from here (docs/adr/0005-servers-and-nodes.md). `prepare` makes what all its servers must find the same: one at a time.
 */
export async function joinNode<Prepared>(
  database: Database,
  wanted: Wanted,
  prepare: (directory: string) => Promise<Prepared>,
): Promise<{ readonly node: Node; readonly prepared: Prepared }> {
  return database.transaction(async (tx) => {
    await lockNodes(tx)
    const node = await chooseNode(tx, wanted)
    return { node, prepared: await prepare(node.directory) }
  })
}

async function chooseNode(tx: Queryable, wanted: Wanted): Promise<Node> {
  const known = await listNodes(tx)
  const directory = wanted.nodeDirectory ?? wanted.dataDirectory
  const own = await readNodeId(directory)
  if (own !== null || wanted.nodeDirectory !== null) return settleIn(tx, { ...wanted, directory, id: own, known })
  for (const node of known) if ((await readNodeId(node.directory)) === node.id) return beside(node, wanted)
  return settleIn(tx, { ...wanted, directory, id: null, known })
}

/** In a directory that was named, or is its own. */
async function settleIn(
  tx: Queryable,
  { id, directory, known, dataDirectory, edgeListen }: Wanted & { directory: string; id: NodeId | null; known: readonly NodeRow[] },
): Promise<Node> {
  const present = known.find((node) => node.id === id)
  const isOwn = directory === dataDirectory
  if (id !== null && present === undefined && !isOwn) {
    throw new ShiplockError('CONFLICT', `${directory} belongs to servers of another database`, {
      hint: 'Name the directory of a server that uses the same DATABASE_URL, or an empty one.',
    })
  }
  const elsewhere = known.find((node) => node.isAlive && node.id !== id)
  if (elsewhere !== undefined) throw inUse(elsewhere)
  if (present !== undefined && !isOwn) return beside(present, { edgeListen })
  const node = { id: id ?? randomId<NodeId>(ID_PREFIXES.NodeId), host: hostname(), directory, edgeListen: formatListenAddress(edgeListen) }
  await saveNode(tx, node)
  await inheritNodes(tx, node.id)
  if (id === null) {
    await mkdir(directory, { recursive: true, mode: 0o711 })
    await writeFileAtomic(join(directory, FILE), `${node.id}\n`)
  }
  return { id: node.id, directory, edgeListen, isHome: true }
}

function beside(node: NodeRow, { edgeListen }: Pick<Wanted, 'edgeListen'>): Node {
  return { id: node.id, directory: node.directory, edgeListen: parseListenAddress(node.edgeListen) ?? edgeListen, isHome: false }
}

function inUse({ host, directory }: NodeRow): ShiplockError {
  return new ShiplockError('CONFLICT', `this database is served from ${directory} on ${host}, which is not reachable from here`, {
    hint: `Servers that share a database stand on one host: start this one there, or with SHIPLOCK_NODE_DIR=${directory} where that directory is the same one. After a move to another host stop the old server first.`,
    details: { host, directory },
  })
}

async function readNodeId(directory: string): Promise<NodeId | null> {
  const id = (await readFile(join(directory, FILE), 'utf8').catch(() => '')).trim()
  return NODE_ID.test(id) ? (id as NodeId) : null
}
