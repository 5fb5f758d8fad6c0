import { expect, test } from 'vitest'
import type { InstanceId } from '../../domain/ids.ts'
import { controlSocketPath, parseEdgeProcessConfig } from './edge-config.ts'
import { EDGE_ERRORS, type EdgeErrorCode, errorPage } from './error-page.ts'
import { inodesInTable } from './port-owner.ts'
import { Serial } from './serial.ts'
import type { WorkerTraffic } from './switchboard.ts'
import { addTraffic } from './traffic-sum.ts'

const part = (generation: number, requests: number, longestStallMs: number): WorkerTraffic => ({
  generation,
  requests,
  serverErrors: 1,
  failures: 2,
  longestStallMs,
  targets: [{ instanceId: 'ins_a' as InstanceId, inFlight: 1, requests, serverErrors: 1, failures: 2 }],
})

test('traffic of workers is added up; the longest stall is the longest of any', () => {
  expect(addTraffic(3, [part(3, 10, 5), part(3, 20, 9)])).toEqual({
    generation: 3,
    requests: 30,
    serverErrors: 2,
    failures: 4,
    longestStallMs: 9,
    targets: [{ instanceId: 'ins_a', inFlight: 2, requests: 30, serverErrors: 2, failures: 4 }],
  })
})

test('a worker that is a generation behind or ahead does not count', () => {
  expect(addTraffic(3, [part(2, 10, 5), part(3, 20, 9)]).requests).toBe(20)
  expect(addTraffic(3, [])).toMatchObject({ requests: 0, targets: [] })
})

test.each(Object.keys(EDGE_ERRORS) as EdgeErrorCode[])('the page of %s says its code, its length and nothing about addresses', (code) => {
  for (const accept of [undefined, 'application/json', 'text/html']) {
    const { status, headers, body } = errorPage(code, accept)
    expect(status).toBe(EDGE_ERRORS[code].status)
    expect(headers[headers.indexOf('x-shiplock-error') + 1]).toBe(code)
    expect(Number(headers[headers.indexOf('content-length') + 1])).toBe(Buffer.byteLength(body))
    expect(body.startsWith('<!doctype html>')).toBe(accept === 'text/html')
    expect(body).not.toMatch(/127\.0|localhost/)
  }
})

test('503 says when to come back', () => {
  expect(errorPage('held', undefined).headers).toContain('retry-after')
  expect(errorPage('instance-failed', undefined).headers).not.toContain('retry-after')
})

test('jobs run one at a time and in order; a failed one does not stop the next', async () => {
  const serial = new Serial()
  const order: string[] = []
  const job = (name: string, fails = false) =>
    serial.run(async () => {
      order.push(`${name} begins`)
      await Promise.resolve()
      order.push(`${name} ends`)
      if (fails) throw new Error(name)
      return name
    })
  const [one, two] = await Promise.allSettled([job('one', true), job('two')])
  expect([one?.status, two?.status]).toEqual(['rejected', 'fulfilled'])
  expect(order).toEqual(['one begins', 'one ends', 'two begins', 'two ends'])
})

test('a directory too long for a unix socket is refused before anything starts', () => {
  expect(controlSocketPath('/data/edge')).toBe('/data/edge/control.sock')
  expect(() => controlSocketPath(`/${'d'.repeat(120)}`)).toThrow(/too long for a unix socket/)
})

const config = { stateDirectory: '/data/edge', host: '127.0.0.1', port: 8080, workers: 2 }

test('a start configuration is completed', () => {
  expect(parseEdgeProcessConfig(JSON.stringify(config))).toEqual({
    ...config,
    responseTimeoutMs: null,
    trustsForwarded: false,
    cookieBase: null,
    inheritedFd: null,
    reportFd: null,
  })
})

test.each([
  ['stateDirectory', 'relative'],
  ['port', 70_000],
  ['port', '80'],
  ['workers', 0],
  ['workers', 1000],
  ['host', null],
])('a start configuration with %s = %j is refused by name', (field, value) => {
  expect(() => parseEdgeProcessConfig(JSON.stringify({ ...config, [field]: value }))).toThrow(`${field}:`)
})

test('the listening sockets of a port are found in the kernel’s table, connections are not', () => {
  const table = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0000000000000000 100 0 0 10 0
   1: 0100007F:1F90 0100007F:A000 01 00000000:00000000 00:00000000 00000000     0        0 22222 1 0000000000000000 100 0 0 10 0
   2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 33333 1 0000000000000000 100 0 0 10 0`
  expect(inodesInTable(table, 8080)).toEqual(['12345'])
  expect(inodesInTable(table, 1)).toEqual([])
})
