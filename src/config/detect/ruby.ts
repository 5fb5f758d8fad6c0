import { printable } from '../../core/printable.ts'
import type { Detector } from './detector.ts'
import { readProcfile } from './procfile.ts'
import { ADDRESS } from './shell-words.ts'

const INSTALL = 'bundle config set --local path vendor/bundle && bundle config set --local without development:test && bundle install'
const PROGRAMS = ['app.rb', 'server.rb', 'main.rb', 'web.rb'] as const

/** Rails, Rack and Sinatra, with their gems in `vendor/bundle`. */
export const rubyDetector: Detector = {
  name: 'ruby',
  async detect(files, { isStartKnown }) {
    const gemfile = await files.readIfText('Gemfile')
    const isRack = await files.has('config.ru')
    if (gemfile === null && !isRack) return { found: false, lookedFor: 'a Gemfile', because: null }
    const asks = (gem: string) => new RegExp(`^\\s*gem\\s+["']${gem}["']`, 'm').test(gemfile ?? '')
    const isRails = asks('rails') || (await files.has('config/application.rb'))
    const web = (await readProcfile(files)).get('web')
    const program = (await Promise.all(PROGRAMS.map(async (name) => ((await files.has(name)) ? name : null)))).find((name) => name !== null)
    const start = ((): { command: string; reason: string } | null => {
      if (web !== undefined) return { command: web, reason: `Procfile names the web process: \`${printable(web)}\`` }
      if (isRails) return { command: `bundle exec rails server -b ${ADDRESS} -p "$PORT"`, reason: 'Rails is a dependency' }
      if (isRack && asks('puma'))
        return { command: `bundle exec puma -b tcp://${ADDRESS}:"$PORT"`, reason: 'config.ru is there, and puma is a dependency' }
      if (isRack) return { command: `bundle exec rackup -o ${ADDRESS} -p "$PORT"`, reason: 'config.ru is there (Rack)' }
      if (program === undefined) return null
      const isSinatra = asks('sinatra')
      return { command: `bundle exec ruby ${program}${isSinatra ? ` -o ${ADDRESS} -p "$PORT"` : ''}`, reason: `${program} is there` }
    })()
    if (start === null && !isStartKnown)
      return {
        found: false,
        lookedFor: 'a Ruby app',
        because: `Gemfile is there (Ruby), but nothing to start: no Procfile with web, no config.ru, none of ${PROGRAMS.join(', ')}; say it in shiplock.yaml as run.start`,
      }
    const assets = isRails && (await files.hasDirectory('app/assets'))
    const env = isRails ? { RAILS_ENV: 'production', RAILS_LOG_TO_STDOUT: '1', RAILS_SERVE_STATIC_FILES: '1' } : { RACK_ENV: 'production' }
    return {
      found: true,
      what: `Ruby app (${gemfile === null ? 'config.ru' : 'Gemfile'})`,
      input: {
        build: {
          base: 'ruby',
          ...(isRails ? { env: { RAILS_ENV: 'production' } } : {}),
          buildCommands: [
            ...(gemfile === null ? [] : [INSTALL]),
            ...(assets ? ['SECRET_KEY_BASE_DUMMY=1 bundle exec rails assets:precompile'] : []),
          ],
          deployFiles: ['./'],
        },
        ...(start === null || isStartKnown ? {} : { run: { base: 'ruby', start: start.command, env } }),
      },
      reasons: [
        gemfile === null ? 'no Gemfile: nothing is installed' : 'Gemfile is there: gems are installed into vendor/bundle',
        ...(start === null ? [] : [start.reason]),
        ...(isRails
          ? [
              'Rails needs SECRET_KEY_BASE or RAILS_MASTER_KEY (`shiplock secret set`), and its migrations deploy.releaseCommand: `bundle exec rails db:migrate`',
            ]
          : []),
      ],
    }
  },
}
