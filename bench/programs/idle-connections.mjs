// Opens connections, asks once on each and keeps them open. argv: port host count. Says when all stand; ends with its parent.
import { connect } from 'node:net'

const [port, host, count] = process.argv.slice(2)
const question = `GET / HTTP/1.1\r\nhost: ${host}\r\n\r\n`
const sockets = []
let lost = 0

function open() {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), '127.0.0.1', () => socket.write(question))
    socket.once('data', resolve)
    socket.on('error', reject)
    socket.on('close', () => {
      lost += 1
    })
    sockets.push(socket)
  })
}

process.on('disconnect', () => process.exit(0))
for (let opened = 0; opened < Number(count); opened += 100) {
  await Promise.all(Array.from({ length: Math.min(100, Number(count) - opened) }, open))
}
process.send?.({ open: sockets.length - lost })
