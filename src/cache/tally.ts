import type { Events, ValueFacts } from '../core/events.js'
import type { Stores } from '../store/stores.js'
import type { MemoryTier, TierWatcher } from './memory.js'

/** Counts of one tier of values. */
export interface TierStats {
  /** Look-ups that this tier answered. */
  readonly hits: number
  /** Look-ups that this tier could not answer. */
  readonly misses: number
  /** Misses although there was something: expired, or not accepted by `validate`. */
  readonly stale: number
  /** Of the values of its hits. */
  readonly bytesRead: number
  /** Of the values that were put into it. */
  readonly bytesWritten: number
  /** Values that it let go of to make room: memory by itself, the disk when it is pruned. */
  readonly evictions: number
  /** What computing its hits again would have taken, as far as is known. */
  readonly secondsSaved: number
}

/** Counts of datasets. */
export interface DatasetStats {
  /** Datasets that were asked for and were there whole. */
  readonly reused: number
  /** Datasets that were asked for and of which items had to be computed. */
  readonly built: number
  /** Items that were there when they were asked for. */
  readonly itemsReused: number
  /** Items that had to be computed. */
  readonly itemsComputed: number
  /** Bytes of shards. What training loops read of mapped shards is not counted. */
  readonly bytesWritten: number
  /** Datasets that were pruned. */
  readonly evictions: number
  /** Open datasets that met damage and were mended. */
  readonly healed: number
  /** Seconds that builds took. */
  readonly secondsComputed: number
  /** What computing the reused items would have taken, as far as is known. */
  readonly secondsSaved: number
}

/** Counts of values by tier, and of datasets. */
export interface Counts {
  /** Values in memory. */
  readonly memory: TierStats
  /** Values in the store. */
  readonly disk: TierStats
  /** Look-ups that no tier could answer. */
  readonly misses: number
  /** Those of them for which there was something: expired, or not accepted by `validate`. */
  readonly stale: number
  /** Values that were put. */
  readonly puts: number
  /** Values that `getOrCompute` computed. */
  readonly computed: number
  /** Seconds that computing them took. */
  readonly secondsComputed: number
  /** Datasets that were asked for. */
  readonly datasets: DatasetStats
}

/** What `cache.stats` gives: since the directory was made, over all processes. */
export interface CacheStats extends Counts {
  /** Since this cache was opened. */
  readonly session: Counts
  /** Hits of all look-ups of values, from 0 to 1. */
  readonly hitRate: number
  /** The memory tier of this process now: values, their bytes, and how many it has let go of. */
  readonly memoryNow: { readonly items: number; readonly bytes: number; readonly evictions: number }
  /** Entries and bytes of values in the store, over all namespaces. */
  readonly stored: { readonly entries: number; readonly bytes: number }
}

const NAMES = [
  'memory-hits', 'memory-bytes', 'memory-bytes-put', 'memory-seconds', 'memory-stale', 'memory-evictions', 'disk-hits', 'disk-bytes', 'disk-seconds', 'disk-evictions',
  'misses', 'stale', 'puts', 'bytes-put', 'computed', 'seconds-computed',
  'datasets-reused', 'datasets-built', 'datasets-healed', 'datasets-evicted', 'items-reused', 'items-computed', 'shard-bytes', 'dataset-seconds', 'dataset-seconds-saved',
] as const
type Name = typeof NAMES[number]

/** Counts are added to those of the directory this often: what a killed process loses. */
export const FLUSH_MS = 5_000

/** Counts of a cache: told to whoever listens, kept here, and added to those of the directory now and then. */
export class Tally implements TierWatcher {
  readonly #events: Events
  readonly #stores: Stores | undefined
  readonly #counts = Object.fromEntries(NAMES.map((name) => [name, 0])) as Record<Name, number>
  /** What of them the directory has. */
  readonly #written = { ...this.#counts }
  #flushing: NodeJS.Timeout | undefined
  #warned = false

