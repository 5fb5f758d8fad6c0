import { cp, mkdir, writeFile } from 'node:fs/promises'

await mkdir('dist', { recursive: true })
await cp('src/server.js', 'dist/server.js')
await writeFile('dist/built-at.json', JSON.stringify({ builtAt: new Date().toISOString() }))
console.log('built dist/')
