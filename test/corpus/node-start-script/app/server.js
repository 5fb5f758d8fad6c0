const { createServer } = require('node:http')
createServer((_, response) => response.end(`${process.env.GREETING}, ${process.env.NODE_ENV}\n`)).listen(process.env.PORT)
process.on('SIGTERM', () => process.exit(0))
