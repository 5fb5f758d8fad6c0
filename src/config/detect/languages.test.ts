import { mkdir, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { temporaryDirectory } from '../../../test/support/temporary-directory.ts'
import { SourceFiles } from '../source-files.ts'
import { detect } from './detect.ts'
import { parseProcfile } from './procfile.ts'
import { withPython3 } from './python-start.ts'

async function detected(files: Readonly<Record<string, string>>) {
  const root = temporaryDirectory()
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), content)
  }
  return detect(await SourceFiles.open(root), ['tree', 'image'])
}

const MANAGE = "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'site1.settings')\n"
const MAIN = 'package main\n\nfunc main() {}\n'
const SERVER = 'package main\n\nimport "net/http"\n\nfunc main() { http.ListenAndServe(":1", nil) }\n'

describe('Django', () => {
  const project = { 'manage.py': MANAGE, 'site1/settings.py': 'DEBUG = True\n', 'site1/wsgi.py': '', 'site1/asgi.py': '' }

  it.each([
    ['Django\ngunicorn\n', 'python3 -m gunicorn site1.wsgi:application --bind'],
    ['Django\nuvicorn\n', 'python3 -m uvicorn site1.asgi:application --host'],
    ['Django\ndaphne\n', 'python3 -m daphne -b'],
    ['Django\n', 'python3 manage.py runserver'],
  ])('with %j it is started by `%s`', async (requirements, start) => {
    const { input, reasons } = await detected({ ...project, 'requirements.txt': requirements })
    expect(input.run?.start).toContain(` exec ${start}`)
    expect(reasons.join('\n')).toContain('migrations are not run by themselves')
  })

  it('collects static files where the settings say where to, and is taken before a package.json beside it', async () => {
    const { input, what } = await detected({
      ...project,
      'requirements.txt': 'django\n',
      'site1/settings.py': "STATIC_ROOT = BASE_DIR / 'static'\n",
      'package.json': '{"scripts":{"start":"webpack --watch"}}',
    })
    expect(what).toBe('Python app (requirements.txt)')
    expect([input.build?.buildCommands].flat().at(-1)).toMatch(/manage\.py collectstatic --noinput$/)
  })

  it('with a release line in the Procfile migrates by it', async () => {
    const { input, reasons } = await detected({
      ...project,
      'requirements.txt': 'django\ngunicorn\n',
      Procfile: '\uFEFFrelease: python manage.py migrate\r\nweb: gunicorn site1.wsgi\r\nworker: celery -A site1 worker\r\n',
    })
    expect(input.run?.start).toMatch(/exec gunicorn site1\.wsgi$/)
    expect(input.deploy?.releaseCommand).toMatch(/exec python3 manage\.py migrate$/)
    expect(reasons.join('\n')).toMatch(/release command[\s\S]*worker: not started/)
    expect(reasons.join('\n')).not.toContain('not run by themselves')
  })
})

describe('Python web frameworks', () => {
  it.each([
    [{ 'requirements.txt': 'fastapi[all]\n', 'main.py': 'app = FastAPI()\n' }, 'python3 -m uvicorn main:app --host'],
    [
      { 'requirements.txt': 'fastapi\n', 'app/main.py': 'app: FastAPI = fastapi.FastAPI(title="x")\n' },
      'python3 -m uvicorn app.main:app --host',
    ],
    [{ 'requirements.txt': 'starlette\nhypercorn\n', 'main.py': 'site = Starlette()\n' }, 'python3 -m hypercorn main:site --bind'],
    [{ 'requirements.txt': 'flask\ngunicorn\n', 'server.py': 'web = Flask(__name__)\n' }, 'python3 -m gunicorn server:web --bind'],
    [{ 'requirements.txt': 'flask\n', 'src/app.py': 'app = Flask(__name__)\n' }, 'python3 -m flask --app app:app run'],
    [{ 'requirements.txt': 'flask\ngunicorn\n', 'app/__init__.py': '', 'wsgi.py': 'def create_app():\n' }, "gunicorn 'wsgi:create_app()'"],
    [
      { 'requirements.txt': 'fastapi\nuvicorn\n', 'main.py': 'def create_app(debug: bool = False):\n' },
      'uvicorn main:create_app --factory',
    ],
    [
      { 'requirements.txt': 'streamlit\n', 'page.py': 'import streamlit as st\n' },
      'python3 -m streamlit run page.py --server.port "$PORT"',
    ],
    [{ 'requirements.txt': '', 'hello.py': 'print(1)\n' }, 'python3 hello.py'],
    [{ 'app.py': 'import http.server\n' }, 'python3 app.py'],
    [{ Procfile: 'web: python serve/web.py\n', 'serve/web.py': '' }, 'python3 serve/web.py'],
  ])('%j is started by `%s`', async (files, start) => {
    expect((await detected(files as Record<string, string>)).input.run?.start).toContain(start)
  })

  it('a server that the project does not bring is installed beside it, and that is said', async () => {
    const { input, reasons } = await detected({ 'requirements.txt': 'fastapi\n', 'main.py': 'app = FastAPI()\n' })
    expect([input.build?.buildCommands].flat().at(-1)).toMatch(/ uvicorn$/)
    expect(reasons.join('\n')).toContain('uvicorn is installed beside it')
  })

  it('code that is kept in src is found by the interpreter', async () => {
    expect((await detected({ 'requirements.txt': 'flask\n', 'src/main.py': 'app = Flask(__name__)\n' })).input.run?.start).toContain(
      ':$PWD/src"',
    )
  })

  it('a site of plain files with a stray script stays a site', async () => {
    expect((await detected({ 'index.html': '', 'app.py': '' })).input.run).toEqual({ staticRoot: '.' })
  })
})

