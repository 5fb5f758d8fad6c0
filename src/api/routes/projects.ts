import { ShiplockError } from '../../core/errors.ts'
import type { Queryable } from '../../store/database.ts'
import { findProjectId } from '../../store/sql/catalog.ts'
import {
  deleteProject,
  type EnvironmentRecord,
  findProject,
  insertEnvironment,
  insertProject,
  listEnvironments,
  listProjects,
  type ProjectRecord,
  setEnvironmentBranch,
  setProjectLimits,
} from '../../store/sql/projects.ts'
import type { Handlers } from '../route-context.ts'
import { decodeCursor, pageOf } from './cursor.ts'

export const projectHandlers: Handlers<
  | 'listProjects'
  | 'createProject'
  | 'getProject'
  | 'setProjectLimits'
  | 'deleteProject'
  | 'listEnvironments'
  | 'createEnvironment'
  | 'changeEnvironment'
> = {
  listProjects: async ({ query }, { dependencies, access }) => {
    const filter = { only: access.visible.project, after: decodeCursor(query.cursor), limit: query.limit + 1 }
    const rows = await listProjects(dependencies.database, filter)
    return pageOf(
      rows,
      query.limit,
      (row) => row,
      (row) => row.name,
    )
  },

  createProject: ({ body }, { once, tell }) =>
    once(async (tx) => {
      if (!(await insertProject(tx, body.name, body.limits))) throw new ShiplockError('CONFLICT', `there is a project ${body.name} already`)
      tell({}, { target: body.name, project: body.name })
      return requireProject(tx, body.name)
    }),

  getProject: ({ params }, { dependencies }) => requireProject(dependencies.database, params.project),

  setProjectLimits: ({ params, body }, { once, tell }) =>
    once(async (tx) => {
      if (!(await setProjectLimits(tx, params.project, body))) throw noProject(params.project)
      tell({}, { target: params.project })
      return requireProject(tx, params.project)
    }),

  deleteProject: ({ params, query }, { once, tell }) => {
    if (query.confirm !== params.project) {
      throw new ShiplockError('INPUT_INVALID', 'query.confirm: is not the name of the project', {
        hint: 'Give the name of the project again.',
      })
    }
    return once(async (tx) => {
      if (!(await deleteProject(tx, params.project))) throw noProject(params.project)
      tell({}, { target: params.project })
      return null
    })
  },

  listEnvironments: async ({ query }, { dependencies, access }) => {
    const project = query.project ?? dependencies.defaults.project
    return { items: await listEnvironments(dependencies.database, project, access.visible.environment), next: null }
  },

  createEnvironment: ({ body }, { dependencies, once, tell }) =>
    once(async (tx) => {
      const project = body.project ?? dependencies.defaults.project
      const projectId = await requireProjectId(tx, project)
      if (!(await insertEnvironment(tx, projectId, body.name, body.branch))) {
        throw new ShiplockError('CONFLICT', `project ${project} has an environment ${body.name} already`)
      }
      tell({}, { target: body.name })
      return requireEnvironment(tx, project, body.name)
    }),

  changeEnvironment: ({ params, query, body }, { dependencies, once, tell }) =>
    once(async (tx) => {
      const project = query.project ?? dependencies.defaults.project
      if (!(await setEnvironmentBranch(tx, project, params.environment, body.branch))) throw noEnvironment(params.environment)
      tell({}, { target: params.environment })
      return requireEnvironment(tx, project, params.environment)
    }),
}

async function requireProject(db: Queryable, name: string): Promise<ProjectRecord> {
  const found = await findProject(db, name)
  if (found === null) throw noProject(name)
  return found
}

export async function requireProjectId(db: Queryable, name: string) {
  const id = await findProjectId(db, name)
  if (id === null) throw noProject(name)
  return id
}

export async function requireEnvironment(db: Queryable, project: string, name: string): Promise<EnvironmentRecord> {
  const [found] = await listEnvironments(db, project, name)
  if (found === undefined) throw noEnvironment(name)
  return found
}

const noProject = (name: string) => new ShiplockError('NOT_FOUND', `no project ${name}`)
const noEnvironment = (name: string) => new ShiplockError('NOT_FOUND', `no environment ${name}`)
