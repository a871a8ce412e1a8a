import { channel, type Channel } from 'node:diagnostics_channel'
import { STAGE_CHANNEL, type StageFacts } from './stages.js'

/** Where a value was found or put. */
export interface ValueFacts {
  /** Its namespace; empty for the top. */
  readonly namespace: string
  /** The caller's key. */
  readonly key: string
}

/** Which dataset. */
export interface DatasetFacts {
  /** '' when it was given none. */
  readonly name: string
  /** Its namespace; empty for the top. */
  readonly namespace: string
  /** 64 hex digits. */
  readonly key: string
}

/** What each channel says; every message also has the `dir` of its cache, null when nothing is written. Sizes in bytes, times in seconds. */
export interface EventFacts {
  /** A value was there and held. `seconds`: what computing it again would have taken; NaN when nobody said. */
  readonly hit: ValueFacts & { readonly tier: 'memory' | 'disk'; readonly bytes: number; readonly seconds: number }
  /** There was no value. */
  readonly miss: ValueFacts
  /** There was one that had expired, or that `validate` did not accept. */
  readonly stale: ValueFacts & { readonly tier: 'memory' | 'disk' }
  /** A value was kept. */
  readonly put: ValueFacts & { readonly tier: 'memory' | 'disk'; readonly bytes: number }
  /** `getOrCompute` called its function. */
  readonly compute: ValueFacts & { readonly seconds: number }
  /** The memory tier let go of a value to make room. */
  readonly evict: ValueFacts & { readonly bytes: number }
  /** A dataset was asked for and all of its items were there. `seconds`: how long it took to find out. */
  readonly reuse: DatasetFacts & { readonly items: number; readonly seconds: number; readonly secondsSaved: number }
  /** A dataset was asked for and items had to be computed. `bytes`: written; `secondsSaved`: by those that were there. */
  readonly build: DatasetFacts & { readonly items: number; readonly hits: number; readonly computed: number; readonly seconds: number; readonly bytes: number; readonly secondsSaved: number }
  /** A shard became visible. `seconds`: of the build's time, what went into it. */
  readonly shard: { readonly digest: string; readonly items: number; readonly bytes: number; readonly seconds: number }
  /** Stored bytes are not what was written; the file is in quarantine, unless the cache is read-only. `digest` is '' for a value that lay in the index. */
  readonly damage: { readonly what: 'shard' | 'manifest' | 'value'; readonly digest: string; readonly reason: string }
  /** An open dataset met damage and its items were computed again. `file`: what was damaged. */
  readonly heal: DatasetFacts & { readonly file: string; readonly reason: string; readonly seconds: number }
  /** What was used longest ago was removed. `left`: bytes of datasets and values that stay; `pinned`: datasets that were to go and are open. */
  readonly prune: { readonly datasets: number; readonly entries: number; readonly bytes: number; readonly left: number; readonly pinned: number }
  /** Something was not written because less than `minFree` would have been left. Once until there is room again. */
  readonly 'low-disk': { readonly folder: string; readonly free: number; readonly needed: number; readonly minFree: number }
  /** Values are computed and not kept. Once until one is kept again. */
  readonly full: { readonly reason: string }
}

/** Names of the events of a cache, those of the keys of `events` without `stage`. */
export type EventName = keyof EventFacts

/** Messages of the channels, by the names in `events`. */
export type CacheEvents = {
  readonly [N in EventName]: {
    /** Folder of the cache; null when nothing is written. */
    readonly dir: string | null
  } & EventFacts[N]
} & {
  /** A piece of work was done, by any cache of the process; while nobody listens, nothing is measured. `startProfile` sums it up. */
  readonly stage: StageFacts
}

/** Names of the `node:diagnostics_channel` channels: `subscribe(events.hit, (message) => …)`. */
export const events = {
  hit: 'tensorcache:hit', miss: 'tensorcache:miss', stale: 'tensorcache:stale', put: 'tensorcache:put', compute: 'tensorcache:compute', evict: 'tensorcache:evict',
  reuse: 'tensorcache:reuse', build: 'tensorcache:build', shard: 'tensorcache:shard', damage: 'tensorcache:damage', heal: 'tensorcache:heal', prune: 'tensorcache:prune',
  'low-disk': 'tensorcache:low-disk', full: 'tensorcache:full', stage: STAGE_CHANNEL,
} as const satisfies { readonly [N in keyof CacheEvents]: `tensorcache:${N}` }

// Held here: Node forgets a channel that nobody has subscribed to when it is collected.
const channels = Object.fromEntries(Object.entries(events).map(([name, id]) => [name, channel(id)])) as Record<EventName, Channel>

type Listener<N extends EventName> = (message: CacheEvents[N]) => void

/** What happens in one cache: told to the process's channels, and to those of the cache that listen. */
export class Events {
  readonly #dir: string | null
  readonly #listeners = new Map<EventName, Listener<never>[]>()
  readonly #holding = new Set<EventName>()

  constructor(dir: string | null) {
    this.#dir = dir
  }

  listen<N extends EventName>(name: N, listener: Listener<N>): void {
    this.#listeners.set(name, [...this.#listeners.get(name) ?? [], listener])
  }

  /** `facts` are asked for only when somebody listens. */
  publish<N extends EventName>(name: N, facts: () => EventFacts[N]): void {
    const listeners = this.#listeners.get(name) as readonly Listener<N>[] | undefined
    const { hasSubscribers } = channels[name]
    if (!hasSubscribers && listeners === undefined) return
    const message = { dir: this.#dir, ...facts() } as CacheEvents[N]
    listeners?.forEach((listener) => listener(message))
    if (hasSubscribers) channels[name].publish(message)
  }

  /** Publishes when a condition comes to hold; again only when it has ceased to in between. */
  turn<N extends EventName>(name: N, holds: boolean, facts: () => EventFacts[N]): void {
    if (holds === this.#holding.has(name)) return
    if (!holds) this.#holding.delete(name)
    else {
      this.#holding.add(name)
      this.publish(name, facts)
    }
  }
}
