import { printable } from '../../core/printable.ts'
import type { SourceFiles } from '../source-files.ts'
import type { Detector } from './detector.ts'
import { readProcfile } from './procfile.ts'
import { ADDRESS } from './shell-words.ts'
import { stylesBuild } from './styles-build.ts'

const ROOTS = ['public', 'web', 'webroot', 'htdocs', 'www', '.'] as const

/** A front controller by PHP's own server: files that exist are served, everything else goes to index.php. */
export const phpDetector: Detector = {
  name: 'php',
  async detect(files, { isStartKnown }) {
    const composer = await files.readIfText('composer.json')
    const root = await rootOf(files)
    if (root === null) {
      const because = composer === null ? null : `composer.json is there, but no index.php (here or in ${ROOTS.slice(0, -1).join(', ')})`
      return { found: false, lookedFor: 'a composer.json or index.php', because }
    }
    const shown = root === '.' ? 'index.php' : `${root}/index.php`
    const hasPackages = composer !== null && /"require(?:-dev)?"\s*:\s*\{\s*"/.test(composer)
    const isLaravel = await files.has('artisan')
    const styles = await stylesBuild(files)
    const install = 'composer install --no-dev --no-interaction --prefer-dist --optimize-autoloader'
    const web = (await readProcfile(files)).get('web')
    // Heroku's web servers (`vendor/bin/heroku-php-apache2 public/`) are programs of its own stack.
    const start = web === undefined || /heroku-(?:php|hhvm)-/.test(web) ? `exec php -S ${ADDRESS}:"$PORT" -t ${root}` : web
    return {
      found: true,
      what: `PHP app (${composer === null ? shown : 'composer.json'})`,
      input: {
        build: { base: 'php', buildCommands: [...(hasPackages ? [install] : []), ...styles.commands], deployFiles: ['./'] },
        ...(isStartKnown ? {} : { run: { base: 'php', start, env: { PHP_CLI_SERVER_WORKERS: '4' } } }),
      },
      reasons: [
        hasPackages ? `composer.json is there: \`${install}\`` : 'no composer.json with packages: nothing is installed',
        ...styles.reasons,
        `${shown} is there: PHP’s own server answers, with ${root} as its root`,
        ...(web === undefined || start === web ? [] : [`Procfile names ${printable(web)}, a program of another platform: not used`]),
        ...(isLaravel ? ['Laravel needs APP_KEY: `shiplock secret set APP_KEY` with what `php artisan key:generate --show` prints'] : []),
      ],
    }
  },
}

/** PHP is taken before a package.json beside it only where it is the application without doubt. */
export const phpAppDetector: Detector = {
  name: 'php-app',
  async detect(files, context) {
    const isApp = (await files.has('artisan')) || ((await files.has('composer.json')) && (await rootOf(files)) !== null)
    return isApp ? phpDetector.detect(files, context) : { found: false, lookedFor: 'a composer.json', because: null }
  },
}

async function rootOf(files: SourceFiles): Promise<string | null> {
  for (const root of ROOTS) if (await files.has(root === '.' ? 'index.php' : `${root}/index.php`)) return root
  return null
}
