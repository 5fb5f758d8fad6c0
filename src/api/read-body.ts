import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'

/** A JSON body, bounded while it arrives. */
export async function readJson(body: AsyncIterable<Uint8Array>, headers: { readonly contentType: string | undefined }): Promise<unknown> {
  const type = headers.contentType?.split(';')[0]?.trim().toLowerCase() ?? ''
  if (type !== 'application/json' && !type.endsWith('+json')) {
    throw new ShiplockError('INPUT_INVALID', `the body must be application/json${type === '' ? '' : `, not ${type.slice(0, 100)}`}`)
  }
  const bytes = await readBytes(body)
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
  } catch (error) {
    throw new ShiplockError(
      'INPUT_INVALID',
      `the body is not JSON: ${error instanceof SyntaxError ? error.message.slice(0, 200) : 'not UTF-8'}`,
    )
  }
}

async function readBytes(body: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of body) {
    size += chunk.length
    if (size > LIMITS.apiBodyBytes) {
      throw new ShiplockError('BODY_TOO_LARGE', `the body is larger than ${LIMITS.apiBodyBytes} bytes`, {
        details: { bytesMax: LIMITS.apiBodyBytes },
      })
    }
    chunks.push(chunk)
  }
  return Buffer.concat(chunks)
}
