import { createHash } from 'node:crypto'
import type { BuildRequest } from '../builder.ts'

/** On images that builds make; garbage collection finds them by these. Names as those on containers. */
export const IMAGE_LABEL = {
  owner: 'shiplock.owner',
  kind: 'shiplock.kind',
  project: 'shiplock.project',
  serviceEnvironment: 'shiplock.service-environment',
  deployment: 'shiplock.deployment',
  title: 'shiplock.title',
} as const

const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/
const TAG = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$/
const COMPONENT_MAX = 80

/** `shiplock/<project>/<service>:<deployment>`. A name that no image may have is replaced by a readable rest and a digest, never shortened to another's. */
export function localTag({ names, key }: Pick<BuildRequest, 'names' | 'key'>): string {
  const tag = TAG.test(key) ? key : digestOf(key)
  return `shiplock/${component(names.project)}/${component(names.service)}:${tag}`
}

export function imageLabels(owner: string, request: Pick<BuildRequest, 'names' | 'key' | 'projectId' | 'serviceEnvironmentId'>) {
  const { names } = request
  return {
    [IMAGE_LABEL.owner]: owner,
    [IMAGE_LABEL.kind]: 'image',
    [IMAGE_LABEL.project]: request.projectId,
    [IMAGE_LABEL.serviceEnvironment]: request.serviceEnvironmentId,
    [IMAGE_LABEL.deployment]: request.key,
    [IMAGE_LABEL.title]: `${names.project}/${names.environment}/${names.service}`,
  }
}

/** Names what belongs to one project's environment in a builder: its cache mounts, the results of its steps. */
export function buildScope(owner: string, { projectId, environmentId }: Pick<BuildRequest, 'projectId' | 'environmentId'>): string {
  const digest = createHash('sha256')
    .update(JSON.stringify([owner, projectId, environmentId]))
    .digest('hex')
  return `shiplock-${digest.slice(0, 24)}`
}

function component(name: string): string {
  if (COMPONENT.test(name) && name.length <= COMPONENT_MAX) return name
  const rest = name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
    .slice(0, 40)
    .replace(/-$/, '')
  return `${rest === '' ? 'x' : rest}-${digestOf(name)}`
}

function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 12)
}
