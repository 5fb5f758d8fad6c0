import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { TestDockerd } from './dockerd.ts'
import { sandboxesOf } from './leak-check.ts'
import type { TestServer } from './server.ts'

/** What really stands where a server runs things. */
export interface Standing {
  /** Ids of instances that run. */
  readonly running: ReadonlySet<string>
  /** Ids of instances of which anything is there, running or not. */
  readonly present: readonly string[]
  /** What should not be there at rest: builds, running tasks, networks that nobody uses. */
  readonly left: readonly string[]
}

export type Place = () => Promise<Standing>

/** Processes of this host. */
export function processPlace(server: TestServer): Place {
  return async () => {
    const running = sandboxesOf(server.dataDirectory)
    const tasks = list(join(server.dataDirectory, 'instances/tasks'))
    return {
      running,
      present: list(join(server.dataDirectory, 'instances/instances')),
      left: tasks.filter((name) => running.has(name)).map((name) => `task ${name} still runs`),
    }
  }
}

/** Containers and networks of that server in an engine. */
export function containerPlace(server: TestServer, dockerd: TestDockerd): Place {
  return async () => {
    const ours = `label=shiplock.owner=${ownerOf(server)}`
    const format = '{{.Label "shiplock.kind"}} {{.Label "shiplock.id"}} {{.State}} {{.Label "shiplock.network"}}'
    const found = await lines(dockerd, 'ps', '-a', '--no-trunc', '--filter', ours, '--format', format)
    const containers = found.map((line) => line.split(' '))
    const instances = containers.filter(([kind]) => kind === 'instance')
    const others = containers.filter(([kind, , state]) => kind === 'build' || (kind === 'task' && state === 'running'))
    const used = new Set(containers.map((fields) => fields[3]))
    const networks = await lines(dockerd, 'network', 'ls', '--filter', ours, '--format', '{{.Name}}')
    return {
      running: new Set(instances.flatMap(([, id = '', state]) => (state === 'running' ? id : []))),
      present: instances.map(([, id = '']) => id),
      left: [
        ...others.map(([kind, id, state]) => `${kind} ${id} is ${state}`),
        ...networks.filter((name) => !used.has(name)).map((name) => `the network ${name} has nobody in it`),
      ],
    }
  }
}

/** Takes away what a server that has ended left in an engine that others use after it. */
export async function clearContainers(server: TestServer, dockerd: TestDockerd): Promise<void> {
  const ours = `label=shiplock.owner=${ownerOf(server)}`
  const containers = await lines(dockerd, 'ps', '-aq', '--filter', ours)
  if (containers.length > 0) await dockerd.dockerText('rm', '-f', ...containers)
  const networks = await lines(dockerd, 'network', 'ls', '-q', '--filter', ours)
  if (networks.length > 0) await dockerd.dockerText('network', 'rm', ...networks)
}

function ownerOf(server: TestServer): string {
  return readFileSync(join(server.dataDirectory, 'containers/owner'), 'utf8').trim()
}

async function lines(dockerd: TestDockerd, ...args: string[]): Promise<readonly string[]> {
  return (await dockerd.dockerText(...args)).split('\n').filter(Boolean)
}

function list(directory: string): readonly string[] {
  try {
    return readdirSync(directory)
  } catch {
    return []
  }
}
