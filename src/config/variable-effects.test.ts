import { expect, test } from 'vitest'
import { effectsOf } from './variable-effects.ts'

test.each<[string, string, boolean]>([
  ['PATH', '/x', true],
  ['NODE_ENV', 'production', true],
  ['NODE_ENV', 'test', false],
  ['NPM_CONFIG_PRODUCTION', 'true', true],
  ['npm_config_omit', 'dev', true],
  ['NODE_OPTIONS', '--require ./x.js', true],
  ['LD_PRELOAD', '/x.so', true],
  ['HOME', '/root', true],
  ['JAVA_HOME', '/x', true],
  ['GIT_DIR', '/x', true],
  ['DATABASE_URL', 'x', false],
  ['PATHS', '/x', false],
  ['path', '/x', false],
])('I8: what %s=%s does to builds is told: %s, without the value', (name, value, isTold) => {
  const told = effectsOf([[name, value]])
  expect(told).toHaveLength(isTold ? 1 : 0)
  expect(told.join()).not.toContain(`${value} `)
})
