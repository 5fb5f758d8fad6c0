import { SERVICE_NAME } from './manifest/fields.ts'

const LENGTH_MAX = 40

/** A legal service name near any text: `@acme/My_App` becomes `my-app`. The same text always gives the same name. */
export function normalizeName(text: string): string {
  const ascii = text
    .normalize('NFKD')
    .replace(/\p{M}/gu, '')
    .toLowerCase()
    .replace(/^@[^/]*\//, '')
    .replace(/\.git$/, '')
  const dashed = ascii.replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '')
  const lettered = /^[a-z]/.test(dashed) ? dashed : `app-${dashed}`
  const cut = lettered.slice(0, LENGTH_MAX).replace(/-+$/, '')
  return SERVICE_NAME.test(cut) ? cut : 'app'
}
