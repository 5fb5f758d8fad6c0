import { chmod } from 'node:fs/promises'
import { killGroup } from '../../src/core/exec.ts'
import type { Sandbox } from '../../src/sandbox/sandbox.ts'

/** Confines nothing: for tests of what uses a sandbox. Knows the groups that were attached, so that `kill` ends those. */
export function createPlainSandbox(): Sandbox & { readonly removed: readonly string[] } {
  const groups = new Map<string, Set<number>>()
  const removed: string[] = []
  return {
    removed,
    containers: null,
    description: {
      kind: 'none',
      filesystem: false,
      processes: false,
      memory: false,
      cpu: false,
      ownUser: false,
      systemCalls: false,
      summary: 'nothing confines this build (test)',
    },
    prepare: async (spec) => ({
      file: spec.argv[0] ?? '',
      args: spec.argv.slice(1),
      env: { ...spec.env, PATH: [...(spec.searchFirst ?? []), spec.env.PATH ?? process.env.PATH ?? '/usr/bin:/bin'].join(':') },
      cwd: `${spec.directory}/${spec.workingDirectory}`,
      insidePath: spec.directory,
      killFile: null,
      attach: (pid) => {
        const known = groups.get(spec.name) ?? new Set()
        groups.set(spec.name, known.add(pid))
      },
    }),
    kill: async (name) => {
      for (const group of groups.get(name) ?? []) await killGroup(group, 0)
      groups.delete(name)
    },
    processes: (name) => [...(groups.get(name) ?? [])],
    list: async () => [...groups.keys()],
    usage: async () => ({ oomKilled: false, memoryPeakBytes: null }),
    remove: async (name) => void removed.push(name),
    enclose: async () => {},
    own: async (directory) => chmod(directory, 0o755),
  }
}