  constructor(events: Events, stores: Stores | undefined) {
    this.#events = events
    this.#stores = stores
    events.listen('reuse', ({ items, secondsSaved }) => this.#add({ 'datasets-reused': 1, 'items-reused': items, 'dataset-seconds-saved': secondsSaved }))
    events.listen('build', ({ hits, computed, seconds, bytes, secondsSaved }) => this.#add({ 'datasets-built': 1, 'items-reused': hits, 'items-computed': computed, 'dataset-seconds': seconds, 'shard-bytes': bytes, 'dataset-seconds-saved': secondsSaved }))
    events.listen('heal', () => this.#add({ 'datasets-healed': 1 }))
    events.listen('prune', ({ datasets, entries }) => this.#add({ 'datasets-evicted': datasets, 'disk-evictions': entries }))
  }

  hit(tier: 'memory' | 'disk', place: ValueFacts, { size, seconds }: { readonly size: number; readonly seconds: number }): void {
    const counts = this.#counts
    if (tier === 'memory') {
      counts['memory-hits']++
      counts['memory-bytes'] += size
      if (seconds > 0) counts['memory-seconds'] += seconds
    } else {
      counts['disk-hits']++
      counts['disk-bytes'] += size
      if (seconds > 0) counts['disk-seconds'] += seconds
    }
    this.#soon()
    this.#events.publish('hit', () => ({ ...valueFacts(place), tier, bytes: size, seconds }))
  }

  /** `stale`: where there was something that did not hold. */
  miss(place: ValueFacts, stale: 'memory' | 'disk' | undefined): void {
    this.#counts.misses++
    if (stale !== undefined) this.#counts.stale++
    if (stale === 'memory') this.#counts['memory-stale']++
    this.#soon()
    if (stale === undefined) this.#events.publish('miss', () => valueFacts(place))
    else this.#events.publish('stale', () => ({ ...valueFacts(place), tier: stale }))
  }

  put(place: ValueFacts, bytes: number): void {
    this.#counts.puts++
    // Into memory alone: `kept` has counted them.
    if (this.#stores !== undefined) this.#counts['bytes-put'] += bytes
    this.#soon()
    this.#events.turn('full', false, () => ({ reason: '' }))
    this.#events.publish('put', () => ({ ...valueFacts(place), tier: this.#stores === undefined ? 'memory' : 'disk', bytes }))
  }

  computed(place: ValueFacts, seconds: number): void {
    this.#counts.computed++
    this.#counts['seconds-computed'] += seconds
    this.#soon()
    this.#events.publish('compute', () => ({ ...valueFacts(place), seconds }))
  }

  /** A value was computed and could not be kept. */
  notKept(error: Error): void {
    this.#events.turn('full', true, () => ({ reason: error.message }))
    if (this.#warned) return
    this.#warned = true
    process.emitWarning(`tensorcache: ${error.message}; values are computed and not kept until there is room`, { code: 'TENSORCACHE_DISK_FULL' })
  }

  kept(bytes: number): void {
    this.#counts['memory-bytes-put'] += bytes
  }

  evicted(namespace: string, key: string, bytes: number): void {
    this.#counts['memory-evictions']++
    this.#events.publish('evict', () => ({ namespace, key, bytes }))
  }

  async read(memory: MemoryTier): Promise<CacheStats> {
    const stores = this.#stores
    await this.flush()
    const kept: Readonly<Record<string, number>> = stores?.main.tallies() ?? this.#counts
    const all = countsOf((name) => kept[name] ?? 0, stores !== undefined)
    const hits = all.memory.hits + all.disk.hits
    const namespaces = stores?.all.flatMap(({ entries }) => entries.namespaces()) ?? []
    return {
      ...all,
      session: countsOf((name) => this.#counts[name], stores !== undefined),
      hitRate: hits + all.misses === 0 ? 0 : hits / (hits + all.misses),
      memoryNow: { items: memory.items, bytes: memory.bytes, evictions: this.#counts['memory-evictions'] },
      stored: stores === undefined ? { entries: memory.items, bytes: memory.bytes } : { entries: namespaces.reduce((sum, { entries }) => sum + entries, 0), bytes: namespaces.reduce((sum, { bytes }) => sum + bytes, 0) },
    }
  }

  /** Adds what is new to the directory's counts, in one transaction: processes that count at once lose nothing. What cannot be written now is kept for the next time. */
  async flush(): Promise<void> {
    clearTimeout(this.#flushing)
    this.#flushing = undefined
    const added: Partial<Record<Name, number>> = {}
    for (const name of NAMES) {
      const change = this.#counts[name] - this.#written[name]
      if (change === 0) continue
      added[name] = change
      this.#written[name] += change
    }
    if (Object.keys(added).length === 0) return
    try {
      await this.#stores?.main.tally(added as Record<string, number>)
    } catch (error) {
      for (const [name, change] of Object.entries(added)) this.#written[name as Name] -= change
      throw error
    }
  }

  #add(added: Partial<Record<Name, number>>): void {
    for (const [name, count] of Object.entries(added)) this.#counts[name as Name] += count
    this.#soon()
  }

  // A count is not worth an error, and not worth keeping the process for.
  #soon(): void {
    if (this.#flushing === undefined && this.#stores !== undefined && !this.#stores.main.readonly) this.#flushing = setTimeout(() => void this.flush().catch(() => undefined), FLUSH_MS).unref()
  }
}

// What is told has nothing that only this library understands.
function valueFacts({ namespace, key }: ValueFacts): ValueFacts {
  return { namespace, key }
}

function countsOf(count: (name: Name) => number, onDisk: boolean): Counts {
  const [misses, stale, found] = [count('misses'), count('stale'), count('disk-hits')]
  return {
    memory: {
      hits: count('memory-hits'), misses: misses + found, stale: count('memory-stale'), bytesRead: count('memory-bytes'), bytesWritten: count('memory-bytes-put'),
      evictions: count('memory-evictions'), secondsSaved: count('memory-seconds'),
    },
    disk: {
      // What was stale in memory was not looked for on the disk.
      hits: found, misses: onDisk ? misses - count('memory-stale') : 0, stale: stale - count('memory-stale'), bytesRead: count('disk-bytes'), bytesWritten: count('bytes-put'),
      evictions: count('disk-evictions'), secondsSaved: count('disk-seconds'),
    },
    misses, stale, puts: count('puts'), computed: count('computed'), secondsComputed: count('seconds-computed'),
    datasets: {
      reused: count('datasets-reused'), built: count('datasets-built'), itemsReused: count('items-reused'), itemsComputed: count('items-computed'), bytesWritten: count('shard-bytes'),
      evictions: count('datasets-evicted'), healed: count('datasets-healed'), secondsComputed: count('dataset-seconds'), secondsSaved: count('dataset-seconds-saved'),
    },
  }
}
