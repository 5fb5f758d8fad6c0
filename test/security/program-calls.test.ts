import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'

/**
 * Every place where the server starts another program: which, on whose input, and as whom. What reads what strangers wrote goes through a
 * room (`core/foreign-programs.ts`) or the sandbox; a program that does not says here why its input is harmless to it.
 */
const CALLS: Readonly<Record<string, string>> = {
  'builders/dockerfile/docker-client.ts': 'docker version, docker buildx version: no input of a tenant; empty configuration of its own',
  'builders/dockerfile/dockerfile-builder.ts':
    'docker build: sends the context, whose links are checked before (`build-context.ts`) and never followed out of it; what runs, runs in the engine',
  'builders/recipe/confined-run.ts': 'what a recipe says: in the sandbox, as the tenant’s user',

  'core/cgroup-detect.ts': 'sh, a constant script: the server’s own cgroup',
  'core/directory-lock.ts': 'ps -o lstart=: when a process began',
  'core/disk-use.ts': 'du: counts, follows no link, opens no file',
  'core/exec.ts': 'the one that starts what the others name',
  'core/give-tree.ts': 'chown -hR: changes links themselves, enters none, opens no file',
  'builders/recipe/runtime-layer-store.ts': 'chown -hR, as core/give-tree.ts',
  'cli/server-process.ts': 'the server itself, by whoever types the command',
  'edge/embedded/crew.ts': 'the edge’s own workers',
  'edge/embedded/edge-process.ts': 'the edge’s own process',
  'edge/embedded/launch.ts': 'the edge’s own process',
  'artifacts/tree-store.ts': 'sync -f: the file system of the store',
  'runtimes/process/exec-beside.ts': 'release commands and tasks: in the sandbox, as the tenant’s user',
  'runtimes/process/log-watch.ts': 'fallocate: punches holes into a log whose content it does not read',
  'runtimes/process/own-copy.ts': 'cp -a --no-dereference of a stored artifact, which is checked for links out and written by nobody',
  'runtimes/process/supervisor.ts': 'instances: in the sandbox, as the tenant’s user',
  'sandbox/confined-programs.ts': 'git, ssh, ssh-keyscan: in a room, as a user of their own per project',
  'sandbox/create-sandbox.ts': 'bwrap on /usr/share: finds out whether it works here',
  'sandbox/network/network-tools.ts':
    'ip, nft, iptables, nsenter: rules and names of the server’s own making; ports are numbers, projects are not in them',
  'scanner/trivy.ts':
    'Trivy on trees and images: reads, runs nothing of them; a room of its own as working directory, no configuration or ignore file of the tree',
  'store/embedded/binaries.ts': 'postgres --version',
  'store/embedded/initialize.ts': 'initdb and rm in the database’s own directory, as the database’s user',
  'store/embedded/postmaster.ts': 'postgres, as the database’s user',
  'store/embedded/process-table.ts': 'ps: the processes of this host',
}

/** The ways to start one: what Node has, and our own around it. A type alone starts nothing. */
const IMPORTS = /^import (?!type )[^;]*?from 'node:child_process'|import\('node:child_process'\)|^import \{[^}]*\brunCommand\b[^}]*\} from/m
const SOURCE = join(import.meta.dirname, '../../src')

function callers(): string[] {
  return readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts'))
    .filter((path) => IMPORTS.test(readFileSync(join(SOURCE, path), 'utf8')))
    .sort()
}

test('I13: every place that starts a program is known, with whose input it reads and as whom', () => {
  expect(callers()).toEqual(Object.keys(CALLS).sort())
})

test('I13: nothing starts a program through a shell string or a worker of another kind', () => {
  const wrong = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' })
    .filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts'))
    .filter((path) => /\bexecSync\(|shell:\s*true|\bcluster\.fork\(|from 'node:cluster'/.test(readFileSync(join(SOURCE, path), 'utf8')))
  expect(wrong).toEqual([])
})
