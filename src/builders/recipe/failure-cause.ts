import { LIMITS } from '../../core/limits.ts'

/** What is known about a command that failed. */
export interface Failure {
  readonly exitCode: number | null
  readonly signal: string | null
  readonly oomKilled: boolean
  /** Last lines of its output, oldest first. */
  readonly tail: readonly string[]
}

export interface FailureCause {
  readonly cause: string
  /** One thing to do. */
  readonly suggestion: string
}

export interface CauseRow {
  readonly pattern: RegExp
  /** `$1` … are groups of the pattern. */
  readonly cause: string
  readonly suggestion: string
}

/** Programs that builds of other languages call, and what brings each to the server. */
const PROGRAMS: readonly { readonly programs: string; readonly suggestion: string }[] = [
  { programs: 'composer', suggestion: 'Install it on the server: apt-get install composer php-cli.' },
  { programs: 'php', suggestion: 'Set build.base: php, and install it on the server: apt-get install php-cli.' },
  {
    programs: 'bundle|gem|ruby',
    suggestion: 'Set build.base: ruby, and install it on the server: apt-get install ruby-full build-essential.',
  },
  { programs: 'mvn', suggestion: 'Install it on the server (apt-get install maven), or commit the Maven wrapper (mvn wrapper:wrapper).' },
  { programs: 'gradle', suggestion: 'Commit the Gradle wrapper (gradle wrapper), which brings Gradle itself.' },
  { programs: 'java|javac', suggestion: 'Set build.base: java, and install it on the server: apt-get install default-jdk-headless.' },
  {
    programs: 'cargo|rustc',
    suggestion: 'Set build.base: rust, and install it on the server: https://rustup.rs, or apt-get install cargo.',
  },
  {
    programs: 'go',
    suggestion: 'Set build.base: go, and install it on the server in /usr/local/go (https://go.dev/dl), or apt-get install golang-go.',
  },
  { programs: 'python', suggestion: 'This host has Python as python3: call it by that name.' },
  {
    programs: 'pip|pip3',
    suggestion: 'Call it as `python3 -m pip`; where that is not there, install it on the server: apt-get install python3-pip.',
  },
  {
    programs: 'uv|poetry|pdm|pipenv',
    suggestion: 'Install it first, in build.prepareCommands: python3 -m pip install --user --break-system-packages and its name.',
  },
  { programs: 'deno', suggestion: 'Set build.base: deno, and install it on the server: npm install --global deno.' },
  { programs: 'make|gcc|cc|g\\+\\+', suggestion: 'Install it on the server: apt-get install build-essential.' },
]

