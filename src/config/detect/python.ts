import { printable } from '../../core/printable.ts'
import type { SourceFiles } from '../source-files.ts'
import type { Detection, Detector } from './detector.ts'
import { type Procfile, readProcfile } from './procfile.ts'
import { PACKAGES, type PythonPackages, pythonPackages } from './python-packages.ts'
import { djangoStart, inPython, PYTHON_ENTRIES, type PythonStart, pythonStart, withPython3 } from './python-start.ts'

export const pythonDetector: Detector = {
  name: 'python',
  async detect(files, { isStartKnown }): Promise<Detection> {
    const procfile = await readProcfile(files)
    const packages = (await pythonPackages(files)) ?? (await withoutPackages(files, procfile))
    if (packages === null)
      return { found: false, lookedFor: 'a requirements.txt, pyproject.toml, Pipfile, setup.py or manage.py', because: null }
    return planOf(files, packages, procfile, isStartKnown)
  },
}

/** Django is taken before a package.json beside it, which then builds its styles. */
export const djangoDetector: Detector = {
  name: 'django',
  async detect(files, context): Promise<Detection> {
    const manage = await files.readIfText('manage.py')
    if (manage !== null && /DJANGO_SETTINGS_MODULE/.test(manage)) return pythonDetector.detect(files, context)
    return { found: false, lookedFor: 'a manage.py', because: null }
  },
}

async function planOf(files: SourceFiles, packages: PythonPackages, procfile: Procfile, isStartKnown: boolean): Promise<Detection> {
  const what = `Python app (${packages.marker})`
  const hasSource = await files.hasDirectory('src')
  const django = await djangoStart(files, packages.named)
  const start = isStartKnown ? null : await startOf(files, packages, procfile, django)
  const env = `PATH="$PWD/${PACKAGES}/bin:$PATH" PYTHONPATH="$PWD/${PACKAGES}"`
  const also = start?.also ?? []
  const buildCommands = [
    ...packages.install,
    ...(also.length === 0
      ? []
      : [`python3 -m pip install --disable-pip-version-check --no-cache-dir --target ${PACKAGES} ${also.join(' ')}`]),
    ...(django?.collects ? [`${env} python3 manage.py collectstatic --noinput`] : []),
  ]
  const build = {
    ...(buildCommands.length === 0 ? {} : { base: 'python' }),
    ...(packages.prepare.length === 0 ? {} : { prepareCommands: [...packages.prepare] }),
    buildCommands,
    deployFiles: ['./'],
  }
  const versionNote =
    packages.version === null ? [] : [`the project asks for Python ${printable(packages.version)}; the Python of the host is used`]
  const collected = django?.collects ? ['STATIC_ROOT is set: `manage.py collectstatic` runs in the build'] : []
  if (isStartKnown)
    return {
      found: true,
      what,
      input: { build },
      reasons: [`${packages.reason} (run.start needs PYTHONPATH=${PACKAGES})`, ...versionNote, ...collected],
    }
  if (start === null)
    return {
      found: false,
      lookedFor: 'a Python project with something to start',
      because: `${packages.marker} is there, but nothing to start: no Procfile with web, no manage.py, none of ${PYTHON_ENTRIES.join(', ')}; say it in shiplock.yaml as run.start`,
    }
  const release = procfile.get('release')
  const notes = release === undefined ? (django?.notes ?? []) : []
  return {
    found: true,
    what,
    input: {
      build,
      run: { base: 'python', start: inPython(start.command, hasSource) },
      ...(release === undefined ? {} : { deploy: { releaseCommand: inPython(withPython3(release), hasSource) } }),
    },
    reasons: [packages.reason, ...versionNote, start.reason, ...collected, ...notes],
  }
}

async function startOf(
  files: SourceFiles,
  packages: PythonPackages,
  procfile: Procfile,
  django: PythonStart | null,
): Promise<PythonStart | null> {
  const web = procfile.get('web')
  if (web !== undefined) {
    const command = withPython3(web)
    const told = command === web ? '' : ' (python is called python3 here)'
    return { command, reason: `Procfile names the web process: \`${printable(web)}\`${told}` }
  }
  if (django !== null) return django
  const start = await pythonStart(files, packages.named)
  if (start !== null || packages.script === null) return start
  const [module = '', name = ''] = packages.script.split(':')
  return {
    command: `python3 -c 'import sys; from ${module} import ${name.split('.')[0]}; sys.exit(${name}())'`,
    reason: `pyproject.toml names a program: ${packages.script}`,
  }
}

/** A program of the standard library alone: nothing names packages, and something can be started. */
async function withoutPackages(files: SourceFiles, procfile: Procfile): Promise<PythonPackages | null> {
  const isNamed = /^(?:\w+=\S+\s+)*(?:exec\s+)?python[\d.]*\s/.test(procfile.get('web') ?? '')
  const places = ['manage.py', ...PYTHON_ENTRIES]
  const isSite = await files.has('index.html')
  for (const marker of places) {
    if (!isNamed && isSite) break
    if (!(await files.has(marker))) continue
    return nothingToInstall(marker)
  }
  return isNamed ? nothingToInstall('Procfile') : null
}

function nothingToInstall(marker: string): PythonPackages {
  const reason = `${marker} is there and no requirements.txt or pyproject.toml: nothing is installed`
  return { marker, prepare: [], install: [], reason, named: '', version: null, script: null }
}
