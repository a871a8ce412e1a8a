/** Of a few repetitions: the median, and the tenth and ninetieth percentile. */
export interface Spread {
  readonly median: number
  readonly p10: number
  readonly p90: number
  readonly samples: readonly number[]
}

export function spread(samples: readonly number[]): Spread {
  const sorted = [...samples].sort((a, b) => a - b)
  return { median: quantile(sorted, 0.5), p10: quantile(sorted, 0.1), p90: quantile(sorted, 0.9), samples }
}

// Between the two nearest samples, as NumPy's default.
function quantile(sorted: readonly number[], q: number): number {
  const at = q * (sorted.length - 1)
  const low = Math.floor(at)
  const high = Math.min(low + 1, sorted.length - 1)
  return sorted[low]! + (sorted[high]! - sorted[low]!) * (at - low)
}

/** The same in another unit. */
export function scaled({ median, p10, p90, samples }: Spread, factor: number): Spread {
  return { median: median * factor, p10: p10 * factor, p90: p90 * factor, samples: samples.map((sample) => sample * factor) }
}

export async function seconds(work: () => unknown): Promise<number> {
  const began = performance.now()
  await work()
  return (performance.now() - began) / 1000
}

/**
 * Runs the contestants in turns, A B then B A, so that whatever else happens on the machine meets all of them. Each gives the value of one run; one run of
 * each goes before and does not count.
 */
export async function inTurns<Name extends string>(repetitions: number, contestants: Readonly<Record<Name, (() => Promise<number>) | undefined>>): Promise<Readonly<Record<Name, Spread>>> {
  const present = (Object.entries(contestants) as [Name, (() => Promise<number>) | undefined][]).filter((entry): entry is [Name, () => Promise<number>] => entry[1] !== undefined)
  const samples = new Map<Name, number[]>(present.map(([name]) => [name, []]))
  for (const [, run] of present) await run()
  for (let round = 0; round < repetitions; round++) {
    for (const [name, run] of round % 2 === 0 ? present : present.toReversed()) samples.get(name)!.push(await run())
  }
  return Object.fromEntries(present.map(([name]) => [name, spread(samples.get(name)!)])) as Record<Name, Spread>
}

/** The contestants of these names that took part. */
export function named(results: Readonly<Record<string, Spread>>, ...names: string[]): (Spread & { name: string })[] {
  return names.filter((name) => name in results).map((name) => ({ name, ...results[name]! }))
}
