/** A path as patterns read it, each name with a `/` behind it: made once, matched against any number of patterns. */
export class PathText {
  readonly path: string
  readonly #spelled: string
  #codes: Uint32Array | null = null
  #reversed: Uint32Array | null = null

  /** Names with `/` between them; `''` is the root, which has no names. */
  constructor(path: string) {
    this.path = path
    this.#spelled = path === '' ? '' : `${path}/`
  }

  /** `a/b/`. */
  get spelled(): string {
    return this.#spelled
  }

  get codes(): Uint32Array {
    this.#codes ??= codePoints(this.#spelled)
    return this.#codes
  }

  /** The last name first, and each name from its end. */
  get reversedCodes(): Uint32Array {
    this.#reversed ??= this.path === '' ? new Uint32Array(0) : reversedOf(this.path)
    return this.#reversed
  }
}

const SLASH = 0x2f

function codePoints(text: string): Uint32Array {
  const codes = new Uint32Array(text.length)
  let count = 0
  for (let at = 0; at < text.length; at++) {
    const code = text.codePointAt(at) ?? 0
    if (code > 0xffff) at += 1
    codes[count] = code
    count += 1
  }
  return codes.subarray(0, count)
}

function reversedOf(path: string): Uint32Array {
  const codes = codePoints(`/${path}`)
  return codes[0] === SLASH ? codes.reverse() : codes
}
