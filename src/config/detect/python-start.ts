import { basename } from 'node:path/posix'
import { printable } from '../../core/printable.ts'
import type { SourceFiles } from '../source-files.ts'
import { PACKAGES } from './python-packages.ts'
import { ADDRESS } from './shell-words.ts'

export interface PythonStart {
  readonly command: string
  readonly reason: string
  /** Packages that are needed to start and are not among those that the project names. */
  readonly also?: readonly string[]
}

export const PYTHON_ENTRIES = [
  'main.py',
  'app.py',
  'server.py',
  'wsgi.py',
  'asgi.py',
  'run.py',
  'application.py',
  'api.py',
  'index.py',
] as const
const PLACES = ['', 'src/', 'app/', 'api/', 'server/', 'backend/', 'src/app/'] as const
const ASGI = /(?:FastAPI|Starlette|Quart|Litestar|BlackSheep|Sanic|Robyn|get_asgi_application|socketio\.ASGIApp|VersionedFastAPI)$/
const WSGI = /(?:Flask|Bottle|default_app|falcon\.App|falcon\.API|get_wsgi_application|make_wsgi_app|connexion\.\w+|APIFlask|OpenAPI)$/

/** Makes packages and the code itself known to what runs: the packages' programs by name, `src` where code is kept there. */
export function inPython(command: string, hasSource = false): string {
  const path = `PATH="$PWD/${PACKAGES}/bin:$PATH"`
  const modules = `PYTHONPATH="$PWD/${PACKAGES}${hasSource ? ':$PWD/src' : ''}"`
  // `exec` keeps signals for the program itself; it takes one plain command.
  const isPlain = !/[;&|\n]|^\w+=|^(?:cd|exec|export|set|if|for|while|source|\.)\s/.test(command)
  return isPlain ? `${path} ${modules} exec ${command}` : `export ${path} ${modules}; ${command}`
}

/** A command as people write it for a place where `python` and `pip` are programs; a host may have them as python3 only. */
export function withPython3(command: string): string {
  return command.replace(/(^|[;&|]\s*|\bexec\s+|\btime\s+)python(?=\s)/g, '$1python3').replace(/(^|[;&|]\s*)pip(?=\s)/g, '$1python3 -m pip')
}

/** A server that the project names itself is preferred to running a file: it listens where it is told. Null when nothing can be started. */
export async function pythonStart(files: SourceFiles, named: string): Promise<PythonStart | null> {
  const asks = asker(named)
  if (asks('streamlit')) {
    const page = await streamlitPage(files)
    if (page !== null) {
      const command = `python3 -m streamlit run ${page} --server.port "$PORT" --server.address ${ADDRESS} --server.headless true`
      return { command, reason: `streamlit is a dependency, and ${page} is a page of it` }
    }
  }
  for (const place of PLACES) {
    for (const entry of PYTHON_ENTRIES) {
      const text = await files.readIfText(`${place}${entry}`)
      const served = text === null ? null : serveObject(`${place}${entry}`, text, asks)
      if (served !== null) return served
    }
  }
  for (const file of [...PYTHON_ENTRIES, '__main__.py', 'bot.py', 'src/main.py', 'src/app.py']) {
    const text = await files.readIfText(file)
    if (text !== null) return { command: `python3 ${file}`, reason: `${file} is there: \`python3 ${file}\`` }
  }
  const [only, ...more] = (await files.outline()).filter(
    (path) =>
      /^[\w-]+\.py$/.test(path) && !/^(?:setup|conftest|test_\w+|\w+_test|manage|tasks|noxfile|fabfile|gunicorn\w*)\.py$/.test(path),
  )
  if (only === undefined || more.length > 0) return null
  const text = (await files.readIfText(only)) ?? ''
  return serveObject(only, text, asks) ?? { command: `python3 ${only}`, reason: `${only} is the only program here: \`python3 ${only}\`` }
}

type Asks = (name: string) => boolean

/** Whether a package is among those that a project names, whatever version or extras it asks for. */
function asker(named: string): Asks {
  return (name) => new RegExp(`(^|["'\\s])${name}(\\[[^\\]]*\\])?($|["'\\s<>=~!;,@])`, 'im').test(named)
}

