/** What `use` makes of each, in their order, so many at the same time. When one fails no other is begun, and when all that were have ended, the error is that of the first of them. */
export async function inLanes<T, R>(all: readonly T[], lanes: number, use: (one: T) => Promise<R>): Promise<R[]> {
  const made: R[] = []
  const failures: { readonly place: number; readonly error: unknown }[] = []
  const queue = all.entries()
  const lane = async (): Promise<void> => {
    for (const [place, one] of queue) {
      if (failures.length > 0) return
      try {
        made[place] = await use(one)
      } catch (error) {
        failures.push({ place, error })
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(lanes, all.length) }, lane))
  if (failures.length > 0) throw failures.reduce((first, one) => (one.place < first.place ? one : first)).error
  return made
}
