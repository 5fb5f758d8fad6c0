export interface HostNames {
  readonly project: string
  readonly environment: string
  readonly service: string
}

/** `<service>.<domain>`, with what differs from the defaults in between: `api-staging`, `api-shop`, `api-staging-shop`. */
export function hostFor(names: HostNames, defaults: Omit<HostNames, 'service'>, domain: string): string {
  const environment = names.environment === defaults.environment ? [] : [names.environment]
  const project = names.project === defaults.project ? [] : [names.project]
  return `${[names.service, ...environment, ...project].join('-')}.${domain}`
}
