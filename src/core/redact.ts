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

/** Replaces every known secret value in a line, also as base64 and URL-encoded (I8). Longest first, so that no part of one stays. */
export function createRedactor(secrets: Iterable<string>): Redactor {
  const forms = new Set<string>()
  for (const secret of secrets) {
    for (const part of [secret, ...secret.split(/\r?\n/)]) {
      const value = part.trim()
      if (value.length < SHORTEST_SECRET) continue
      forms.add(value)
      forms.add(encodeURIComponent(value))
      forms.add(Buffer.from(value).toString('base64'))
      forms.add(Buffer.from(value).toString('base64url'))
      forms.add(JSON.stringify(value).slice(1, -1))
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
