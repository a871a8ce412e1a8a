import type { Stores } from '../store/stores.js'
import type { MemoryTier } from './memory.js'

export interface TierStats {
  readonly hits: number
  /** Of the values of these hits. */
  readonly bytes: number
  /** What computing them again would have taken, as far as is known. */
  readonly secondsSaved: number
}

export interface Counts {
  readonly memory: TierStats
  readonly disk: TierStats
  readonly misses: number
  /** Misses although there was something: expired, or not accepted by `validate`. */
  readonly stale: number
  readonly puts: number
  readonly bytesPut: number
  readonly computed: number
  readonly secondsComputed: number
}

export interface CacheStats extends Counts {
  /** Since this cache was opened. */
  readonly session: Counts
  /** Hits of all look-ups, from 0 to 1. */
  readonly hitRate: number
  readonly memoryNow: { readonly items: number; readonly bytes: number; readonly evictions: number }
  /** Entries and bytes of values in the store, over all namespaces. */
  readonly stored: { readonly entries: number; readonly bytes: number }
}

const NAMES = ['memory-hits', 'memory-bytes', 'memory-seconds', 'disk-hits', 'disk-bytes', 'disk-seconds', 'misses', 'stale', 'puts', 'bytes-put', 'computed', 'seconds-computed'] as const
type Name = typeof NAMES[number]

/** Counts of a cache: kept here, and added to those of the directory now and then. */
export class Tally {
  readonly #counts = Object.fromEntries(NAMES.map((name) => [name, 0])) as Record<Name, number>
  /** What of them the directory has. */
  readonly #written = { ...this.#counts }
  #warned = false

  hit(tier: 'memory' | 'disk', bytes: number, seconds: number): void {
    const counts = this.#counts
    if (tier === 'memory') {
      counts['memory-hits']++
      counts['memory-bytes'] += bytes
      if (seconds > 0) counts['memory-seconds'] += seconds
    } else {
      counts['disk-hits']++
      counts['disk-bytes'] += bytes
      if (seconds > 0) counts['disk-seconds'] += seconds
    }
  }

  miss(stale: boolean): void {
    this.#counts.misses++
    if (stale) this.#counts.stale++
  }

  put(bytes: number): void {
    this.#counts.puts++
    this.#counts['bytes-put'] += bytes
  }

  computed(seconds: number): void {
    this.#counts.computed++
    this.#counts['seconds-computed'] += seconds
  }

  /** A value was computed and could not be kept. */
  notKept(error: Error): void {
    if (this.#warned) return
    this.#warned = true
    process.emitWarning(`tensorcache: ${error.message}; values are computed and not kept until there is room`, { code: 'TENSORCACHE_DISK_FULL' })
  }

  async read(stores: Stores | undefined, memory: MemoryTier): Promise<CacheStats> {
    await this.flush(stores)
    const kept: Readonly<Record<string, number>> = stores?.main.tallies() ?? this.#counts
    const all = countsOf((name) => kept[name] ?? 0)
    const hits = all.memory.hits + all.disk.hits
    const namespaces = stores?.all.flatMap(({ entries }) => entries.namespaces()) ?? []
    return {
      ...all,
      session: countsOf((name) => this.#counts[name]),
      hitRate: hits + all.misses === 0 ? 0 : hits / (hits + all.misses),
      memoryNow: { items: memory.items, bytes: memory.bytes, evictions: memory.evictions },
      stored: stores === undefined ? { entries: memory.items, bytes: memory.bytes } : { entries: namespaces.reduce((sum, { entries }) => sum + entries, 0), bytes: namespaces.reduce((sum, { bytes }) => sum + bytes, 0) },
    }
  }

  /** Adds what is new to the directory's counts. */
  async flush(stores: Stores | undefined): Promise<void> {
    const added: Record<string, number> = {}
    for (const name of NAMES) {
      const change = this.#counts[name] - this.#written[name]
      if (change !== 0) added[name] = change
      this.#written[name] = this.#counts[name]
    }
    if (Object.keys(added).length > 0) await stores?.main.tally(added)
  }
}

function countsOf(count: (name: Name) => number): Counts {
  const tier = (name: 'memory' | 'disk'): TierStats => ({ hits: count(`${name}-hits`), bytes: count(`${name}-bytes`), secondsSaved: count(`${name}-seconds`) })
  return { memory: tier('memory'), disk: tier('disk'), misses: count('misses'), stale: count('stale'), puts: count('puts'), bytesPut: count('bytes-put'), computed: count('computed'), secondsComputed: count('seconds-computed') }
}
