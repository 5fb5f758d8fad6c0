import { LIMITS } from '../../core/limits.ts'
import { ERROR_HEADER } from './headers.ts'

/** What the edge itself answers. The code stands in `x-shiplock-error`; nothing is said about other hosts or about addresses. */
export const EDGE_ERRORS = {
  'bad-request': { status: 400, title: 'Bad request', text: 'The request could not be understood.' },
  'unknown-host': { status: 404, title: 'Not found', text: 'Nothing is served under this address.' },
  'method-refused': { status: 405, title: 'Method not allowed', text: 'This method is not served here.' },
  'header-too-large': {
    status: 431,
    title: 'Request header too large',
    text: `The request header is larger than the ${LIMITS.requestHeaderBytes / 1024} KiB that are accepted.`,
  },
  'version-refused': { status: 505, title: 'HTTP version not supported', text: 'HTTP/1.1 and HTTP/1.0 are served here.' },
  'request-timeout': { status: 408, title: 'Request timeout', text: 'The request did not arrive in time.' },
  'instance-unreachable': { status: 502, title: 'Bad gateway', text: 'The application could not be reached.' },
  'instance-failed': { status: 502, title: 'Bad gateway', text: 'The application ended the request without an answer.' },
  'instance-invalid': { status: 502, title: 'Bad gateway', text: 'The application gave an answer that is not valid HTTP.' },
  'no-instance': { status: 503, title: 'Service unavailable', text: 'No instance of the application is running.' },
  overloaded: { status: 503, title: 'Service unavailable', text: 'The application has as many requests as it can take.' },
  held: { status: 503, title: 'Service unavailable', text: 'The application is being replaced. Please try again in a moment.' },
  'instance-timeout': { status: 504, title: 'Gateway timeout', text: 'The application did not answer in time.' },
  'drain-deadline': {
    status: 504,
    title: 'Gateway timeout',
    text: 'The version that took this request was replaced before it had answered.',
  },
} as const
export type EdgeErrorCode = keyof typeof EDGE_ERRORS

export interface ErrorPage {
  readonly status: number
  readonly headers: readonly string[]
  readonly body: string
}

/** HTML for those who ask for it by name, plain text for everybody else. `what`: more about it, in words of the edge's own. */
export function errorPage(code: EdgeErrorCode, accept: string | undefined, what?: string): ErrorPage {
  const { status, title, text: said } = EDGE_ERRORS[code]
  const text = what === undefined ? said : `${said.replace(/\.$/, '')}: ${what}.`
  const isHtml = accept?.includes('text/html') ?? false
  const body = isHtml ? html(status, title, text) : `${status} ${title}: ${text}\n`
  const headers = [
    ERROR_HEADER,
    code,
    'content-type',
    `${isHtml ? 'text/html' : 'text/plain'}; charset=utf-8`,
    'content-length',
    String(Buffer.byteLength(body)),
    'cache-control',
    'no-store',
  ]
  if (status === 503) headers.push('retry-after', '1')
  return { status, headers, body }
}

function html(status: number, title: string, text: string): string {
  return (
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">` +
    `<title>${status} ${title}</title><style>body{font:16px/1.5 system-ui,sans-serif;max-width:34rem;margin:20vh auto;padding:0 1rem;` +
    `color:#222}h1{font-size:1.4rem}@media(prefers-color-scheme:dark){body{background:#111;color:#ddd}}</style></head>` +
    `<body><h1>${status} ${title}</h1><p>${text}</p></body></html>\n`
  )
}
