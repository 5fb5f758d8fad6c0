import { LIMITS } from '../../core/limits.ts'
import { check } from '../manifest/check.ts'
import { SERVICE_NAME, SERVICE_NAME_RULE } from '../manifest/fields.ts'
import { type ConfigProblem, configInvalid, type Path } from '../manifest/problem.ts'
import { readYaml, type YamlFile } from '../manifest/read-yaml.ts'
import { serviceSchema } from '../manifest/schema.ts'
import { nearest } from '../nearest.ts'
import { valueAt } from '../value-at.ts'
import type { Dialect, ParsedService } from './dialect.ts'
import { type Setup, zeropsSchema } from './zerops-schema.ts'
import { translate } from './zerops-translate.ts'

/** `zerops.yml` as it is. docs/configuration.md says what it can't carry over. */
export const zeropsDialect: Dialect = {
  name: 'zerops',
  fileNames: ['zerops.yaml', 'zerops.yml'],
  parse(text, file) {
    const yaml = readYaml(text, file, new Set(['envVariables']))
    const { value, problems } = check(zeropsSchema, yaml.data ?? {}, yaml.locate)
    if (value === null) throw configInvalid(file, problems)
    const wrong: ConfigProblem[] = []
    const setups = new Setups(value.zerops, yaml, wrong)
    const services = value.zerops.map((setup, index) => setups.service(setup, index))
    if (wrong.length > 0) throw configInvalid(file, wrong)
    return { services }
  },
}

class Setups {
  readonly #all: readonly Setup[]
  readonly #yaml: YamlFile
  readonly #problems: ConfigProblem[]

  constructor(all: readonly Setup[], yaml: YamlFile, problems: ConfigProblem[]) {
    this.#all = all
    this.#yaml = yaml
    this.#problems = problems
  }

  service(setup: Setup, index: number): ParsedService {
    if (!SERVICE_NAME.test(setup.setup)) this.#refuse([index, 'setup'], `is no service name: ${SERVICE_NAME_RULE}`)
    if (this.#all.findIndex((other) => other.setup === setup.setup) !== index)
      this.#refuse([index, 'setup'], 'stands twice: every setup needs a name of its own')
    const chain = this.#chain(index, [])
    const { input, refused, notes } = translate(merged(chain.map((at) => this.#all[at] ?? setup)))
    const placeOf = (path: Path): Path => this.#placeOf(chain, path)
    for (const { path, message } of refused) this.#refuse(placeOf(path), message)
    const { problems } = check(serviceSchema, input, (path) => this.#yaml.locate(['zerops', ...placeOf(theirPath(path))]))
    this.#problems.push(...problems.map((problem) => ({ ...problem, path: `zerops[${index}].${problem.path}` })))
    return {
      name: setup.setup,
      input,
      notes,
      locate: (path) => {
        const theirs = theirPath(path.split('.'))
        const at = chain.findLast((each) => valueAt(this.#all[each], theirs) !== undefined)
        return at === undefined ? null : this.#yaml.locate(['zerops', at, ...theirs])
      },
    }
  }

  /** Indexes of a setup and all that it extends, what is overridden first. */
  #chain(index: number, open: readonly number[]): number[] {
    const names = [this.#all[index]?.extends ?? []].flat()
    const chain: number[] = []
    for (const name of names) {
      const parent = this.#all.findIndex(({ setup }) => setup === name)
      const near = nearest(
        name,
        this.#all.map(({ setup }) => setup),
      )
      if (parent < 0)
        this.#refuse([index, 'extends'], `names ${name}, which is no setup of this file${near === null ? '' : `, did you mean ${near}?`}`)
      else if (parent === index || open.includes(parent)) this.#refuse([index, 'extends'], `leads back to itself by ${name}`)
      else chain.push(...this.#chain(parent, [...open, index]))
      // Setups that extend each other twice over would double with every step.
      if (chain.length > LIMITS.services) break
    }
    return [...chain.slice(0, LIMITS.services), index]
  }

  /** The nearest setup of the chain that says something there; the last one otherwise. */
  #placeOf(chain: readonly number[], path: Path): Path {
    const at = chain.findLast((each) => valueAt(this.#all[each], path) !== undefined) ?? chain.at(-1) ?? 0
    return [at, ...path]
  }

  #refuse(place: Path, message: string): void {
    const [index, ...path] = place
    const shown = `zerops[${index}]${path.map((part) => `.${part}`).join('')}`
    if (this.#problems.some((problem) => problem.path === shown && problem.message === message)) return
    this.#problems.push({ path: shown, position: this.#yaml.locate(['zerops', ...place]), message })
  }
}

/** Merged section by section: within build, deploy and run the later setup's keys win as a whole. */
function merged(chain: readonly Setup[]): Setup {
  let result: Setup = { setup: '' }
  for (const setup of chain)
    result = {
      ...result,
      ...setup,
      ...section('build', result, setup),
      ...section('deploy', result, setup),
      ...section('run', result, setup),
    }
  return result
}

function section<Name extends 'build' | 'deploy' | 'run'>(name: Name, base: Setup, setup: Setup): Partial<Pick<Setup, Name>> {
  if (base[name] === undefined && setup[name] === undefined) return {}
  return { [name]: { ...base[name], ...setup[name] } } as Partial<Pick<Setup, Name>>
}

/** Where a native path came from, in the words of that file. */
function theirPath(path: Path): Path {
  const [section, key, ...rest] = path
  if (key === 'env') return [section ?? '', 'envVariables', ...rest]
  if (section !== 'run') return path
  if (key === 'port') return ['run', 'ports']
  if (key === 'staticRoot') return ['run', 'documentRoot']
  return path
}
