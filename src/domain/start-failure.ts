/** What is known when an instance or a release command ended before it could serve. */
export interface StartFailure {
  /** Null where it is not known, or a signal ended it. */
  readonly exitCode: number | null
  /** Last lines of its output, oldest first. */
  readonly tail: readonly string[]
}

interface Row {
  readonly pattern: RegExp
  /** `$1` … are groups of the pattern. */
  readonly hint: string
}

/** Specific before general: what a program says when it can't start, and the one thing to do about it. */
const ROWS: readonly Row[] = [
  {
    pattern: /(?:exec: |: )(gunicorn|uvicorn|daphne|hypercorn|streamlit|waitress-serve|flask|celery): (?:command )?not found/,
    hint: '$1 is not installed: add it to the dependencies (requirements.txt or pyproject.toml).',
  },
  { pattern: /(?:exec: |: )python: (?:command )?not found/, hint: 'This host has Python as python3: start it by that name.' },
  {
    pattern: /(?:exec: |: )(bundle|ruby|rails|puma|rackup): (?:command )?not found/,
    hint: 'There is no $1 here: set run.base: ruby, and install Ruby on the server (apt-get install ruby-full).',
  },
  {
    pattern: /(?:exec: |: )(php|java|deno|dotnet|go): (?:command )?not found/,
    hint: 'There is no $1 here: set run.base to its toolchain, e.g. run.base: $1.',
  },
  {
    pattern: /(?:exec: |: )([\w./+-]+): (?:command )?not found/,
    hint: 'There is no program $1 here: correct run.start, install it in run.prepareCommands, or add the package that brings it.',
  },
  {
    pattern: /No module named '?([\w.]+)'?/,
    hint: 'The Python module $1 is not installed: add it to the dependencies (requirements.txt or pyproject.toml).',
  },
  {
    pattern: /Error loading ASGI app\. (.{1,120})|Failed to find attribute '(\w+)'/,
    hint: 'The start names an application that is not there ($1$2): correct module and name in run.start.',
  },
  {
    pattern: /EADDRINUSE.*?(\d{2,5})\b|[Aa]ddress already in use/,
    hint: 'The port is taken: let the app listen on the variable PORT, or say its fixed one as run.port.',
  },
  {
    pattern: /^KeyError: '([A-Z][A-Z0-9_]+)'/,
    hint: 'The app needs the variable $1: `shiplock env set $1=…`, or `shiplock secret set $1`.',
  },
  {
    pattern:
      /(?:UndefinedValueError: |Set the |[Mm]issing (?:required )?(?:environment |env )?variable:? |[Ee]nvironment variable:? )"?'?`?([A-Z][A-Z0-9_]{2,})\b/,
    hint: 'The app needs the variable $1: `shiplock env set $1=…`, or `shiplock secret set $1`.',
  },
  { pattern: /ImproperlyConfigured: (.{1,160})/, hint: 'Django’s settings are not complete: $1' },
  {
    pattern: /Missing `secret_key_base`|secret_key_base.*(?:missing|must be)/,
    hint: 'Rails needs SECRET_KEY_BASE: `shiplock secret set SECRET_KEY_BASE`.',
  },
  {
    pattern:
      /(?:ECONNREFUSED|[Cc]onnection refused|could not connect to server|Can't connect to).*?(5432|3306|27017|6379|postgres|mysql|mongo|redis)/i,
    hint: 'The app can’t reach its database or cache ($1): set the variable with its address, e.g. `shiplock secret set DATABASE_URL`.',
  },
  {
    pattern: /pattern matches no files|template: .*no such file|TemplateNotFound: (\S+)|TemplateDoesNotExist/,
    hint: 'Templates are not in what was deployed: add their directory to build.deployFiles.',
  },
  {
    pattern: /Cannot find (?:module|package) '([^']+)'/,
    hint: 'The module $1 is not there: add it to the dependencies, or build it before the start.',
  },
  {
    pattern: /no main manifest attribute/,
    hint: 'That jar can’t be started: build one with its dependencies (Spring Boot, shade), and start that.',
  },
  { pattern: /SyntaxError: (.{1,80})/, hint: 'The program does not parse ($1): the version of the language may be older than it needs.' },
  {
    pattern: /(?:EROFS|EACCES|[Rr]ead-only file system|Permission denied):?.{0,40}?['"]?(\/[\w./-]+)?/,
    hint: 'The app may write below its own directory, its HOME and /tmp only ($1).',
  },
]

/** The one thing to do about a start that failed; null where nothing is known. */
export function startFailureHint({ exitCode, tail }: StartFailure): string | null {
  const lines = tail.map((line) => line.slice(0, LINE_CHARACTERS))
  for (const { pattern, hint } of ROWS) {
    for (const line of lines) {
      const match = pattern.exec(line)
      if (match !== null) return hint.replace(/\$(\d)/g, (_, group) => match[Number(group)] ?? '').replace(' ()', '')
    }
  }
  if (exitCode === 0)
    return 'The start command ended by itself, without an error: it has to stay in the foreground (no `&`, no daemon mode) and to listen on the variable PORT.'
  return null
}

const LINE_CHARACTERS = 600
