/**
 * Variables that change how builds and instances work before any code of the app runs. They may be set, and are told, since what they break
 * looks like something else: a command that is not there, a package that is missing.
 */
const EFFECTS: readonly { readonly is: (name: string, value: string) => boolean; readonly says: string }[] = [
  {
    is: (name) => name === 'PATH',
    says: 'replaces the directories in which commands are looked for, in builds too: without /usr/bin and those of build.base nothing is found',
  },
  {
    is: (name, value) => name === 'NODE_ENV' && value === 'production',
    says: 'counts in builds too: `npm ci` and the like leave devDependencies out (`npm ci --include=dev` brings them); in run.env it counts in instances only',
  },
  {
    is: (name, value) => /^npm_config_(production|omit|only)$/i.test(name) && value !== 'false',
    says: 'counts in builds too: devDependencies are left out',
  },
  {
    is: (name) =>
      ['NODE_OPTIONS', 'BUN_OPTIONS', 'JAVA_TOOL_OPTIONS', 'RUBYOPT', 'PYTHONSTARTUP', 'BASH_ENV', 'ENV', 'PERL5OPT'].includes(name),
    says: 'counts for every such program, in builds too, package managers included: files that it names have to be there',
  },
  {
    is: (name) => /^(LD_PRELOAD|LD_LIBRARY_PATH|LD_AUDIT)$/.test(name),
    says: 'counts for every program, in builds too: a library that does not fit stops them all',
  },
  {
    is: (name) => /^(HOME|TMPDIR|PWD|SHELL|IFS)$/.test(name),
    says: 'is set by the sandbox; programs that write there may not be allowed to',
  },
  {
    is: (name) => /^(PYTHONHOME|GOROOT|GOPATH|JAVA_HOME|GEM_HOME|RUSTUP_HOME|CARGO_HOME)$/.test(name),
    says: 'takes the place of the toolchain that build.base brings',
  },
  { is: (name) => /^GIT_/.test(name), says: 'counts for every git that a build or instance starts' },
]

/** A sentence for each that does. Never holds a value: it may be a secret (I8). */
export function effectsOf(variables: readonly (readonly [name: string, value: string])[]): string[] {
  return variables.flatMap(([name, value]) => {
    const effect = EFFECTS.find(({ is }) => is(name, value))
    return effect === undefined ? [] : [`${name} ${effect.says}`]
  })
}
