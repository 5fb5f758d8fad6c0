import type { EventType, NewEvent } from '../domain/event.ts'
import type { InstanceId } from '../domain/ids.ts'
import type { Work } from './work.ts'

export type PendingEvent = NewEvent & { readonly terminal?: boolean }

/** An event about the deployment at hand. */
export function event(
  about: Pick<Work, 'target' | 'deployment'>,
  type: EventType,
  message: string,
  data: Readonly<Record<string, unknown>> = {},
  terminal = false,
): PendingEvent & { instanceId: InstanceId | null } {
  const { deployment, target } = about
  return {
    type,
    message,
    projectId: target.projectId,
    environmentId: target.environmentId,
    serviceId: target.serviceId,
    serviceEnvironmentId: target.id,
    deploymentId: deployment.id,
    instanceId: null,
    data,
    terminal,
  }
}
