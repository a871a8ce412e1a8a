import { setImmediate } from 'node:timers/promises'
import { isBelow, type EntryHost } from './entries.js'
import { decodeEntry, namespaceRange } from './entry.js'
import type { Tables } from './tables.js'
import { openDatasets } from './transactions.js'

/** What could be removed. */
export interface Candidate {
  /** Milliseconds since 1970; 0 for what has expired. */
  readonly used: number
  /** Of an entry; of a dataset see `Freed`. */
  readonly bytes: number
  readonly key: Buffer
  /** A shard that no dataset refers to is loose. */
  readonly kind: 'entry' | 'dataset' | 'loose'
  /** Open somewhere. */
  readonly pinned?: boolean
  /** Numbers of a dataset's shards. */
  readonly shards?: readonly number[]
}

/** Entries that are looked at in one turn of the event loop: some milliseconds. */
const TURN_ENTRIES = 16_384

/** When an entry or a dataset was last used, or made: milliseconds since 1970. */
export function lastUse(tables: Tables, key: Buffer, created: number): number {
  const seconds = tables.uses.get(key)
  return seconds === undefined ? created : Math.max(created, seconds.readUInt32BE(0) * 1000)
}

/** Of a namespace and of those below it everything; without one, what can be made again and what has expired. */
export async function candidates(host: EntryHost, namespace: string | undefined, now: number): Promise<Candidate[]> {
  const { tables } = host
  const found: Candidate[] = []
  for (const { key: id, value: space } of Array.from(tables.namespaces.getRange())) {
    if (namespace === undefined || isBelow(space.name, namespace)) await addEntries(host, id as number, namespace !== undefined, now, found)
  }
  host.fresh()
  const open = openDatasets(tables, now)
  const referred = new Set<number>()
  for (const { key: view, value: { namespace: name, bytes, created, shards = [] } } of tables.datasets.getRange()) {
    for (const shard of shards) referred.add(shard)
    if (namespace !== undefined && !isBelow(name, namespace)) continue
    const key = Buffer.from(view)
    found.push({ used: lastUse(tables, key, created), bytes, key, kind: 'dataset', pinned: open.has(key.toString('hex')), shards })
  }
  if (namespace !== undefined) return found
  // Of builds that were ended before their dataset was there.
  for (const { key, value } of tables.blobs.getRange()) if (value.kind === 'shard' && !referred.has(value.id)) found.push({ used: value.created, bytes: value.bytes, key: Buffer.from(key), kind: 'loose' })
  return found
}

async function addEntries({ tables, layout, fresh }: EntryHost, namespace: number, all: boolean, now: number, found: Candidate[]): Promise<void> {
  const { end } = namespaceRange(namespace)
  for (let { start } = namespaceRange(namespace), count = TURN_ENTRIES; count === TURN_ENTRIES;) {
    fresh()
    count = 0
    for (const { key: view, value } of tables.entries.getRange({ start, end, limit: TURN_ENTRIES })) {
      const key = Buffer.from(view)
      count++
      // The first one after this.
      start = Buffer.concat([key, Buffer.alloc(1)])
      const { created, expires, bytes, keep, seconds } = decodeEntry(value, layout.index, '')
      // What has expired is nobody's loss.
      if (expires <= now) found.push({ used: 0, bytes, key, kind: 'entry' })
      else if (all || (!keep && !Number.isNaN(seconds))) found.push({ used: lastUse(tables, key, created), bytes, key, kind: 'entry' })
    }
    await setImmediate()
  }
}

/** How many bytes go with candidates: a shard goes with the last dataset that has it. */
export class Freed {
  readonly #left = new Map<number, number>()
  readonly #tables: Tables
  bytes = 0

  constructor(tables: Tables) {
    this.#tables = tables
    for (const { value } of tables.datasets.getRange()) for (const shard of value.shards ?? []) this.#left.set(shard, (this.#left.get(shard) ?? 0) + 1)
  }

  add({ bytes, shards }: Candidate): void {
    if (shards === undefined) {
      this.bytes += bytes
      return
    }
    for (const shard of shards) {
      const left = this.#left.get(shard)! - 1
      this.#left.set(shard, left)
      const digest = left === 0 ? this.#tables.blobIds.get(shard) : undefined
      if (digest !== undefined) this.bytes += this.#tables.blobs.get(Buffer.from(digest))?.bytes ?? 0
    }
  }
}
