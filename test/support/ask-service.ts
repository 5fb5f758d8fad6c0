import { request } from 'node:http'

export interface ServiceReply {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: string
}

/** GET through the edge, by the service's host name; `fetch` would send the address instead. */
export function askService(edgePort: number, service: string, path = '/'): Promise<ServiceReply> {
  return new Promise((resolve, reject) => {
    const asked = request(
      { host: '127.0.0.1', port: edgePort, path, headers: { host: `${service}.localhost` }, agent: false },
      (answer) => {
        const chunks: Buffer[] = []
        answer.on('data', (chunk: Buffer) => chunks.push(chunk))
        answer.on('error', reject)
        answer.on('end', () =>
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(chunks).toString('utf8') }),
        )
      },
    )
    asked.on('error', reject)
    asked.end()
  })
}
