import type { WebhookHeaders } from './webhook.ts'

/** Every value of a header, whatever the case of its name. Values that something joined by `, ` stay joined. */
export function headerValues(headers: WebhookHeaders, name: string): readonly string[] {
  const wanted = name.toLowerCase()
  const values: string[] = []
  for (const key of Object.keys(headers)) {
    if (key.toLowerCase() !== wanted) continue
    const value = headers[key]
    if (typeof value === 'string') values.push(value)
    else if (Array.isArray(value)) values.push(...value.filter((item) => typeof item === 'string'))
  }
  return values
}

/** The first value of the first of these headers that has one that is not empty; null = none. */
export function firstHeader(headers: WebhookHeaders, names: readonly string[]): string | null {
  for (const name of names) {
    const value = headerValues(headers, name).find((text) => text !== '')
    if (value !== undefined) return value
  }
  return null
}
