/** What the configuration says of a site; comes as JSON in the second argument of the program. */
export interface SiteOptions {
  /** Paths of no file show the site's page, for apps that have their router in the browser. */
  readonly singlePage: boolean
  readonly redirects: readonly RedirectOption[]
  readonly headers: readonly HeadersOption[]
}

export interface RedirectOption {
  readonly from: string
  readonly to: string
  /** 200 shows the target under the address that was asked for, 404 too. */
  readonly status: number
  /** Also where there is a file of that name. */
  readonly force: boolean
}

export interface HeadersOption {
  readonly for: string
  readonly values: Readonly<Record<string, string>>
}

export const PLAIN_SITE: SiteOptions = { singlePage: false, redirects: [], headers: [] }

export function parseSiteOptions(json: string | undefined): SiteOptions {
  if (json === undefined) return PLAIN_SITE
  return { ...PLAIN_SITE, ...(JSON.parse(json) as Partial<SiteOptions>) }
}