describe('Python packages', () => {
  const app = { 'main.py': 'app = Flask(__name__)\n' }
  const project = (more = '') =>
    `[project]\nname = "x"\nrequires-python = ">=3.13"\ndependencies = ["flask>=3", "it's; python_version < '4'"]\n${more}`

  it('of a pyproject.toml the dependencies are installed, not the project, so that its directories don’t matter', async () => {
    const { input, reasons } = await detected({ ...app, 'pyproject.toml': project(), 'agents/a.py': '', 'config/b.py': '' })
    expect([input.build?.buildCommands].flat()).toEqual([
      expect.stringMatching(/--target \.python_packages 'flask>=3' 'it'\\''s; python_version < '\\''4'\\'''$/),
    ])
    expect(reasons.join('\n')).toContain('asks for Python >=3.13')
  })

  it('a project that is a package with a program is installed and started by it', async () => {
    const script = '[project.scripts]\nserve = "x.cli:main"\n[build-system]\nrequires = ["hatchling"]\n'
    const { input } = await detected({ 'pyproject.toml': project(script), 'x/cli.py': '' })
    expect([input.build?.buildCommands].flat()).toEqual([expect.stringMatching(/ \.$/)])
    expect(input.run?.start).toContain("from x.cli import main; sys.exit(main())'")
  })

  it.each([
    ['uv.lock', 'name = "flask"\n', /uv export --quiet --frozen/],
    ['poetry.lock', 'name = "flask"\n', /poetry export --quiet --only main/],
    ['pdm.lock', 'name = "flask"\n', /pdm export --prod/],
    ['Pipfile.lock', '{\n    "default": {\n        "flask": {}\n    }\n}', /pipenv requirements/],
    ['Pipfile', '[packages]\nflask = "*"\n', /pipenv lock && pipenv requirements/],
  ])('%s is read by its own tool and installed beside the code', async (file, text, exported) => {
    const { input } = await detected({ ...app, [file]: text })
    const commands = [input.build?.buildCommands].flat()
    expect(commands[0]).toMatch(exported)
    expect(commands[1]).toMatch(/--target \.python_packages -r /)
    expect([input.build?.prepareCommands].flat()).toHaveLength(1)
    expect(input.run?.start).toContain('python3 -m flask')
  })

  it.each([
    [{ '.python-version': '3.12.1\n' }, '3.12.1'],
    [{ 'runtime.txt': 'python-3.11.4\n' }, '3.11.4'],
  ])('%j says a version of Python', async (files, version) => {
    const { reasons } = await detected({ ...app, 'requirements.txt': 'flask\n', ...files } as Record<string, string>)
    expect(reasons.join('\n')).toContain(`asks for Python ${version}`)
  })

  it.each([
    ['python manage.py x', 'python3 manage.py x'],
    ['cd a && python b.py; pip list', 'cd a && python3 b.py; python3 -m pip list'],
    ['gunicorn python:app', 'gunicorn python:app'],
  ])('%s becomes %s', (command, expected) => {
    expect(withPython3(command)).toBe(expected)
  })
})

describe('Go', () => {
  it.each([
    [{ 'server.go': MAIN }, 'go build -o app .'],
    [{ 'cmd/api/main.go': MAIN }, 'go build -o app ./cmd/api'],
    [{ 'cmd/server/main.go': SERVER, 'cmd/migrate/main.go': MAIN }, 'go build -o app ./cmd/server'],
    [{ 'cmd/shop/main.go': SERVER, 'cmd/admin/main.go': SERVER }, 'go build -o app ./cmd/shop'],
    [{ 'main.go': MAIN, 'examples/a/main.go': MAIN, 'main_test.go': MAIN }, 'go build -o app .'],
    [{ 'main.go': MAIN, 'app/page.go': 'package app\n' }, 'go build -o app.bin .'],
  ])('%j is built by `%s`, and everything beside it is kept', async (files, command) => {
    const { input } = await detected({ 'go.mod': 'module example.com/shop/v2\n', ...files } as Record<string, string>)
    expect(input.build).toMatchObject({ base: 'go', buildCommands: [command], deployFiles: ['./'], env: { CGO_ENABLED: '0' } })
  })

  it('what a Procfile starts is built to where it looks for it', async () => {
    const files = { 'go.mod': 'module example.com/shop\n', 'main.go': MAIN }
    const inBin = await detected({ ...files, Procfile: 'web: bin/shop --port $PORT\n' })
    expect([inBin.input.build?.buildCommands, inBin.input.run?.start]).toEqual([['go build -o bin/shop .'], './bin/shop --port $PORT'])
    const bare = await detected({ ...files, Procfile: 'web: shop\n' })
    expect([bare.input.build?.buildCommands, bare.input.run?.start]).toEqual([['go build -o bin/shop .'], './bin/shop'])
  })

  it('a workspace without a module at its top is built by its member', async () => {
    const { input, what } = await detected({ 'go.work': 'use ./web\n', 'web/go.mod': 'module web\n', 'web/main.go': MAIN })
    expect([what, input.build?.buildCommands]).toEqual(['Go program (go.work)', ['go build -o app ./web']])
  })

  it.each([
    [{ 'go.mod': 'module x\nrequire github.com/mattn/go-sqlite3 v1\n', 'main.go': MAIN }],
    [{ 'go.mod': 'module x\n', 'main.go': `${MAIN}\nimport "C"\n` }],
  ])('C is compiled where it is needed: %j', async (files) => {
    expect((await detected(files)).input.build?.env).toEqual({ CGO_ENABLED: '1' })
  })

  it('several programs of one rank are listed', async () => {
    await expect(detected({ 'go.mod': 'module x\n', 'cmd/a/main.go': SERVER, 'cmd/b/main.go': SERVER })).rejects.toMatchObject({
      message: expect.stringContaining('go.mod is there with 2 programs (cmd/a, cmd/b): say which in shiplock.yaml'),
    })
  })
})

it('a Procfile is read as editors leave it', () => {
  const text = '\uFEFF# web: no\r\nweb: a b\r\n  release :x\r\nweb: second\r\nodd line\r\nworker:\r\n'
  expect([...parseProcfile(text)]).toEqual([
    ['web', 'a b'],
    ['release', 'x'],
  ])
})

describe('other languages', () => {
  it.each([
    [
      {
        'composer.json': '{"require":{"php":"^8"}}',
        artisan: '',
        'public/index.php': '',
        'package.json': '{"scripts":{"build":"vite build"},"devDependencies":{"vite":"7"}}',
      },
      'PHP app (composer.json)',
      '":"$PORT" -t public',
    ],
    [{ 'index.php': '' }, 'PHP app (index.php)', '-t .'],
    [
      { Gemfile: "gem 'rails'\n", 'config.ru': '', 'package.json': '{"scripts":{"start":"x"}}' },
      'Ruby app (Gemfile)',
      'bundle exec rails server -b',
    ],
    [{ Gemfile: 'gem "puma"\n', 'config.ru': '' }, 'Ruby app (Gemfile)', 'bundle exec puma -b tcp://'],
    [{ Gemfile: 'gem "sinatra"\n', 'app.rb': '' }, 'Ruby app (Gemfile)', 'bundle exec ruby app.rb -o'],
    [{ 'pom.xml': '<project/>', mvnw: '' }, 'Java app (pom.xml)', '-Dserver.port="$PORT" -jar app.jar'],
    [{ 'build.gradle': 'id "io.quarkus"' }, 'Java app (build.gradle)', 'build/quarkus-app/quarkus-run.jar'],
    [{ 'pom.xml': '', Procfile: 'web: java -jar target/x.jar\n' }, 'Java app (pom.xml)', 'java -jar target/x.jar'],
    [{ 'Cargo.toml': '[package]\nname = "site"\n', 'src/main.rs': '' }, 'Rust program (Cargo.toml)', './target/release/site'],
    [
      { 'Cargo.toml': '[workspace]\nmembers = ["a"]\n', 'a/Cargo.toml': '[package]\nname = "a"\n[[bin]]\nname = "serve"\n' },
      'Rust program (Cargo.toml)',
      './target/release/serve',
    ],
    [{ 'deno.json': '{"tasks":{"start":"deno run main.ts"}}' }, 'Deno app (deno.json)', 'exec deno task start'],
    [{ 'deno.json': '{}', 'main.ts': '' }, 'Deno app (deno.json)', 'exec deno run --allow-all main.ts'],
    [{ 'Web.csproj': '<Project Sdk="Microsoft.NET.Sdk.Web">' }, '.NET app (Web.csproj)', 'exec dotnet "Web.dll"'],
  ])('%j is %s, started by `%s`', async (files, what, start) => {
    const found = await detected(files as Record<string, string>)
    expect(found.what).toBe(what)
    expect(found.input.run?.start).toContain(start)
    expect(found.input.build?.base).toMatch(/^(php|ruby|java|rust|deno|dotnet)$/)
  })

  it.each([
    [{ Gemfile: '' }, 'Gemfile is there (Ruby), but nothing to start'],
    [{ 'Cargo.toml': '[package]\nname = "lib"\n' }, 'Cargo.toml is there (Rust), but no program in it'],
    [{ 'deno.json': '{}' }, 'deno.json is there (Deno), but no start task'],
    [
      { 'A.csproj': 'Sdk="Microsoft.NET.Sdk.Web"', 'b/B.csproj': 'Sdk="Microsoft.NET.Sdk.Web"' },
      'several .NET projects are there (A.csproj, b/B.csproj)',
    ],
  ])('%j is refused with what is missing', async (files, sentence) => {
    await expect(detected(files as Record<string, string>)).rejects.toMatchObject({ message: expect.stringContaining(sentence) })
  })
})

describe('configuration of other platforms', () => {
  const app = { 'requirements.txt': 'flask\n', 'app.py': 'app = Flask(__name__)\n' }

  it.each([
    ['fly.toml', '[deploy]\nrelease_command = "sh r"\n[[http_service.checks]]\npath = "/up"\n', '/up', 'sh r'],
    ['railway.json', '{"deploy":{"healthcheckPath":"/up","preDeployCommand":["sh r"]}}', '/up', 'sh r'],
    ['render.yaml', 'services:\n  - type: web\n    healthCheckPath: /up\n    preDeployCommand: sh r\n', '/up', 'sh r'],
    ['config/deploy.yml', 'proxy:\n  healthcheck:\n    path: /up\n', '/up', undefined],
    ['app.json', '{"healthchecks":{"web":[{"path":"/up"}]}}', '/up', undefined],
    ['fly.toml', 'no TOML [', undefined, undefined],
  ])('of %s with %j the health path and the release command are taken over', async (file, text, path, release) => {
    const { input, reasons } = await detected({ ...app, [file]: text })
    expect(input.deploy?.readinessCheck?.httpGet?.path).toBe(path)
    expect(input.deploy?.releaseCommand?.replace(/.* exec /, '')).toBe(release)
    if (path !== undefined) expect(reasons.join('\n')).toContain(`${file} is there: its health path /up`)
  })

  it('a start that only such a file names is started', async () => {
    const { input, reasons } = await detected({
      'requirements.txt': 'gunicorn\n',
      'a.py': '',
      'b.py': '',
      'render.yaml': 'services:\n  - type: web\n    startCommand: gunicorn a:site\n',
    })
    expect(input.run?.start).toMatch(/exec gunicorn a:site$/)
    expect(reasons.join('\n')).toContain('render.yaml names the start')
  })
})
