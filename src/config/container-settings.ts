import { isIP } from 'node:net'
import { join } from 'node:path'
import type { HostFacts, SettingDefinition } from './setting-definition.ts'
import type { Parsed } from './setting-parsers.ts'

/** What the server's owner decides about containers. */
export interface ContainerSettings {
  /** Addresses at which a container engine may be found, in order; empty = none is wanted. */
  readonly containerEngine: readonly string[]
  /** How containers are reached from this host. */
  readonly containerAddress: 'auto' | 'container' | 'publish' | { readonly address: string }
  /** What `ADD https://…` of a Dockerfile means. */
  readonly dockerfileAddUrls: 'refuse' | 'allow'
  /** The network of RUN steps. */
  readonly dockerfileNetwork: 'engine' | 'none'
}

export const CONTAINER_SETTING_DEFINITIONS: { readonly [Key in keyof ContainerSettings]: SettingDefinition<ContainerSettings[Key]> } = {
  containerEngine: {
    variable: 'SHIPLOCK_CONTAINER_ENGINE',
    about: 'Engine with the Docker API (Docker, Podman) that builds and runs images: `unix:///path`, `tcp://host:port`, or `none`.',
    example: 'unix:///run/podman/podman.sock',
    defaultText: "`DOCKER_HOST`, else the first of the usual sockets: Docker's, rootless Docker's, Podman's",
    parse: parseEngine,
    default: (host) => (host.dockerHost === null ? usualSockets(host) : [host.dockerHost]),
  },
  containerAddress: {
    variable: 'SHIPLOCK_CONTAINER_ADDRESS',
    about:
      'How containers are reached: `container` (by their own address), `publish` (at a port of 127.0.0.1 that the engine draws), or an IP address at which the engine publishes them.',
    example: 'publish',
    defaultText: '`auto`: by their own address where the bridge is on this host, otherwise published',
    parse: parseAddress,
    default: () => 'auto',
  },
  dockerfileAddUrls: {
    variable: 'SHIPLOCK_DOCKERFILE_ADD_URLS',
    about:
      '`ADD https://…` in Dockerfiles: `refuse`, or `allow`: the engine fetches it in the network of its host, loopback and private addresses included.',
    example: 'allow',
    defaultText: '`refuse`',
    parse: (text) => (text === 'refuse' || text === 'allow' ? { value: text } : { problem: 'must be refuse or allow' }),
    default: () => 'refuse',
  },
  dockerfileNetwork: {
    variable: 'SHIPLOCK_DOCKERFILE_NETWORK',
    about:
      'The network of RUN steps in Dockerfiles: `engine` (its default one, from which the addresses of the host’s networks are in reach), or `none`.',
    example: 'none',
    defaultText: '`engine`',
    parse: (text) => (text === 'engine' || text === 'none' ? { value: text } : { problem: 'must be engine or none' }),
    default: () => 'engine',
  },
}

function usualSockets({ xdgRuntimeDirectory, homeDirectory }: HostFacts): readonly string[] {
  const rootless = xdgRuntimeDirectory === null ? [] : [join(xdgRuntimeDirectory, 'docker.sock')]
  const rootlessPodman = xdgRuntimeDirectory === null ? [] : [join(xdgRuntimeDirectory, 'podman/podman.sock')]
  const all = [
    '/var/run/docker.sock',
    ...rootless,
    join(homeDirectory, '.docker/run/docker.sock'),
    '/run/podman/podman.sock',
    ...rootlessPodman,
  ]
  return all.map((path) => `unix://${path}`)
}

function parseEngine(text: string): Parsed<readonly string[]> {
  if (text.toLowerCase() === 'none') return { value: [] }
  if (/^(unix:\/\/)?\/[^\0]*$/.test(text)) return { value: [text.startsWith('/') ? `unix://${text}` : text] }
  return /^tcp:\/\/(\[[0-9a-fA-F:]+\]|[\w.-]+)(:\d{1,5})?$/.test(text)
    ? { value: [text] }
    : { problem: 'must be unix:///path, tcp://host:port or none' }
}

function parseAddress(text: string): Parsed<ContainerSettings['containerAddress']> {
  if (text === 'auto' || text === 'container' || text === 'publish') return { value: text }
  return isIP(text) === 4 ? { value: { address: text } } : { problem: 'must be auto, container, publish or an IPv4 address' }
}
