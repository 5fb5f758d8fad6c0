/** Runs `act` over all items, at most `limit` at a time. The first failure stops new ones and is thrown once the running ones ended. */
export async function eachLimited<Item>(items: Iterable<Item>, limit: number, act: (item: Item) => Promise<void>): Promise<void> {
  const iterator = items[Symbol.iterator]()
  let failure: { readonly error: unknown } | null = null
  const lane = async () => {
    for (let next = iterator.next(); !next.done && failure === null; next = iterator.next()) {
      try {
        await act(next.value)
      } catch (error) {
        failure ??= { error }
      }
    }
  }
  await Promise.all(Array.from({ length: limit }, lane))
  if (failure !== null) throw (failure as { readonly error: unknown }).error
}
