import type { Detector } from './detector.ts'

export const dockerfileDetector: Detector = {
  name: 'dockerfile',
  async detect(files) {
    if (!(await files.has('Dockerfile'))) return { found: false, lookedFor: 'a Dockerfile', because: null }
    return {
      found: true,
      what: 'Docker image (Dockerfile)',
      input: { build: { dockerfile: 'Dockerfile' } },
      reasons: ['Dockerfile is there: the image is built from it and its own command is run (--build recipe builds without)'],
    }
  },
}
