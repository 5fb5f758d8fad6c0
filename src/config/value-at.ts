/** What stands at a path in plain data; undefined when nothing does. Inherited properties don't count. */
export function valueAt(data: unknown, path: readonly (string | number)[]): unknown {
  let value = data
  for (const key of path) {
    if (value === null || typeof value !== 'object' || !Object.hasOwn(value, key)) return undefined
    value = (value as Record<string | number, unknown>)[key]
  }
  return value
}
