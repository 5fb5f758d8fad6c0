/**
 * Waits until `condition` holds (does not throw and is not false), asking again with growing pauses. The last failure is what a test sees.
 */
export async function eventually<T>(
  condition: () => T | false | Promise<T | false>,
  options: { readonly withinMs?: number } = {},
): Promise<T> {
  const withinMs = options.withinMs ?? 10_000
  const deadline = performance.now() + withinMs
  for (let pauseMs = 2; ; pauseMs = Math.min(pauseMs * 1.5, 100)) {
    let failure: unknown = new Error(`the condition did not hold within ${withinMs} ms`)
    try {
      const value = await condition()
      if (value !== false) return value
    } catch (error) {
      failure = error
    }
    if (performance.now() > deadline) throw failure
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
  }
}
