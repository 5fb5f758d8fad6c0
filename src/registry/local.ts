import type { Registry } from './registry.ts'

/** For a single host without a registry: nothing is pushed, and the deployment's record says so. */
export function createLocalRegistry(): Registry {
  return {
    name: 'local',
    publish: async ({ artifact, onLine }) => {
      const what = artifact.kind === 'tree' ? 'artifact store' : 'image store'
      const note = `no registry is configured: ${artifact.digest.slice(0, 19)} is kept in the ${what} of this server`
      onLine(note)
      return { reference: null, note }
    },
  }
}