/** Specific before general; the first row that matches any line of the tail wins. Wording of npm 10, Node 20 to 24, CPython 3.11, git 2, dash, bash, Go 1.22. */
export const CAUSES: readonly CauseRow[] = [
  {
    pattern:
      /Could not open lock file \/var\/lib\/(?:dpkg|apt)|are you root\?|requires superuser privilege|Unable to lock database|sudo: .*not found|sudo: (?:a|unable)/,
    cause: 'system packages can’t be installed here: commands run without root',
    suggestion: 'Install the package on the server, fetch a binary into ~/.local/bin, or build with a Dockerfile.',
  },
  {
    pattern: /No space left on device|ENOSPC/,
    cause: 'the disk is full',
    suggestion: 'Free space on the volume of the data directory; `shiplock doctor` shows what uses it.',
  },
  {
    pattern: /Reached heap limit|JavaScript heap out of memory/,
    cause: 'Node ran out of heap memory',
    suggestion: 'Set NODE_OPTIONS=--max-old-space-size=4096 in build.env, or build less at once.',
  },
  {
    pattern: /Cannot allocate memory|ENOMEM|MemoryError|OutOfMemoryError/,
    cause: 'the build ran out of memory',
    suggestion: 'Lower the parallelism of the build, or give the server more memory.',
  },
  {
    pattern: /EAGAIN|Resource temporarily unavailable|can(?:no|')t fork|fork failed/i,
    cause: 'the build may not start more processes',
    suggestion: 'Look for a script that starts itself again and again; lower the parallelism.',
  },
  {
    pattern: /npm (?:error|ERR!) 404\s+'?(\S+?)'? is not in this registry|404 Not Found - GET \S+\/([^\s/]+) - Not found/,
    cause: 'the package $1$2 is not in the registry',
    suggestion: 'Check its name and version in package.json; for a private package set the registry and its token in build.env.',
  },
  {
    pattern: /different python version: \S+ Requires-Python ([^;\s]+)|requires a different Python: \S+ not in '([^']+)'/,
    cause: 'a package needs Python $1$2, and the Python of this host is another',
    suggestion:
      'Install that Python on the server as python3 (apt, pyenv, mise), or ask for a version of the package that fits in the requirements.',
  },
  {
    pattern: /No module named '?(pip|ensurepip|venv)'?$/,
    cause: 'the Python of this host has no $1',
    suggestion: 'Install it on the server: apt-get install python3-pip python3-venv.',
  },
  {
    pattern: /Multiple top-level (?:packages|modules) discovered in a flat-layout: (.{1,80})/,
    cause: 'setuptools does not know which of the directories are the package: $1',
    suggestion: 'Name them in pyproject.toml ([tool.setuptools] packages = […]), or list the dependencies in a requirements.txt.',
  },
  {
    pattern:
      /pyproject\.toml changed significantly since poetry\.lock|lockfile at `uv\.lock` needs to be updated|poetry\.lock is not up to date/,
    cause: 'the lock file does not fit pyproject.toml',
    suggestion: 'Run `poetry lock` or `uv lock`, commit the lock file, deploy again.',
  },
  {
    pattern: /pg_config executable not found/,
    cause: 'psycopg2 is built from source, and PostgreSQL’s headers are not there',
    suggestion: 'Name psycopg2-binary in the requirements, or install libpq-dev on the server (apt-get install libpq-dev gcc python3-dev).',
  },
  {
    pattern: /requires (?:PHP extension )?ext-(\w+)/,
    cause: 'the PHP of this host has no extension $1',
    suggestion: 'Install it on the server: apt-get install php-$1.',
  },
  {
    pattern: /Your Ruby version is (\S+), but your Gemfile specified (\S+)/,
    cause: 'the Gemfile asks for Ruby $2, and this host has $1',
    suggestion: 'Install that Ruby on the server (rbenv, mise), or loosen `ruby` in the Gemfile.',
  },
  {
    pattern: /release version (\d+) not supported|invalid target release: (\d+)|requires at least JVM runtime version (\d+)/,
    cause: 'the project asks for Java $1$2$3, and this host has an older one',
    suggestion: 'Install it on the server (apt-get install openjdk-21-jdk-headless), or lower the version in the build file.',
  },
  {
    pattern: /go\.mod requires go >= (\S+)|toolchain (?:go)?(\S+) not available|download go(\S+) for/,
    cause: 'go.mod asks for Go $1$2$3, and this host has an older one',
    suggestion: 'Install that Go on the server in /usr/local/go (https://go.dev/dl), or lower `go` in go.mod.',
  },
  {
    pattern: /C compiler "?(\S+?)"? not found|linker `(\S+)` not found/,
    cause: 'the C compiler $1$2 is not there',
    suggestion: 'Install it on the server: apt-get install gcc libc6-dev.',
  },
  {
    pattern: /requires rustc (\S+) or newer|is not supported by the following package/,
    cause: 'a crate needs a newer Rust $1',
    suggestion: 'Update it on the server: rustup update stable.',
  },
  {
    pattern: /^KeyError: '([A-Z][A-Z0-9_]+)'|UndefinedValueError: ([A-Z][A-Z0-9_]+)|ImproperlyConfigured: Set the ([A-Z][A-Z0-9_]+)/,
    cause: 'the build needs the variable $1$2$3',
    suggestion: 'Set it for the project: shiplock env set $1$2$3=…, or shiplock secret set $1$2$3.',
  },
  {
    pattern: /No matching distribution found for (\S+)/,
    cause: 'there is no such Python package: $1',
    suggestion: 'Check its name and version in the requirements.',
  },
  {
    pattern:
      /npm (?:error|ERR!) code (?:EUSAGE|ENOLOCK)|can only install with an existing package-lock|lock file.{0,80}not in sync|not in sync/i,
    cause: '`npm ci` needs a package-lock.json that fits package.json',
    suggestion: 'Run `npm install`, commit package-lock.json, deploy again.',
  },
  {
    pattern: /npm (?:error|ERR!) Missing script: "?([^"\s]+)"?/,
    cause: 'package.json has no script $1',
    suggestion: 'Add it under "scripts", or remove the command from build.buildCommands.',
  },
  {
    pattern: /npm (?:error|ERR!) code (?:ERESOLVE)/,
    cause: 'the versions that the packages ask for contradict each other',
    suggestion: 'Settle it locally with `npm install`, commit package-lock.json and use `npm ci`.',
  },
  {
    pattern: /(?:Cannot find module|Cannot find package|ERR_MODULE_NOT_FOUND.*?) '([^']+)'/,
    cause: 'the module $1 is not there',
    suggestion:
      'Add it to the dependencies, or run the install command before this one (with NODE_ENV=production npm leaves devDependencies out).',
  },
  {
    pattern: /(?:ModuleNotFoundError|python[\d.]*): No module named '?([^'\s]+)'?/,
    cause: 'the Python module $1 is not there',
    suggestion: 'Add it to the requirements and install them first.',
  },
  {
    pattern: /error: externally-managed-environment/,
    cause: 'pip may not change the Python of the host',
    suggestion: 'Use `python3 -m venv`, or `pip install --user --break-system-packages`, which writes below $HOME only.',
  },
  {
    pattern: /fatal error: (\S+): No such file or directory/,
    cause: 'the C header $1 is not there',
    suggestion: 'Install the development package that brings it on the server, or use a prebuilt package.',
  },
  {
    pattern: /no required module provides package (\S+?)[:;]|cannot find module providing package (\S+)/,
    cause: 'the Go package $1$2 is in no module of go.mod',
    suggestion: 'Run `go mod tidy`, commit go.mod and go.sum, deploy again.',
  },
  {
    pattern: /npm (?:error|ERR!) (?:code )?EBADENGINE|The engine "node" is incompatible/,
    cause: 'a package wants another version of Node.js',
    suggestion: 'Name a Node.js that fits in build.base, or change "engines".',
  },
  {
    pattern: /(?:self[- ]signed certificate|unable to get local issuer certificate|certificate verify failed|SELF_SIGNED_CERT_IN_CHAIN)/i,
    cause: 'a TLS certificate is signed by nobody whom the build trusts',
    suggestion: 'Set NODE_EXTRA_CA_CERTS, SSL_CERT_FILE or the like as a variable of the project.',
  },
  {
    pattern: /(?:401 Unauthorized|403 Forbidden|E401|E403|Authentication failed|could not read Username)/,
    cause: 'a registry or repository refused access',
    suggestion: 'Set its token as a secret variable of the project.',
  },
  { pattern: /error TS\d+:/, cause: 'TypeScript found type errors', suggestion: 'Run the type check locally and correct what it names.' },
  { pattern: /SyntaxError: (.{1,80})/, cause: 'a syntax error: $1', suggestion: 'See the file and line above it in the log.' },
  {
    pattern: /getaddrinfo (?:ENOTFOUND|EAI_AGAIN) (\S+)|Could not resolve host:? (\S+)|Temporary failure in name resolution/,
    cause: 'the network name $1$2 can’t be resolved',
    suggestion: 'Check the network of the server and try again.',
  },
  {
    pattern: /ECONNREFUSED|ECONNRESET|ETIMEDOUT|Connection (?:refused|timed out|reset)|network timeout/i,
    cause: 'a network connection failed',
    suggestion: 'Try again; if it stays, check that the server may reach that host.',
  },
  ...PROGRAMS.map(({ programs, suggestion }) => ({
    pattern: new RegExp(`(?:^|[\\s:])(${programs}): (?:command )?not found`),
    cause: 'the command $1 is not there',
    suggestion,
  })),
  {
    pattern: /(?:sh|bash|dash)?:? ?(?:line )?\d+: (?:\S+: )?([^\s:]+): (?:command )?not found|(?:^|\s)([^\s:]+): (?:command )?not found$/,
    cause: 'the command $1$2 is not there',
    suggestion: 'Name its toolchain in build.base, install it in build.prepareCommands, or call it through `npx`.',
  },
  {
    pattern: /(?:EACCES|Permission denied|EROFS|Read-only file system)/,
    cause: 'the build may not write or run that path',
    suggestion: 'Write below the source directory or $HOME; for a script set its executable bit (`git update-index --chmod=+x FILE`).',
  },
  {
    pattern: /No such file or directory|ENOENT/,
    cause: 'a file or directory is missing',
    suggestion: 'Check that it is committed and not in .gitignore or .deployignore.',
  },
]

