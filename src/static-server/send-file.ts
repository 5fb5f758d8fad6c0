import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { pipeline } from 'node:stream'
import { cacheControl } from './cache-policy.ts'
import type { ContentTags } from './content-tag.ts'
import { type FoundFile, firstFile } from './find-file.ts'
import { isPage, typeByContent, typeByName, withCharset } from './media-type.ts'
import { codingWeight } from './request-kind.ts'

export interface Sending {
  readonly root: string
  readonly tags: ContentTags
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly status: number
  /** The site's own, which win. */
  readonly headers: Readonly<Record<string, string>>
}

/** In the order in which they are chosen between equals. */
const TWINS = [
  { extension: '.br', coding: 'br' },
  { extension: '.zst', coding: 'zstd' },
  { extension: '.gz', coding: 'gzip' },
] as const
const SNIFFED_BYTES = 512

/** A file as the answer: its compressed twin where one lies beside it and is welcome, a part of it where only that is asked for. */
export async function sendFile(sending: Sending, file: FoundFile): Promise<void> {
  const { request, response, status, tags, headers } = sending
  const { sent, coding, hasTwins } = representation(sending, file)
  const tag = await tags.of(sent.path, sent.stat)
  const common: OutgoingHttpHeaders = {
    etag: tag,
    'cache-control': status === 200 && !isPage(file.address) ? cacheControl(file.address) : 'no-cache',
    ...(hasTwins ? { vary: 'Accept-Encoding' } : {}),
    ...headers,
  }
  if (status === 200 && matches(request.headers['if-none-match'], tag)) {
    response.writeHead(304, common).end()
    return
  }
  const range = status === 200 ? rangeOf(request, tag, sent.stat.size) : null
  if (range === 'beyond') {
    response.writeHead(416, { ...common, 'content-range': `bytes */${sent.stat.size}`, 'content-length': 0 }).end()
    return
  }
  const { start, end } = range ?? { start: 0, end: sent.stat.size - 1 }
  response.writeHead(range === null ? status : 206, {
    'content-type': withCharset(typeByName(file.address.slice(file.address.lastIndexOf('/') + 1)) ?? (await sniffed(file.path))),
    ...common,
    'accept-ranges': 'bytes',
    'content-length': end - start + 1,
    ...(coding === null ? {} : { 'content-encoding': coding }),
    ...(range === null ? {} : { 'content-range': `bytes ${start}-${end}/${sent.stat.size}` }),
  })
  if (request.method === 'HEAD' || end < start) response.end()
  else pipeline(createReadStream(sent.path, { start, end }), response, () => {})
}

/** Parts are of the file itself: what has a part of it goes on with that. */
function representation({ root, request }: Sending, file: FoundFile): { sent: FoundFile; coding: string | null; hasTwins: boolean } {
  const twins = TWINS.flatMap(({ extension, coding }) => {
    const twin = firstFile(root, [file.address + extension])
    return twin === null ? [] : [{ twin, coding, weight: codingWeight(request.headers['accept-encoding'], coding) }]
  })
  const welcome =
    request.headers.range === undefined ? twins.filter(({ weight }) => weight > 0).sort((a, b) => b.weight - a.weight)[0] : undefined
  if (welcome !== undefined) return { sent: welcome.twin, coding: welcome.coding, hasTwins: true }
  // SVG compressed by its very name has no other form.
  return { sent: file, coding: file.address.endsWith('.svgz') ? 'gzip' : null, hasTwins: twins.length > 0 }
}

function matches(ifNoneMatch: string | undefined, tag: string): boolean {
  if (ifNoneMatch === undefined) return false
  return ifNoneMatch.split(',').some((one) => one.trim() === '*' || one.trim().replace(/^W\//, '') === tag)
}

/** One part; null = the whole, which may always be sent instead. */
function rangeOf(request: IncomingMessage, tag: string, size: number): { start: number; end: number } | 'beyond' | null {
  const ifRange = request.headers['if-range']
  if (ifRange !== undefined && ifRange !== tag) return null
  const match = /^bytes=(\d*)-(\d*)$/.exec(request.headers.range?.trim() ?? '')
  const [, first = '', last = ''] = match ?? []
  if (first === '' && last === '') return null
  if (first === '') return Number(last) === 0 || size === 0 ? 'beyond' : { start: Math.max(0, size - Number(last)), end: size - 1 }
  const start = Number(first)
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1)
  if (last !== '' && Number(last) < start) return null
  return start >= size ? 'beyond' : { start, end }
}

async function sniffed(path: string): Promise<string> {
  const file = await open(path, 'r')
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(SNIFFED_BYTES), 0, SNIFFED_BYTES, 0)
    return typeByContent(buffer.subarray(0, bytesRead))
  } finally {
    await file.close()
  }
}
