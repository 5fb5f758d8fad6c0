import type { ServiceInput } from '../manifest/schema.ts'
import type { Setup } from './zerops-schema.ts'

type Run = NonNullable<Setup['run']>
type Routing = NonNullable<Run['routing']>
type Site = NonNullable<NonNullable<ServiceInput['run']>['site']>
type Redirect = NonNullable<Site['redirects']>[number]

/** That platform shows index.html for every path of no file, if its `static` base serves them. */
export function siteOf(run: Run, isSite: boolean, refuse: (path: readonly string[], message: string) => void): Site | undefined {
  const { routing } = run
  if (!isSite) {
    if (routing !== undefined) refuse(['run', 'routing'], 'is for static sites: base static')
    return undefined
  }
  const isSinglePage = /^static(@|$)/.test(run.base ?? '')
  if (routing?.root !== undefined) refuse(['run', 'routing', 'root'], 'has no equivalent: name the directory in run.documentRoot')
  const redirects = routing?.redirects?.map(redirectOf)
  const headers = headersOf(routing)
  return {
    ...(isSinglePage ? { singlePage: true } : {}),
    ...(redirects === undefined ? {} : { redirects }),
    ...(headers.length === 0 ? {} : { headers }),
  }
}

/** Without a status a path of the site is shown under the address that was asked for, an address of another leads there. */
function redirectOf({ from, to, status, preservePath }: NonNullable<Routing['redirects']>[number]): Redirect {
  const target = preservePath === true && from.endsWith('*') ? `${to.replace(/\/+$/, '')}/:splat` : to
  const isRewrite = status === undefined && to.startsWith('/')
  // Everything shown as one page is meant for what is no file.
  return { from, to: target, status: isRewrite ? 200 : ((status ?? 302) as Redirect['status']), force: !(isRewrite && from === '/*') }
}

/** Values stand there as in a file of nginx: `"'*' always"`. */
function headersOf(routing: Routing | undefined): NonNullable<Site['headers']> {
  const cors = routing?.cors === undefined ? [] : [{ for: '/*', values: { 'Access-Control-Allow-Origin': unquoted(routing.cors) } }]
  const own = (routing?.headers ?? []).map(({ for: path, values }) => ({
    for: path,
    values: Object.fromEntries(Object.entries(values).map(([name, value]) => [name, unquoted(String(value))])),
  }))
  return [...cors, ...own]
}

function unquoted(value: string): string {
  const plain = value.trim().replace(/\s+always$/, '')
  return /^(["']).*\1$/.test(plain) ? plain.slice(1, -1) : plain
}
