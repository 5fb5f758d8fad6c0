import { cpSync, writeFileSync } from 'node:fs'

cpSync('src', 'dist', { recursive: true })
cpSync('package.json', 'dist/package.json')
writeFileSync('dist/built.json', `${JSON.stringify({ node: process.version })}\n`)
console.log('built dist/ with node', process.version)
