import { LIMITS } from '../../core/limits.ts'
import { printable } from '../../core/printable.ts'
import type { SourceFiles } from '../source-files.ts'
import type { Detection, Detector } from './detector.ts'
import { procfileWeb } from './procfile.ts'

const ENTRIES = ['main.py', 'app.py', 'server.py', 'wsgi.py', 'asgi.py', 'run.py'] as const
/** Packages live beside the code, so that the artifact holds all it needs; a virtual environment could not be moved. */
const PACKAGES = '.python_packages'
/** For the shell: a runtime that confines no network says in HOST that loopback is enough. */
// biome-ignore lint/suspicious/noTemplateCurlyInString: a shell default, not a template
const ADDRESS = '"${HOST:-0.0.0.0}"'

export const pythonDetector: Detector = {
  name: 'python',
  async detect(files, { isStartKnown }): Promise<Detection> {
    const requirements = await files.read('requirements.txt', LIMITS.detectFileBytes)
    const project = await files.read('pyproject.toml', LIMITS.detectFileBytes)
    if (requirements === null && project === null) return { found: false, lookedFor: 'a requirements.txt or pyproject.toml', because: null }
    const marker = requirements === null ? 'pyproject.toml' : 'requirements.txt'
    const install = `python3 -m pip install --disable-pip-version-check --no-cache-dir --target ${PACKAGES} ${requirements === null ? '.' : '-r requirements.txt'}`
    const build = { buildCommands: [install], deployFiles: ['./'] }
    const what = `Python app (${marker})`
    const reason = `${marker} is there: packages are installed into ${PACKAGES} beside the code`
    if (isStartKnown) return { found: true, what, input: { build }, reasons: [`${reason} (run.start needs PYTHONPATH=${PACKAGES})`] }
    const start = await startOf(files, `${requirements ?? ''}\n${project ?? ''}`)
    if (start === null)
      return {
        found: false,
        lookedFor: 'a Python project with something to start',
        because: `${marker} is there, but no Procfile and none of ${ENTRIES.join(', ')}`,
      }
    return {
      found: true,
      what,
      input: { build, run: { start: `PATH="$PWD/${PACKAGES}/bin:$PATH" PYTHONPATH="$PWD/${PACKAGES}" exec ${start.command}` } },
      reasons: [reason, start.reason],
    }
  },
}

/** A server that the project names itself is preferred to running a file: it listens where it is told. */
async function startOf(files: SourceFiles, named: string): Promise<{ command: string; reason: string } | null> {
  const web = await procfileWeb(files)
  if (web !== null) return { command: web, reason: `Procfile names the web process: \`${printable(web)}\`` }
  const asks = (name: string) => new RegExp(`(^|["'\\s])${name}(\\[[^\\]]*\\])?($|["'\\s<>=~!;,])`, 'im').test(named)
  for (const file of ENTRIES) {
    const text = await files.read(file, LIMITS.detectFileBytes)
    if (text === null) continue
    const app = /^(app|application|api)\s*(?::[^=]+)?=/m.exec(text)?.[1]
    const module = `${file.slice(0, -'.py'.length)}:${app}`
    const because = (server: string) => `${file} has ${app}, and ${server} is a dependency`
    if (app !== undefined && asks('uvicorn'))
      return { command: `python3 -m uvicorn ${module} --host ${ADDRESS} --port "$PORT"`, reason: because('uvicorn') }
    if (app !== undefined && asks('gunicorn'))
      return { command: `python3 -m gunicorn ${module} --bind ${ADDRESS}:"$PORT"`, reason: because('gunicorn') }
    if (app !== undefined && asks('flask'))
      return { command: `python3 -m flask --app ${module} run --host ${ADDRESS} --port "$PORT"`, reason: because('Flask') }
    return { command: `python3 ${file}`, reason: `${file} is there: \`python3 ${file}\`` }
  }
  return null
}
