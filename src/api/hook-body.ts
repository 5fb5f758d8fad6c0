import type { IncomingMessage } from 'node:http'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { FairShare, type Share } from './fair-share.ts'

/** Whose body it is, as far as anybody knows before it is verified. */
export interface BodyHolder {
  readonly address: string
  readonly hook: string
  readonly project: string
}

/**
 * Bodies of deliveries that nobody has verified yet, within the bounds of one, of one sender, hook and project, of all, of time and of
 * slowness. When all of them are too much, whoever holds the most is cut, so that a stranger can't take what others need.
 */
export class HookBodies {
  readonly #share = new FairShare({
    total: LIMITS.webhookBytesAtOnce,
    each: {
      address: LIMITS.webhookBytesPerHolder,
      hook: LIMITS.webhookBytesPerHolder,
      project: LIMITS.webhookBytesPerProject,
    },
  })

  /** Throws BODY_TOO_LARGE, RATE_LIMITED or INPUT_INVALID; the connection is then of no further use. */
  read(incoming: IncomingMessage, holder: BodyHolder, bytesMax: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = []
      let size = 0
      let seen = 0
      let share: Share | null = null
      let isOver = false
      const stop = () => {
        isOver = true
        clearTimeout(deadline)
        clearInterval(slowness)
        share?.close()
        incoming.off('data', take).off('end', end).off('close', gone).off('error', gone)
      }
      const refuse = (error: ShiplockError) => {
        stop()
        incoming.pause()
        reject(error)
      }
      const take = (chunk: Buffer) => {
        size += chunk.length
        if (size > bytesMax) return refuse(tooLarge(bytesMax))
        chunks.push(chunk)
        share?.add(chunk.length)
      }
      const end = () => {
        stop()
        resolve(Buffer.concat(chunks))
      }
      const gone = () => refuse(new ShiplockError('INPUT_INVALID', 'the request was cut before its body was here'))
      const deadline = setTimeout(() => refuse(tooSlow()), LIMITS.webhookBodyMs)
      const slowness = setInterval(() => {
        if (size - seen < LIMITS.webhookBodyBytesPerLook) refuse(tooSlow())
        seen = size
      }, LIMITS.webhookBodyLookMs)
      incoming.on('data', take).on('end', end).on('close', gone).on('error', gone)
      // May cut this very body at once.
      const opened = this.#share.open({ ...holder }, LIMITS.webhookBodyOverheadBytes, () => refuse(tooMany()))
      if (isOver) opened.close()
      else share = opened
    })
  }
}

function tooLarge(bytesMax: number): ShiplockError {
  return new ShiplockError('BODY_TOO_LARGE', `the body is larger than ${bytesMax} bytes`, { hint: 'Push fewer commits at once.' })
}

const tooMany = () =>
  new ShiplockError('RATE_LIMITED', 'too many deliveries are on their way, most of them from this sender or to this webhook')
const tooSlow = () =>
  new ShiplockError('INPUT_INVALID', 'the body came too slowly', {
    hint: `It has to be here within ${LIMITS.webhookBodyMs / 1000} s, without long pauses.`,
  })
