import { mkdirSync, writeFileSync } from 'node:fs'
mkdirSync('dist/assets', { recursive: true })
writeFileSync('dist/index.html', '<!doctype html><title>one page</title>')
writeFileSync('dist/assets/app.js', 'export {}')
