/**
 * A cookie that names a domain above its app's own host goes to every app below that domain, also to those of other projects: `Domain=` the
 * name that all hosts of this server share, or one above it, is taken out, so that the cookie stays with the host that set it.
 * `base` null = the hosts of this server belong to people who trust each other.
 */
export function ownCookie(value: string, base: string | null): string {
  if (base === null || !/domain/i.test(value)) return value
  const [pair = '', ...attributes] = value.split(';')
  const kept = attributes.filter((attribute) => !isShared(attribute, base))
  return kept.length === attributes.length ? value : [pair, ...kept].join(';')
}

function isShared(attribute: string, base: string): boolean {
  const [, text] = /^\s*domain\s*=\s*(.*?)\s*$/i.exec(attribute) ?? []
  if (text === undefined) return false
  // As browsers read it: without the leading dot, in whatever case.
  const domain = text.toLowerCase().replace(/^\./, '').replace(/\.$/, '')
  return domain !== '' && (base === domain || base.endsWith(`.${domain}`))
}
