const { createServer } = require('node:http')
const ms = require('ms')
createServer((_, response) => response.end(`up for ${ms(60_000, { long: true })}, ${process.env.NODE_ENV}\n`)).listen(process.env.PORT)