/** How the application object of a file is served; null when it has none. What its own words make counts before its name. */
function serveObject(file: string, text: string, asks: Asks): PythonStart | null {
  const made = /^(\w+)[ \t]*(?::[^=\n]+)?=[ \t]*(?:await )?((?:\w+\.)*\w+)\(/gm
  const objects = [...text.matchAll(made)].map(([, name = '', maker = '']) => ({ name, maker }))
  const module = file
    .slice(0, -'.py'.length)
    .replace(/^src\//, '')
    .replaceAll('/', '.')
  const target = (kind: RegExp) => {
    const object = objects.find(({ maker }) => kind.test(maker))
    return object === undefined ? null : `${module}:${object.name}`
  }
  const asgi = target(ASGI)
  if (asgi !== null) return asgiStart(file, asgi, asks, [])
  const wsgi = target(WSGI)
  if (wsgi !== null) return wsgiStart(file, wsgi, asks)
  const dash = target(/(?:^|\.)Dash$/)
  if (dash !== null && asks('gunicorn')) return wsgiStart(file, /^server\s*=/m.test(text) ? `${module}:server` : `${dash}.server`, asks)
  return serveByName(file, text, module, asks) ?? serveFactory(file, text, module, asks)
}

/** `app = …` of a maker that is not known: which server is a dependency says what it is. */
function serveByName(file: string, text: string, module: string, asks: Asks): PythonStart | null {
  const name = /^(app|application|api)[ \t]*(?::[^=\n]+)?=/m.exec(text)?.[1]
  if (name === undefined) return null
  if (asks('uvicorn') || asks('fastapi')) return asgiStart(file, `${module}:${name}`, asks, [])
  return asks('gunicorn') || asks('flask') ? wsgiStart(file, `${module}:${name}`, asks) : null
}

const FACTORY = /^def (create_app|make_app|get_app|app_factory)\(\s*(?:\w+\s*(?::[^=,)\n]{1,80})?=[^,)\n]{1,80},?\s*){0,8}\)/m
const RUNS_ITSELF = /^\s+(?:uvicorn\.run|\w+\.run|serve|\w+\.serve_forever|\w+\.launch|waitress\.serve)\(/m

/** A function that makes the application, where the file does not start it by itself. */
function serveFactory(file: string, text: string, module: string, asks: Asks): PythonStart | null {
  const factory = FACTORY.exec(text)?.[1]
  if (factory === undefined || (/^if __name__ == ['"]__main__['"]:/m.test(text) && RUNS_ITSELF.test(text))) return null
  if (asks('fastapi') || asks('starlette')) return asgiStart(file, `${module}:${factory}`, asks, ['--factory'])
  if (asks('gunicorn')) return wsgiStart(file, `'${module}:${factory}()'`, asks)
  return asks('flask') ? wsgiStart(file, `${module}:${factory}`, asks) : null
}

function asgiStart(file: string, target: string, asks: Asks, flags: readonly string[]): PythonStart {
  const has = `${file} has ${target.split(':')[1]}`
  if (asks('hypercorn') && !asks('uvicorn'))
    return { command: `python3 -m hypercorn ${target} --bind ${ADDRESS}:"$PORT"`, reason: `${has}, and hypercorn is a dependency` }
  if (asks('daphne') && !asks('uvicorn'))
    return { command: `python3 -m daphne -b ${ADDRESS} -p "$PORT" ${target}`, reason: `${has}, and daphne is a dependency` }
  // fastapi[standard] and fastapi[all] bring it.
  const command = ['python3 -m uvicorn', target, ...flags, '--host', ADDRESS, '--port "$PORT"'].join(' ')
  const brought = asks('uvicorn') || /fastapi\[(?:standard|all)\]/.test(target) || asks('fastapi\\[(?:standard|all)\\]')
  return brought
    ? { command, reason: `${has}, and uvicorn is a dependency` }
    : {
        command,
        reason: `${has}, an ASGI application, and no server of these is a dependency: uvicorn is installed beside it`,
        also: ['uvicorn'],
      }
}

function wsgiStart(file: string, target: string, asks: Asks): PythonStart {
  const has = `${file} has ${target.replaceAll("'", '').split(':')[1]}`
  if (asks('gunicorn'))
    return { command: `python3 -m gunicorn ${target} --bind ${ADDRESS}:"$PORT"`, reason: `${has}, and gunicorn is a dependency` }
  if (asks('waitress'))
    return { command: `python3 -m waitress --listen=${ADDRESS}:"$PORT" ${target}`, reason: `${has}, and waitress is a dependency` }
  if (asks('flask'))
    return {
      command: `python3 -m flask --app ${target} run --host ${ADDRESS} --port "$PORT"`,
      reason: `${has}, and Flask is a dependency (its own server: add gunicorn to the dependencies for more traffic)`,
    }
  const command = `python3 -m gunicorn ${target} --bind ${ADDRESS}:"$PORT"`
  return {
    command,
    reason: `${has}, a WSGI application, and no server is a dependency: gunicorn is installed beside it`,
    also: ['gunicorn'],
  }
}

async function streamlitPage(files: SourceFiles): Promise<string | null> {
  const pages = (await files.outline()).filter((path) => /^(?:(?:src|app)\/)?[\w-]+\.py$/.test(path))
  const usual = ['streamlit_app.py', 'app.py', 'main.py', 'Home.py', 'home.py']
  const ordered = [...usual.filter((name) => pages.includes(name)), ...pages.filter((path) => !usual.includes(path))]
  for (const page of ordered.slice(0, 50)) {
    const text = await files.readIfText(page)
    if (text !== null && /^\s*(?:import|from)\s+streamlit\b/m.test(text) && !basename(page).startsWith('test_')) return page
  }
  return null
}

/** The commands that a Django project is built and started with. */
export async function djangoStart(
  files: SourceFiles,
  named: string,
): Promise<(PythonStart & { readonly collects: boolean; readonly notes: readonly string[] }) | null> {
  const manage = await files.readIfText('manage.py')
  if (manage === null || !/django|DJANGO_SETTINGS_MODULE/i.test(manage)) return null
  const asks = asker(named)
  const settings = /DJANGO_SETTINGS_MODULE['"]\s*,\s*['"]([\w.]+)['"]/.exec(manage)?.[1] ?? null
  const outline = await files.outline()
  const own = settings?.split('.')[0] ?? null
  const modules = (name: string) => outline.filter((path) => path.endsWith(`/${name}`) || path === name)
  const nearest = (name: string) => modules(name).find((path) => own !== null && path.startsWith(`${own}/`)) ?? modules(name)[0] ?? null
  const wsgi = nearest('wsgi.py')
  const asgi = nearest('asgi.py')
  const dotted = (path: string) => path.slice(0, -'.py'.length).replaceAll('/', '.')
  const text = await settingsText(files, settings, outline)
  const notes = [
    'Django migrations are not run by themselves: set deploy.releaseCommand to `python3 manage.py migrate` (or a Procfile line `release:`)',
    ...(/^ALLOWED_HOSTS\s*(?::[^=]+)?=\s*\[\s*\]/m.test(text)
      ? ['ALLOWED_HOSTS in the settings is empty: with DEBUG off Django answers 400 until it holds the host name of the service']
      : []),
  ]
  const collects = /^\s*STATIC_ROOT\s*=/m.test(text) && !/storages\.backends|S3Boto|GoogleCloudStorage/.test(text)
  const start = ((): PythonStart => {
    const has = 'manage.py is there (Django)'
    if (wsgi !== null && asks('gunicorn'))
      return {
        command: `python3 -m gunicorn ${dotted(wsgi)}:application --bind ${ADDRESS}:"$PORT"`,
        reason: `${has}, and gunicorn is a dependency`,
      }
    if (asgi !== null && asks('uvicorn'))
      return {
        command: `python3 -m uvicorn ${dotted(asgi)}:application --host ${ADDRESS} --port "$PORT"`,
        reason: `${has}, and uvicorn is a dependency`,
      }
    if (asgi !== null && asks('daphne'))
      return {
        command: `python3 -m daphne -b ${ADDRESS} -p "$PORT" ${dotted(asgi)}:application`,
        reason: `${has}, and daphne is a dependency`,
      }
    return {
      command: `python3 manage.py runserver ${ADDRESS}:"$PORT" --noreload`,
      reason: `${has}, and neither gunicorn nor uvicorn is a dependency: Django's own server is started (add gunicorn for more traffic)`,
    }
  })()
  return { ...start, collects, notes: notes.map(printable) }
}

/** The settings module; of a package of several, all of them together. */
async function settingsText(files: SourceFiles, settings: string | null, outline: readonly string[]): Promise<string> {
  const path = settings?.replaceAll('.', '/') ?? ''
  const parent = path.slice(0, Math.max(0, path.lastIndexOf('/')))
  const wanted = outline.filter(
    (file) =>
      file === `${path}.py` ||
      file === `${path}/__init__.py` ||
      (file.startsWith(`${parent}/`) && /(^|\/)settings(\/\w+)?\.py$/.test(file)),
  )
  return (await Promise.all(wanted.slice(0, 10).map((file) => files.readIfText(file)))).join('\n')
}
