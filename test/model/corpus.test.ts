import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { stringify } from 'yaml'
import { buildService } from '../../src/config/build-service.ts'
import { detect } from '../../src/config/detect/detect.ts'
import { SourceFiles } from '../../src/config/source-files.ts'
import { ShiplockError } from '../../src/core/errors.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const CORPUS = resolve(import.meta.dirname, '../corpus')
const names = readdirSync(CORPUS, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map(({ name }) => name)

/** What is made of a directory without configuration, on a server that runs no images. */
async function planOf(directory: string) {
  try {
    const { what, input, reasons } = await detect(await SourceFiles.open(directory), ['tree'])
    return { plan: { what, ...input, reasons } }
  } catch (error) {
    if (!(error instanceof ShiplockError)) throw error
    return { refused: { code: error.code, message: error.message, hint: error.hint } }
  }
}

/** Every command of a plan that a shell runs. */
function commandsOf(plan: Awaited<ReturnType<typeof planOf>>['plan']): readonly string[] {
  const { build, run, deploy } = plan ?? {}
  return [build?.prepareCommands, build?.buildCommands, run?.start, deploy?.releaseCommand]
    .flat()
    .filter((command) => command !== undefined)
}

test.each(names)('%s is built and started as its file says, by commands that a shell can read', async (name) => {
  const made = await planOf(join(CORPUS, name, 'app'))
  await expect(stringify(made, { lineWidth: 0 })).toMatchFileSnapshot(join(CORPUS, name, 'expected.yaml'))
  for (const command of commandsOf(made.plan)) expect(spawnSync('/bin/sh', ['-n', '-c', command]).status, command).toBe(0)
})

const FILES = [
  'package.json',
  'requirements.txt',
  'pyproject.toml',
  'uv.lock',
  'Pipfile.lock',
  'setup.py',
  'manage.py',
  'main.py',
  'app/main.py',
  'go.mod',
  'go.work',
  'cmd/a/main.go',
  'cmd/b/main.go',
  'composer.json',
  'public/index.php',
  'Gemfile',
  'config.ru',
  'pom.xml',
  'Cargo.toml',
  'src/main.rs',
  'deno.json',
  'a/A.csproj',
  'Procfile',
  'mix.exs',
  'compose.yaml',
  'fly.toml',
  'render.yaml',
  'railway.json',
  'web/package.json',
  'index.html',
  'odd \u202e name.txt',
] as const

const TEXTS = [
  '',
  '\uFEFFweb: x $PORT\r\nrelease: y\n',
  '{"scripts":{"start":"node a.js","build":"vite build"},"dependencies":{"vite":"7"},"require":{"a":"1"}}',
  '[project]\nname = "x"\ndependencies = ["a\'; rm -rf /", "-e .", "b"]\n[tool.poetry.dependencies]\nc = "1"\n',
  '[package]\nname = "x; id"\n[[bin]]\nname = "$(id)"\n',
  'package main\nfunc main() {}\n',
  'app = FastAPI()\n',
  "DJANGO_SETTINGS_MODULE', 'a.b'\n",
  'services:\n  - type: web\n    startCommand: x\n    healthCheckPath: /h\n',
  '{"deploy":{"startCommand":"y","healthcheckPath":"no path","preDeployCommand":["z"]}}',
  'gem "rails"\nflask\ngunicorn\n',
  '<<<<<<< not of this format\u0000\uFFFD',
  `${'a.'.repeat(50_000)}`,
]

test('I16: any tree ends in a plan that the configuration takes, or in one sentence with one thing to do', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.tuple(fc.constantFrom(...FILES), fc.constantFrom(...TEXTS)), { maxLength: 7, selector: ([path]) => path }),
      async (files) => {
        const root = temporaryDirectory()
        for (const [path, text] of files) {
          mkdirSync(dirname(join(root, path)), { recursive: true })
          writeFileSync(join(root, path), text)
        }
        const { plan, refused } = await planOf(root)
        if (plan !== undefined) {
          const { what, reasons, ...input } = plan
          expect([what, ...reasons].join('')).not.toMatch(/[\n\u202e]/)
          buildService('x', input, () => 'detected')
        } else {
          expect(['CONFIG_NOT_FOUND', 'CONFIG_INVALID']).toContain(refused?.code)
          expect(refused?.message).not.toMatch(/[\n\u202e]/)
          expect(refused?.hint).not.toBe('')
        }
      },
    ),
    { numRuns: 150 },
  )
})
