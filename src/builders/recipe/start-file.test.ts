import { expect, test } from 'vitest'
import { ShiplockError } from '../../core/errors.ts'
import type { TreeEntry } from '../../core/walk-tree.ts'
import { checkStartFiles, findNeededFile } from './start-file.ts'

test.each([
  ['node dist/server.js', 'dist/server.js'],
  ['node ./dist/server.js --port 80', 'dist/server.js'],
  ['exec node server', 'server'],
  ['NODE_ENV=production node app.mjs', 'app.mjs'],
  ['env A=b node app.js', 'app.js'],
  ['node --enable-source-maps -r dotenv/config src/index.js', 'src/index.js'],
  ['node --max-old-space-size=512 app.js', 'app.js'],
  ['./bin/app serve', 'bin/app'],
  ['bin/app', 'bin/app'],
  ['python app.py', 'app.py'],
  ['python3.11 -u src/main.py', 'src/main.py'],
  ['bun src/index.ts', 'src/index.ts'],
  ['ruby app.rb', 'app.rb'],
  ['php server.php', 'server.php'],
  ['sh start.sh', 'start.sh'],
  ['npm start', 'package.json'],
  ['npm run serve', 'package.json'],
])('%s needs %s', (command, path) => {
  expect(findNeededFile(command)?.path).toBe(path)
})

test.each([
  'node -e 1',
  'node --run start',
  'node',
  'node /srv/app.js',
  'node $APP',
  'node "my app.js"',
  'cd dist && node server.js',
  'node server.js | tee log',
  'python -m http.server',
  'gunicorn app:app',
  'bun run start',
  'npx serve',
  'npm exec serve',
  '/usr/bin/app',
  '../app',
  'node ../app.js',
  'deno run main.ts',
  'python manage',
  '',
  'caddy run',
])('nothing is claimed about %j', (command) => {
  expect(findNeededFile(command)).toBeNull()
})

const artifact = (...paths: string[]) =>
  new Map<string, TreeEntry>(paths.map((path) => [path, { path, kind: 'file', mode: 0o644, bytes: 1, hardLinks: 1, uid: 0, target: null }]))

test('the classic tilde mistake is refused with both paths', () => {
  expect(() => checkStartFiles(['node dist/server.js'], artifact('server.js', 'package.json'))).toThrow(
    'the start command `node dist/server.js` needs dist/server.js, but the artifact has server.js',
  )
  try {
    checkStartFiles(['node dist/server.js'], artifact('server.js'))
  } catch (error) {
    expect(error).toBeInstanceOf(ShiplockError)
    expect((error as ShiplockError).code).toBe('START_FILE_MISSING')
    expect((error as ShiplockError).details).toEqual({ command: 'node dist/server.js', lookedFor: 'dist/server.js', found: ['server.js'] })
  }
})

test('nothing of that name is said so', () => {
  expect(() => checkStartFiles(['python app.py'], artifact('main.py'))).toThrow('no file of that name is in the artifact')
})

test.each([
  ['node server', ['server.js']],
  ['node dist', ['dist/index.js']],
  ['node dist', ['dist/package.json']],
  ['python src/app', ['src/app/__main__.py']],
  ['./bin/app', ['bin/app']],
])('%s is content with %j', (command, paths) => {
  expect(() => checkStartFiles([command], artifact(...paths))).not.toThrow()
})

test('what lies behind a link is not judged', () => {
  const files = artifact()
  files.set('current', { path: 'current', kind: 'symlink', mode: 0o777, bytes: 0, hardLinks: 1, uid: 0, target: 'releases/1' })
  expect(() => checkStartFiles(['node current/server.js'], files)).not.toThrow()
})
