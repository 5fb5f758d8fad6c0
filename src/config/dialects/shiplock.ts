import { check } from '../manifest/check.ts'
import { configInvalid } from '../manifest/problem.ts'
import { readYaml } from '../manifest/read-yaml.ts'
import { manifestSchema, type ServiceInput } from '../manifest/schema.ts'
import type { Dialect } from './dialect.ts'

/** The native file. */
export const shiplockDialect: Dialect = {
  name: 'shiplock',
  fileNames: ['shiplock.yaml', 'shiplock.yml'],
  parse(text, file) {
    const yaml = readYaml(text, file, new Set(['env', 'args']))
    const { value, problems } = check(manifestSchema, yaml.data ?? {}, yaml.locate)
    if (value === null) throw configInvalid(file, problems)
    return {
      services: Object.entries(value.services).map(([name, input]) => ({
        name,
        input: input satisfies ServiceInput,
        locate: (path) => yaml.locate(['services', name, ...path.split('.')]),
        notes: [],
      })),
    }
  },
}
