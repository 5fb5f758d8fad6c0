// A target for the edge: answers every request with its name, echoes what is posted. Says its port to the parent.
import { createServer } from 'node:http'

const name = process.argv[2] ?? 'app'
const server = createServer((request, response) => {
  response.setHeader('x-version', name)
  if (request.method !== 'POST') return response.end(name)
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => response.end(Buffer.concat(chunks)))
})
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => process.send?.({ port: server.address().port }))
process.on('disconnect', () => process.exit(0))
