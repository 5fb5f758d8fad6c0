import { LIMITS } from '../../core/limits.ts'
import type { Detector } from './detector.ts'

export const goDetector: Detector = {
  name: 'go',
  async detect(files, { isStartKnown }) {
    if ((await files.read('go.mod', LIMITS.detectFileBytes)) === null) return { found: false, lookedFor: 'a go.mod', because: null }
    if (!(await files.has('main.go')))
      return { found: false, lookedFor: 'a Go program', because: 'go.mod is there, but no main.go beside it' }
    return {
      found: true,
      what: 'Go program (go.mod)',
      input: {
        build: { buildCommands: ['go build -o app .'], deployFiles: ['app'] },
        ...(isStartKnown ? {} : { run: { start: './app' } }),
      },
      reasons: ['go.mod and main.go are there: `go build -o app .`, and only the program is deployed'],
    }
  },
}
