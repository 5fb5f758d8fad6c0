import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Seeded } from './seeded.ts'

/** What a hostile repository is made to reach. */
export interface Bait {
  /** Files that only root may read. */
  readonly secrets: readonly [string, ...string[]]
  /** A directory of root's in which a repository lies. */
  readonly privateRepository: string
  /** Whatever runs leaves a file below it, named by the user it ran as. */
  readonly marks: string
}

type Change = (git: string, bait: Bait, random: Seeded) => void

/** One line that runs a program, in a form that tells as whom. */
function touch({ marks }: Bait): string {
  return `touch ${marks}/ran-by-$(id -u)`
}

function replace(path: string, content: string): void {
  rmSync(path, { force: true, recursive: true })
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, content)
}

function link(path: string, target: string): void {
  rmSync(path, { force: true, recursive: true })
  mkdirSync(dirname(path), { recursive: true })
  symlinkSync(target, path)
}

function configure(git: string, text: string): void {
  const before = existsSync(join(git, 'config')) ? readFileSync(join(git, 'config'), 'utf8') : ''
  replace(join(git, 'config'), `${before}\n${text}\n`)
}

const LINKED = [
  ...['packed-refs', 'HEAD', 'config', 'shallow', 'refs/heads/main', 'refs/heads/evil', 'refs/tags/v1', 'info/grafts', 'info/attributes'],
  ...[
    'objects/info/alternates',
    'objects/info/http-alternates',
    'objects/info/packs',
    'objects/info/commit-graph',
    'commondir',
    'description',
  ],
  ...['FETCH_HEAD', 'ORIG_HEAD', 'objects/pack/pack-0123456789012345678901234567890123456789.idx', 'worktrees/x/gitdir', 'index'],
]
const LINKED_DIRECTORIES = ['refs', 'refs/heads', 'objects', 'objects/pack', 'objects/info', 'info', 'hooks', 'worktrees', 'modules']
const HOOKS = [
  'post-checkout',
  'pre-upload',
  'post-upload-pack',
  'reference-transaction',
  'post-index-change',
  'fsmonitor-watchman',
  'update',
]

