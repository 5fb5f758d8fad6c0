import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { ServiceEnvironmentId } from '../../domain/ids.ts'
import { dynamicDocument } from './dynamic-document.ts'
import { traefikLabels } from './labels.ts'

const routing = { innerUrl: 'http://127.0.0.1:8080', entryPoints: [], certResolver: null }
const route = 'sen_1A' as ServiceEnvironmentId

test('one router per host, all to the inner edge, so that no swap changes the document', () => {
  expect(dynamicDocument(['b.example.com', 'a.example.com', 'b.example.com'], routing)).toEqual({
    http: {
      routers: {
        'shiplock-a-example-com': { rule: 'Host(`a.example.com`)', service: 'shiplock' },
        'shiplock-b-example-com': { rule: 'Host(`b.example.com`)', service: 'shiplock' },
      },
      services: {
        shiplock: {
          loadBalancer: {
            servers: [{ url: 'http://127.0.0.1:8080' }],
            passHostHeader: true,
            serversTransport: 'shiplock',
            responseForwarding: { flushInterval: '1ms' },
          },
        },
      },
      serversTransports: { shiplock: { forwardingTimeouts: { idleConnTimeout: '30s', dialTimeout: '5s' } } },
    },
  })
})

test('entry points and certificate resolver stand on every router', () => {
  const document = dynamicDocument(['a.example.com'], { ...routing, entryPoints: ['websecure'], certResolver: 'le' })
  expect(document.http?.routers['shiplock-a-example-com']).toMatchObject({ entryPoints: ['websecure'], tls: { certResolver: 'le' } })
})

test('without hosts it is empty: Traefik refuses empty sections', () => expect(dynamicDocument([], routing)).toEqual({}))

test('I9: a host that could break out of its rule is left out', () => {
  expect(dynamicDocument(['a`) || Host(`evil', 'UPPER.example.com', 'a b', '', '*.example.com', 'a.example.com:80'], routing)).toEqual({})
})

test('different hosts never share a router, equal sets give equal documents', () => {
  const host = fc.stringMatching(/^[a-z0-9_][a-z0-9_-]{0,6}(\.[a-z0-9_][a-z0-9_-]{0,6}){0,3}$/)
  fc.assert(
    fc.property(fc.uniqueArray(host, { maxLength: 8 }), (hosts) => {
      const { http } = dynamicDocument(hosts, routing)
      expect(Object.keys(http?.routers ?? {})).toHaveLength(hosts.length)
      expect(JSON.stringify(dynamicDocument([...hosts].reverse(), routing))).toBe(
        JSON.stringify({ ...(http === undefined ? {} : { http }) }),
      )
    }),
  )
})

test('labels name router, service, port, resolver and network', () => {
  expect(
    traefikLabels(route, 'a.example.com', 3000, { network: 'traefik', entryPoints: ['web', 'websecure'], certResolver: 'le' }),
  ).toEqual({
    'traefik.enable': 'true',
    'traefik.docker.network': 'traefik',
    'traefik.http.routers.shiplock-sen-1a.rule': 'Host(`a.example.com`)',
    'traefik.http.routers.shiplock-sen-1a.service': 'shiplock-sen-1a',
    'traefik.http.routers.shiplock-sen-1a.entrypoints': 'web,websecure',
    'traefik.http.routers.shiplock-sen-1a.tls': 'true',
    'traefik.http.routers.shiplock-sen-1a.tls.certresolver': 'le',
    'traefik.http.services.shiplock-sen-1a.loadbalancer.server.port': '3000',
  })
  expect(() => traefikLabels(route, 'a`)', 3000, { network: 'traefik', entryPoints: [], certResolver: null })).toThrow(/no host/)
})
