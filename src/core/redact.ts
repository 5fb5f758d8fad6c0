/** Shorter values would turn ordinary words into stars. */
const SHORTEST_SECRET = 6
const STARS = '********'

export type Redactor = (text: string) => string

/** The same for every string within plain data. */
export function redactAll<Data>(data: Data, redact: Redactor): Data {
  if (typeof data === 'string') return redact(data) as Data
  if (Array.isArray(data)) return data.map((item: unknown) => redactAll(item, redact)) as Data
  if (data === null || typeof data !== 'object') return data
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, redactAll(value, redact)])) as Data
}

function encodings(value: string): string[] {
  const urlEncoded = encodeURIComponent(value)
  return [
    urlEncoded,
    urlEncoded.replace(/%[0-9A-F]{2}/g, (octet) => octet.toLowerCase()),
    new URLSearchParams([['', value]]).toString().slice(1),
    JSON.stringify(value).slice(1, -1),
    ...(['base64', 'base64url'] as const).flatMap((encoding) => base64Forms(value, encoding)),
  ]
}

/** As a whole, and as part of a longer text (`user:password`), where it begins at any of three places of a group; only what depends on nothing else. */
function base64Forms(value: string, encoding: 'base64' | 'base64url'): string[] {
  const bytes = Buffer.from(value)
  const inside = [0, 1, 2].map((before) => {
    const text = Buffer.concat([Buffer.alloc(before), bytes])
      .toString(encoding)
      .replace(/=+$/, '')
    const isWhole = (before + bytes.length) % 3 === 0
    return text.slice(Math.ceil((before * 8) / 6), isWhole ? undefined : -1)
  })
  return [bytes.toString(encoding), ...inside.filter((form) => form.length >= SHORTEST_SECRET)]
}

/** Replaces every known secret value in a line, also as base64 and URL-encoded (I8). Longest first, so that no part of one stays. */
export function createRedactor(secrets: Iterable<string>): Redactor {
  const forms = new Set<string>()
  for (const secret of secrets) {
    for (const part of [secret, ...secret.split(/\r?\n/)]) {
      const value = part.trim()
      if (value.length < SHORTEST_SECRET) continue
      for (const form of [value, ...encodings(value)]) forms.add(form)
    }
  }
  const ordered = [...forms].sort((a, b) => b.length - a.length)
  if (ordered.length === 0) return (text) => text
  return (text) => {
    let redacted = text
    for (const form of ordered) redacted = redacted.replaceAll(form, STARS)
    return redacted
  }
}
