import { StoreError } from '../core/errors.js'
import { ChangeBatch } from './entry-batch.js'
import { isBelow, type EntryHost, type Entries } from './entries.js'
import { decodeEntry, namespaceRange } from './entry.js'
import type { DatasetRecord } from './tables.js'

export interface PruneRequest {
  /** Bytes of datasets and values that may stay; what was used longest ago goes first. */
  readonly maxBytes?: number | undefined
  /** Goes when it was not used for so many milliseconds. */
  readonly olderThan?: number | undefined
  /** Only of this namespace and those below; then also what is marked `keep` and what nothing can compute again. */
  readonly namespace?: string | undefined
  readonly dryRun?: boolean | undefined
  readonly now: number
}

export interface Pruned {
  readonly entries: number
  readonly datasets: number
  readonly bytes: number
  /** Datasets that were to go and are open somewhere. */
  readonly pinned: number
  /** Bytes of datasets and values that are left. */
  readonly left: number
}

/** Usage of one namespace. */
export interface Usage {
  readonly namespace: string
  readonly entries: number
  readonly entryBytes: number
  readonly datasets: number
  /** Shards that several datasets share count for each. */
  readonly datasetBytes: number
  /** Milliseconds since 1970; undefined when nothing was ever read. */
  readonly lastUse: number | undefined
}

interface Candidate {
  readonly used: number
  readonly bytes: number
  readonly key: Buffer
  readonly isDataset: boolean
}

/** Entries removed in one transaction. */
const STEP = 4096

/** What keeps a store from growing for ever. */
export class Upkeep {
  readonly #host: EntryHost
  readonly #entries: Entries

  constructor(host: EntryHost, entries: Entries) {
    this.#host = host
    this.#entries = entries
  }

  /** Bytes of datasets' shards and of values. */
  get bytes(): number {
    const { tables } = this.#host
    let bytes = tables.counters.get('value-bytes') ?? 0
    for (const { value } of tables.blobs.getRange()) if (value.kind !== 'value') bytes += value.bytes
    return bytes
  }

  /** When a dataset or an entry was last used, or made: milliseconds since 1970. */
  lastUse(key: Uint8Array, created: number): number {
    return this.#used(Buffer.from(key), created)
  }

  /** By namespace, from what is counted in the index: no file is looked at. */
  usage(): Usage[] {
    this.#host.fresh()
    const { tables } = this.#host
    const all = new Map<string, { entries: number; entryBytes: number; datasets: number; datasetBytes: number; lastUse: number | undefined }>()
    const of = (namespace: string) => {
      let found = all.get(namespace)
      if (found === undefined) all.set(namespace, found = { entries: 0, entryBytes: 0, datasets: 0, datasetBytes: 0, lastUse: undefined })
      return found
    }
    for (const { key, value } of tables.namespaces.getRange()) {
      const usage = of(value.name)
      usage.entries += value.entries
      usage.entryBytes += value.bytes
      for (const { value: seconds } of tables.uses.getRange(namespaceRange(key as number))) usage.lastUse = Math.max(usage.lastUse ?? 0, seconds.readUInt32BE(0) * 1000)
    }
    for (const { key, value } of tables.datasets.getRange()) {
      const usage = of(value.namespace)
      usage.datasets++
      usage.datasetBytes += value.bytes
      usage.lastUse = Math.max(usage.lastUse ?? 0, this.#used(Buffer.from(key), value.created))
    }
    return Array.from(all, ([namespace, usage]) => ({ namespace, ...usage })).sort((a, b) => (a.namespace < b.namespace ? -1 : 1))
  }

  /** Removes what was used longest ago, or too long ago. What is open somewhere stays. */
  async prune({ maxBytes, olderThan, namespace, dryRun = false, now }: PruneRequest): Promise<Pruned> {
    if (this.#host.readonly && !dryRun) throw new StoreError(this.#host.layout.dir, 'is opened read-only')
    await this.#entries.flushTouches()
    this.#host.fresh()
    const candidates = this.#candidates(namespace, now)
    const total = this.bytes
    let bytes = 0
    const chosen = candidates.sort((a, b) => a.used - b.used).filter((candidate) => {
      const old = olderThan !== undefined && candidate.used < now - olderThan
      const over = maxBytes !== undefined && total - bytes > maxBytes
      const all = olderThan === undefined && maxBytes === undefined
      if (!old && !over && !all) return false
      bytes += candidate.bytes
      return true
    })
    const [datasets, entries] = [chosen.filter(({ isDataset }) => isDataset), chosen.filter(({ isDataset }) => !isDataset)]
    if (dryRun) return { entries: entries.length, datasets: datasets.length, bytes, pinned: 0, left: total - bytes }
    for (let from = 0; from < entries.length; from += STEP) {
      const changes = new ChangeBatch()
      for (const { key } of entries.slice(from, from + STEP)) changes.remove(key)
      await this.#host.writer.run('change', { packed: changes.packed(), blobs: [], dir: this.#host.layout.dir, now }, { entries: 4 * changes.count, payload: 0 })
    }
    const pinned = await this.removeDatasets(datasets.map(({ key }) => key), now)
    await this.#entries.collect()
    this.#host.fresh()
    const pruned: Pruned = { entries: entries.length, datasets: datasets.length - pinned, bytes, pinned, left: this.bytes }
    this.#host.events.publish('prune', () => pruned)
    return pruned
  }

  /** Removes datasets, and the shards that no other has; gives how many are open somewhere and stay. */
  async removeDatasets(keys: readonly Uint8Array[], now: number): Promise<number> {
    return keys.length === 0 ? 0 : await this.#host.writer.run('removeDatasets', { keys, now }, { entries: 8 * keys.length + 256, payload: 0 })
  }

  /** Datasets of a namespace and of those below it. */
  datasetsBelow(namespace: string): Buffer[] {
    this.#host.fresh()
    return Array.from(this.#host.tables.datasets.getRange()).filter(({ value }: { value: DatasetRecord }) => isBelow(value.namespace, namespace)).map(({ key }) => Buffer.from(key))
  }

  #candidates(namespace: string | undefined, now: number): Candidate[] {
    const { tables, layout } = this.#host
    const found: Candidate[] = []
    for (const { key: id, value: space } of tables.namespaces.getRange()) {
      if (namespace !== undefined && !isBelow(space.name, namespace)) continue
      for (const { key, value } of tables.entries.getRange(namespaceRange(id as number))) {
        const { created, expires, bytes, keep, seconds } = decodeEntry(value, layout.index)
        const again = !keep && !Number.isNaN(seconds)
        // What has expired is nobody's loss.
        if (expires > now && namespace === undefined && !again) continue
        found.push({ used: expires <= now ? 0 : this.#used(Buffer.from(key), created), bytes, key: Buffer.from(key), isDataset: false })
      }
    }
    for (const { key, value } of tables.datasets.getRange()) {
      if (namespace !== undefined && !isBelow(value.namespace, namespace)) continue
      found.push({ used: this.#used(Buffer.from(key), value.created), bytes: value.bytes, key: Buffer.from(key), isDataset: true })
    }
    return found
  }

  #used(key: Buffer, created: number): number {
    const seconds = this.#host.tables.uses.get(key)
    return seconds === undefined ? created : Math.max(created, seconds.readUInt32BE(0) * 1000)
  }
}