/** The cause of a failure where the log shows one, with one suggestion; null when it does not. */
export function findFailureCause(failure: Failure): FailureCause | null {
  if (failure.oomKilled) {
    return {
      cause: 'the build used more memory than it may',
      suggestion: 'Lower the parallelism of the build, or give the server more memory.',
    }
  }
  for (const { pattern, cause, suggestion } of CAUSES) {
    for (const line of failure.tail) {
      const match = pattern.exec(tellingPart(line))
      if (match === null) continue
      const filled = (text: string) => text.replace(/\$(\d)/g, (_, group) => match[Number(group)] ?? '').trim()
      return { cause: filled(cause), suggestion: filled(suggestion) }
    }
  }
  if (failure.exitCode === 127) {
    return { cause: 'a command is not there', suggestion: 'Name its toolchain in build.base, or install it in build.prepareCommands.' }
  }
  if (failure.exitCode === 126) {
    return { cause: 'a file is not executable', suggestion: 'Set its executable bit (`git update-index --chmod=+x FILE`).' }
  }
  if (failure.exitCode === 137 || failure.signal === 'SIGKILL') {
    return {
      cause: 'the command was killed, most likely for want of memory',
      suggestion: 'Lower the parallelism of the build, or give the server more memory.',
    }
  }
  return null
}

/** Patterns that look for a word anywhere take time that grows with the square of a line, and what tells stands near one of its ends. */
export function tellingPart(line: string): string {
  const max = LIMITS.causeLineCharacters
  return line.length <= max ? line : `${line.slice(0, max / 2)} … ${line.slice(-max / 2)}`
}
