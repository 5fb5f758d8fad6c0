import { expect, test } from 'vitest'
import { hostFor } from './host-name.ts'

const DEFAULTS = { project: 'default', environment: 'production' }

test.each([
  ['default', 'production', 'api.localhost'],
  ['default', 'staging', 'api-staging.localhost'],
  ['shop', 'production', 'api-shop.localhost'],
  ['shop', 'staging', 'api-staging-shop.localhost'],
])('api of %s in %s is %s', (project, environment, host) => {
  expect(hostFor({ project, environment, service: 'api' }, DEFAULTS, 'localhost')).toBe(host)
})
