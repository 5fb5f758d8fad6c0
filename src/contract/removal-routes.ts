import { z } from 'zod'
import { Environment } from './access.ts'
import { flag, name, scope, serviceName } from './primitives.ts'
import type { RouteSpec } from './route.ts'
import { Service } from './service.ts'

const cancel = flag.optional().meta({ description: 'Cancel what waits or is under way; without it that is a conflict.' })

/** How things end. The answer comes at once; what is asked for again after the end is not found. */
export const REMOVAL_ROUTES = {
  removeService: {
    method: 'delete',
    path: '/v1/services/{service}',
    tag: 'services',
    needs: { verb: 'manage', within: 'environment' },
    audit: { action: 'service.remove', tells: ['cancel'] },
    summary: 'Take a service out of an environment: its route, instances, releases and deployments go',
    params: z.strictObject({ service: serviceName }),
    query: z.strictObject({ ...scope, cancel }),
    response: Service,
    status: 202,
  },
  removeEnvironment: {
    method: 'delete',
    path: '/v1/environments/{environment}',
    tag: 'projects',
    needs: { verb: 'manage', within: 'environment' },
    audit: { action: 'environment.remove', tells: ['cancel'] },
    summary: 'Remove an environment with all its services and variables; its name must be given again as confirm',
    params: z.strictObject({ environment: name }),
    query: z.strictObject({ project: name.optional(), confirm: name, cancel }),
    response: Environment,
    status: 202,
  },
} as const satisfies Record<string, RouteSpec>
