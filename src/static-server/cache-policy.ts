/** A year; the address changes with the content. */
const FOR_EVER = 'public, max-age=31536000, immutable'
/** May be kept, has to be asked about each time: a new version shows at once, an unchanged one costs 304. */
const ASK_AGAIN = 'no-cache'

/** Everything that bundlers put there has the hash of its content in its path. */
const HASHED_DIRECTORIES = /^\/(?:[^/]+\/)*(?:_next\/static|_app\/immutable)\//
const BUNDLED = /\.(?:m?js|css|map|wasm|json|woff2?|ttf|otf|eot|png|jpe?g|gif|svg|webp|avif|ico|mp4|webm|mp3)$/i
const HEX_HASH = /[.\-_~]([0-9a-f]{8,64})(?:\.(?:min|chunk|bundle|module|css|js))?\.\w+$/
/** Eight letters of Base64 or Base32, as Rollup, esbuild and what is made of them write. */
const SHORT_HASH = /[.\-_]([A-Za-z0-9_-]{8})\.\w+$/
const KIND_CHANGES_MIN = 3

/**
 * Only what has certainly the hash of its content in its name may be kept without asking: a wrong guess would keep an old file alive for a
 * year. A hash that doesn't look like one costs a question.
 */
export function cacheControl(path: string): string {
  return HASHED_DIRECTORIES.test(path) || (BUNDLED.test(path) && hasHash(path)) ? FOR_EVER : ASK_AGAIN
}

function hasHash(path: string): boolean {
  const name = path.slice(path.lastIndexOf('/') + 1)
  const hex = HEX_HASH.exec(name)?.[1]
  if (hex !== undefined && /\d/.test(hex) && /[a-f]/.test(hex)) return true
  const short = SHORT_HASH.exec(name)?.[1]
  return short !== undefined && /\d/.test(short) && kindChanges(short) >= KIND_CHANGES_MIN
}

/** How often it goes from one kind of character to another: words and dates do so seldom, hashes all the time. */
function kindChanges(text: string): number {
  const kinds = [...text].map((character) =>
    /\d/.test(character) ? 'd' : /[a-z]/.test(character) ? 'l' : /[A-Z]/.test(character) ? 'u' : 's',
  )
  return kinds.filter((kind, index) => index > 0 && kind !== kinds[index - 1]).length
}