/** Ways to make a repository hostile; each leaves one that git may or may not still read. */
const CHANGES: Readonly<Record<string, Change>> = {
  'a file is a link to a secret': (git, { secrets }, random) => {
    link(join(git, random.pick(LINKED as [string, ...string[]])), random.pick(secrets))
  },
  'a directory is a link to where secrets are': (git, { secrets, privateRepository }, random) => {
    const name = random.pick(LINKED_DIRECTORIES as [string, ...string[]])
    link(join(git, name), random.pick([dirname(secrets[0]), join(privateRepository, name)]))
  },
  'alternates lead to a private repository': (git, { privateRepository }, random) => {
    const file = random.pick(['objects/info/alternates', 'objects/info/http-alternates'])
    replace(join(git, file), `${random.pick([join(privateRepository, 'objects'), '../../private/objects'])}\n`)
  },
  'commondir leads to a private repository': (git, { privateRepository }) => replace(join(git, 'commondir'), `${privateRepository}\n`),
  'the configuration includes a secret': (git, { secrets }, random) => {
    configure(git, `[include]\n\tpath = ${random.pick(secrets)}\n[includeIf "gitdir:/"]\n\tpath = ${random.pick(secrets)}`)
  },
  'the configuration names programs': (git, bait) => {
    const command = touch(bait)
    configure(
      git,
      [
        `[core]\n\tfsmonitor = ${command}\n\thooksPath = hooks\n\tsshCommand = ${command}\n\talternateRefsCommand = ${command}\n\tpager = ${command}`,
        `[uploadpack]\n\tpackObjectsHook = ${command}; exec\n\tallowFilter = true\n\tallowAnySHA1InWant = true`,
        `[filter "evil"]\n\tsmudge = ${command}; cat\n\tclean = ${command}; cat\n\tprocess = ${command}\n\trequired = true`,
        `[gpg]\n\tprogram = ${command}\n[log]\n\tshowSignature = true\n[credential]\n\thelper = !${command}`,
        `[diff "evil"]\n\tcommand = ${command}\n\ttextconv = ${command}\n[alias]\n\tls-tree = !${command}\n\tcheckout = !${command}`,
      ].join('\n'),
    )
  },
  'a promisor remote runs a program': (git, bait) => {
    configure(
      git,
      `[core]\n\trepositoryformatversion = 1\n[extensions]\n\tpartialClone = origin\n[remote "origin"]\n\turl = ext::sh -c "${touch(bait)}"\n\tpromisor = true\n\tuploadpack = ${touch(bait)}`,
    )
  },
  'the configuration is no configuration': (git) => configure(git, '[core\n\x00bare = \n]]'),
  hooks: (git, bait, random) => {
    writeFileSync(join(git, 'marker'), 'x')
    const file = join(git, 'hooks', random.pick(HOOKS as [string, ...string[]]))
    replace(file, `#!/bin/sh\n${touch(bait)}\n`)
    cpSync(file, file, { force: true })
  },
  'HEAD names a file outside': (git, { secrets }) => replace(join(git, 'HEAD'), `ref: refs/../../../../../../../..${secrets[0]}\n`),
  'HEAD is odd': (git, _, random) => {
    replace(join(git, 'HEAD'), random.pick(['ref: ', 'ref: refs/heads/-x\n', 'x'.repeat(100_000), 'ref: refs/heads/\u001b[2J\n', '']))
  },
  'packed-refs is odd': (git, _, random) => {
    const id = '1'.repeat(40)
    const odd = [`${id} refs/heads/${'a'.repeat(5000)}\n`, `${id} refs/heads/../../x\n`, 'garbage\n', `^${id}\n`, `${id} --upload-pack=x\n`]
    replace(join(git, 'packed-refs'), `# pack-refs with: peeled \n${random.pick(odd as [string, ...string[]])}`)
  },
  'very many refs': (git) => {
    const lines = Array.from(
      { length: 3000 },
      (_, at) => `${String(at + 1).padStart(40, '0')} refs/heads/b${String(at).padStart(6, '0')}\n`,
    )
    replace(join(git, 'packed-refs'), `# pack-refs with: peeled fully-peeled sorted \n${lines.join('')}`)
  },
  'an object is damaged': (git) => replace(join(git, 'objects', '11', '1'.repeat(38)), 'x'),
  'shallow and grafts are odd': (git) => {
    replace(join(git, 'shallow'), 'slk_not_a_commit\n')
    replace(join(git, 'info', 'grafts'), `${'1'.repeat(40)} x\n`)
  },
  'the replace refs name others': (git) => replace(join(git, 'refs', 'replace', '1'.repeat(40)), `${'2'.repeat(40)}\n`),
}
const NAMES = Object.keys(CHANGES) as [string, ...string[]]

/** Copies a repository's git directory to `to` and changes it at random; answers what was done to it. */
export function makeHostile(from: string, to: string, bait: Bait, random: Seeded): readonly string[] {
  cpSync(from, to, { recursive: true })
  const done: string[] = []
  for (let count = 1 + random.below(3); count > 0; count--) {
    const name = random.pick(NAMES)
    try {
      CHANGES[name]?.(to, bait, random)
      done.push(name)
    } catch {
      // An earlier change was in the way: a link where a directory has to be.
    }
  }
  return done
}

/** Files that a commit of a hostile project holds. */
export function hostileFiles(bait: Bait) {
  return {
    '.gitattributes': '* filter=evil diff=evil merge=evil text eol=crlf ident export-subst\n*.txt working-tree-encoding=ISO-8859-1\n',
    '.gitmodules': `[submodule "s"]\n\tpath = s\n\turl = ext::sh -c "${touch(bait)}"\n\tupdate = !${touch(bait)}\n`,
    '.mailmap': 'A <a@example.org> <ada@example.org>\n',
    '.gitconfig': `[core]\n\tfsmonitor = ${touch(bait)}\n`,
    'a.txt': 'content\n',
    'to-a-secret': { link: bait.secrets[0] },
    'to-a-directory': { link: dirname(bait.secrets[0]) },
  }
}
