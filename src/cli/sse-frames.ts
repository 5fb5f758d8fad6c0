export interface StreamFrame {
  readonly id: string | null
  readonly event: string
  readonly data: unknown
}

/** More than any frame that the server sends; beyond it is not our server (I12). */
const FRAME_MAX = 4 * 1024 * 1024

/** Name given to a frame without data: it only says from where to continue. */
export const PLACE = 'place'

/** Server-sent events of a response; comments are passed over. */
export async function* readFrames(response: Response): AsyncGenerator<StreamFrame> {
  if (response.body === null) return
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n\n')
    rest = parts.pop() ?? ''
    if (rest.length > FRAME_MAX) throw new Error('a frame of the stream is too large')
    for (const part of parts) {
      const frame = parseFrame(part)
      if (frame !== null) yield frame
    }
  }
}

function parseFrame(text: string): StreamFrame | null {
  let id: string | null = null
  let event = 'message'
  let data: string | null = null
  for (const line of text.split('\n')) {
    const colon = line.indexOf(':')
    if (colon <= 0) continue
    const value = line.slice(colon + 1).replace(/^ /, '')
    const field = line.slice(0, colon)
    if (field === 'id') id = value
    else if (field === 'event') event = value
    else if (field === 'data') data = data === null ? value : `${data}\n${value}`
  }
  if (data === null) return id === null ? null : { id, event: PLACE, data: null }
  return { id, event, data: JSON.parse(data) }
}
