import type { Detector } from './detector.ts'

const PLACES = ['.', 'public', 'dist', 'build', 'out', '_site'] as const

/** A directory of ready files. Nothing is built. */
export const staticSiteDetector: Detector = {
  name: 'static',
  async detect(files) {
    for (const place of PLACES) {
      if (!(await files.has(place === '.' ? 'index.html' : `${place}/index.html`))) continue
      const shown = place === '.' ? 'index.html' : `${place}/index.html`
      return {
        found: true,
        what: `static site (${shown})`,
        input: { build: { deployFiles: [place === '.' ? './' : place] }, run: { staticRoot: place } },
        reasons: [`${shown} is there: ${place === '.' ? 'this directory' : place} is served as it is`],
      }
    }
    return { found: false, lookedFor: `an index.html (here or in ${PLACES.slice(1).join(', ')})`, because: null }
  },
}
