import * as net from 'node:net'
import { ShiplockError } from '../../core/errors.ts'
import { describePortOwner } from './port-owner.ts'

interface BoundHandle {
  readonly fd: number
  close(): void
  getsockname(out: { port?: number }): number
}

/** A bound socket that this process never accepts from: it is handed to the workers as a file descriptor. */
export interface Listener {
  readonly fd: number
  readonly port: number
  close(): void
}

type CreateHandle = (address: string, port: number, family: 4 | 6, fd: number, flags: number) => BoundHandle | number
const UV_EADDRINUSE = -98
const UV_EACCES = -13

/**
 * Binds without listening. node:net has this for node:cluster (`_createServerHandle`, unchanged since 0.x); the public API can only
 * bind and accept at once, and a connection accepted by the primary would be lost with it.
 */
export function bindListener(host: string, port: number): Listener {
  const create = (net as unknown as { readonly _createServerHandle: CreateHandle })._createServerHandle
  const handle = create(host, port, net.isIPv6(host) ? 6 : 4, -1, 0)
  if (typeof handle === 'number') throw bindError(handle, host, port)
  // libuv reports a port in use only when the socket is asked about.
  const name: { port?: number } = {}
  const error = handle.getsockname(name)
  if (error !== 0) {
    handle.close()
    throw bindError(error, host, port)
  }
  return { fd: handle.fd, port: name.port ?? port, close: () => handle.close() }
}

function bindError(error: number, host: string, port: number): ShiplockError {
  if (error === UV_EADDRINUSE) {
    const owner = describePortOwner(port)
    return new ShiplockError('PORT_IN_USE', `port ${port} on ${host} is already used${owner === null ? '' : ` by ${owner}`}`, {
      details: { host, port, owner },
    })
  }
  if (error === UV_EACCES) {
    return new ShiplockError('PORT_IN_USE', `port ${port} needs more rights than this process has`, {
      hint: 'Choose a port from 1024 on, or allow it with `sysctl net.ipv4.ip_unprivileged_port_start`.',
      details: { host, port },
    })
  }
  return new ShiplockError('EDGE_REFUSED', `can't listen on ${host}:${port} (error ${error})`, { details: { host, port } })
}
