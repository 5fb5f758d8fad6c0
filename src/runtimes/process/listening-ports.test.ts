import { createServer } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { diagnoseListeners } from './diagnose-listeners.ts'
import { holderOf, listenersOf, parseListeners } from './listening-ports.ts'

const HEADER = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n'
const row = (address: string, state: string, inode: string) =>
  `   0: ${address} 00000000:0000 ${state} 00000000:00000000 00:00000000 00000000     0        0 ${inode} 1 0000000000000000 100 0 0 10 0\n`

describe('parseListeners', () => {
  test('reads IPv4, IPv6 and mapped addresses, and only sockets that listen', () => {
    const table = [
      HEADER,
      row('0100007F:1F90', '0A', '11'),
      row('00000000:0050', '0A', '12'),
      row('0100007F:1F91', '01', '13'),
      row('00000000000000000000000000000000:01BB', '0A', '14'),
      row('00000000000000000000000001000000:01BC', '0A', '15'),
      row('0000000000000000FFFF00000100007F:01BD', '0A', '16'),
    ].join('')
    expect(parseListeners(table)).toEqual([
      { host: '127.0.0.1', port: 8080, inode: '11' },
      { host: '0.0.0.0', port: 80, inode: '12' },
      { host: '::', port: 443, inode: '14' },
      { host: '::1', port: 444, inode: '15' },
      { host: '127.0.0.1', port: 445, inode: '16' },
    ])
  })
})

describe('who listens', () => {
  const listen = async (host: string): Promise<number> => {
    const server = createServer()
    onTestFinished(() => void server.close())
    await new Promise<void>((resolve) => server.listen(0, host, resolve))
    return (server.address() as { port: number }).port
  }

  test('a listener is found with its process', async () => {
    const port = await listen('127.0.0.1')
    expect(listenersOf([process.pid]).some((listener) => listener.port === port && listener.host === '127.0.0.1')).toBe(true)
    expect(holderOf(port, [1, process.pid])).toBe(process.pid)
    expect(listenersOf([])).toEqual([])
  })

  test('sentences tell the wrong port, the wrong address and silence apart', async () => {
    const port = await listen('127.0.0.1')
    expect(diagnoseListeners(port, [process.pid])).toEqual([])
    expect(diagnoseListeners(1, [process.pid]).join()).toContain(`127.0.0.1:${port}`)
    expect(diagnoseListeners(1, [process.pid]).join()).toContain('not on the PORT 1 that it was given')
    expect(diagnoseListeners(1, [])).toEqual(['listens on no port; it was given PORT 1'])
    const other = await listen('127.0.0.2')
    expect(diagnoseListeners(other, [process.pid]).join()).toContain("can't be reached")
  })
})
