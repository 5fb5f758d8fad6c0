import type { DueStatus } from '../../store/sql/outbox-queue.ts'

/** A commit status in the words of one git host. */
export interface StatusRequest {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

type Told = Pick<DueStatus, 'provider' | 'repository' | 'apiUrl' | 'sha' | 'status' | 'description' | 'environment' | 'service'>

const STATES: Readonly<Record<DueStatus['provider'], Readonly<Record<DueStatus['status'], string>>>> = {
  github: { pending: 'pending', success: 'success', failure: 'failure', canceled: 'error' },
  gitlab: { pending: 'pending', success: 'success', failure: 'failed', canceled: 'canceled' },
  gitea: { pending: 'pending', success: 'success', failure: 'failure', canceled: 'error' },
}

/**
 * GitHub: https://docs.github.com/en/rest/commits/statuses#create-a-commit-status
 * GitLab: https://docs.gitlab.com/api/commits/#set-commit-pipeline-status
 * Gitea, Forgejo: `POST /repos/{owner}/{repo}/statuses/{sha}` of their OpenAPI document.
 * Null: the address of the repository does not name one at a git host.
 */
export function statusRequest(told: Told, token: string, targetUrl: string | null): StatusRequest | null {
  const place = placeOf(told)
  if (place === null) return null
  const state = STATES[told.provider][told.status]
  const context = `shiplock/${told.service}/${told.environment}`
  const link = targetUrl === null ? {} : { target_url: targetUrl }
  const common = { 'content-type': 'application/json', accept: 'application/json' }
  if (told.provider === 'gitlab') {
    return {
      url: `${place.api}/projects/${encodeURIComponent(place.path)}/statuses/${told.sha}`,
      headers: { ...common, 'private-token': token },
      body: JSON.stringify({ state, name: context, description: told.description, ...link }),
    }
  }
  const [owner = '', name = ''] = place.path.split('/').slice(-2)
  return {
    url: `${place.api}/repos/${encodeURIComponent(owner)}/${encodeURIComponent(name)}/statuses/${told.sha}`,
    headers:
      told.provider === 'github'
        ? { ...common, accept: 'application/vnd.github+json', 'x-github-api-version': '2022-11-28', authorization: `Bearer ${token}` }
        : { ...common, authorization: `token ${token}` },
    body: JSON.stringify({ state, context, description: told.description, ...link }),
  }
}

/** GitLab answers so when the commit has that state already. */
export function isRepetition(provider: DueStatus['provider'], answer: { readonly status: number; readonly text: string }): boolean {
  return provider === 'gitlab' && answer.status === 400 && answer.text.includes('Cannot transition status')
}

/** Of `https://host/owner/name.git`, `ssh://git@host/owner/name` and `git@host:owner/name`. */
function placeOf({ repository, provider, apiUrl }: Told): { readonly api: string; readonly path: string } | null {
  const scp = /^(?:[\w.-]+@)?([A-Za-z0-9.-]+):(?!\/\/)(.+)$/.exec(repository)
  const text = scp === null ? repository : `ssh://${scp[1]}/${scp[2]}`
  const url = URL.canParse(text) ? new URL(text) : null
  const path = (url === null ? repository : decodeURIComponent(url.pathname))
    .replace(/^\/+(?:~\/+)?/, '')
    .replace(/\/+$/, '')
    .replace(/\.git$/, '')
  if (path.split('/').length < 2) return null
  if (apiUrl !== null) return { api: apiUrl.replace(/\/+$/, ''), path }
  const host = url?.hostname ?? ''
  if (host === '') return null
  const base = {
    github: host === 'github.com' ? 'https://api.github.com' : `https://${host}/api/v3`,
    gitlab: `https://${host}/api/v4`,
    gitea: `https://${host}/api/v1`,
  }
  return { api: base[provider], path }
}
