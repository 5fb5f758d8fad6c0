import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createRecipeBuilder } from '../../../src/builders/recipe/recipe-builder.ts'
import { silentLogger } from '../../../src/core/log.ts'
import type { EnvironmentId, ProjectId, ServiceEnvironmentId } from '../../../src/domain/ids.ts'
import { createSandbox } from '../../../src/sandbox/create-sandbox.ts'

/** Run as a program: one build of one service after the other, each with other layers, told on stdout, until it is killed. */
const [root = '', from = '0'] = process.argv.slice(2)
const sandbox = await createSandbox({ stateDirectory: join(root, 'sandbox'), logger: silentLogger })
const builder = createRecipeBuilder({ sandbox, logger: silentLogger })
for (let number = Number(from); ; number++) {
  const sourceDirectory = join(root, `killed${number}`)
  mkdirSync(sourceDirectory)
  writeFileSync(join(sourceDirectory, 'number'), String(number))
  await builder.build({
    key: 'dep_same',
    projectId: 'prj_1' as ProjectId,
    environmentId: 'env_1' as EnvironmentId,
    serviceEnvironmentId: 'sen_1' as ServiceEnvironmentId,
    names: { project: 'main', environment: 'production', service: 'app' },
    config: {
      kind: 'recipe',
      base: [],
      os: null,
      prepareCommands: [`for i in $(seq 60); do echo ${number % 2} > ../home/f$i; done`],
      buildCommands: ['mkdir -p deps; n=$(cat number); for i in $(seq 60); do echo "$n" > deps/f$i; done'],
      deployFiles: ['.'],
      cache: ['deps'],
      addToRunPrepare: [],
      env: {},
      timeoutMs: 60_000,
    },
    sourceDirectory,
    workDirectory: join(root, 'work'),
    cacheDirectory: join(root, 'cache', 'sen_1'),
    env: {},
    startCommands: [],
    timeoutMs: 60_000,
    onLine: (line) => process.stdout.write(`${line}\n`),
    signal: new AbortController().signal,
  })
  process.stdout.write(`built ${number}\n`)
}
