import { StoreError } from '../core/errors.js'
import { candidates, Freed, lastUse, type Candidate } from './candidates.js'
import { ChangeBatch } from './entry-batch.js'
import { emptyQuarantine, quarantined, type Quarantined } from './quarantine.js'
import { HIDDEN, isBelow, type EntryHost, type Entries } from './entries.js'
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

/** What was removed, or would be. */
export interface Pruned {
  /** Values. */
  readonly entries: number
  /** Datasets. */
  readonly datasets: number
  /** Bytes that became free. */
  readonly bytes: number
  /** Files that were set aside as damaged. */
  readonly quarantined: number
  /** Datasets that were to go and are open somewhere. */
  readonly pinned: number
  /** Bytes of datasets and values that are left. */
  readonly left: number
}

/** Of several stores. */
export function sumPruned(all: readonly Pruned[]): Pruned {
  const sum = (name: keyof Pruned): number => all.reduce((total, pruned) => total + pruned[name], 0)
  return { entries: sum('entries'), datasets: sum('datasets'), bytes: sum('bytes'), quarantined: sum('quarantined'), pinned: sum('pinned'), left: sum('left') }
}

/** Of several stores: a namespace may be in more than one, when it has got a drive of its own. */
export function sumUsage(all: readonly (readonly Usage[])[]): Usage[] {
  const sums = new Map<string, Usage>()
  for (const usage of all.flat()) {
    const before = sums.get(usage.namespace)
    sums.set(usage.namespace, before === undefined ? usage : {
      namespace: usage.namespace, entries: before.entries + usage.entries, entryBytes: before.entryBytes + usage.entryBytes, datasets: before.datasets + usage.datasets,
      datasetBytes: before.datasetBytes + usage.datasetBytes, lastUse: Math.max(before.lastUse ?? 0, usage.lastUse ?? 0) || undefined,
    })
  }
  return [...sums.values()].sort((a, b) => (a.namespace < b.namespace ? -1 : 1))
}

/** Usage of one namespace. */
export interface Usage {
  /** Its name; empty for the top. */
  readonly namespace: string
  /** Values in it. */
  readonly entries: number
  /** Bytes of the values. */
  readonly entryBytes: number
  /** Datasets listed in it. */
  readonly datasets: number
  /** Shards that several datasets share count for each. */
  readonly datasetBytes: number
  /** When something of it was last put or read: milliseconds since 1970; undefined when nothing ever was. */
  readonly lastUse: number | undefined
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
    return lastUse(this.#host.tables, Buffer.from(key), created)
  }

  /** By namespace, from what is counted in the index: no file is looked at. Namespaces that hold nothing are left out, but for scopes of somebody, and what the cache keeps for itself, too. */
  usage(): Usage[] {
    this.#host.fresh()
    const { tables } = this.#host
    const all = new Map<string, { entries: number; entryBytes: number; datasets: number; datasetBytes: number; lastUse: number | undefined }>()
    const of = (namespace: string) => {
      let found = all.get(namespace)
      if (found === undefined) all.set(namespace, found = { entries: 0, entryBytes: 0, datasets: 0, datasetBytes: 0, lastUse: undefined })
      return found
    }
    for (const { value } of tables.namespaces.getRange()) {
      // Emptied, and nobody's: its number is kept for whoever puts there again.
      if ((value.entries === 0 && value.owner === undefined) || value.name.startsWith(HIDDEN)) continue
      const usage = of(value.name)
      usage.entries += value.entries
      usage.entryBytes += value.bytes
      if (value.used !== undefined) usage.lastUse = Math.max(usage.lastUse ?? 0, value.used)
    }
    for (const { key, value } of tables.datasets.getRange()) {
      const usage = of(value.namespace)
      usage.datasets++
      usage.datasetBytes += value.bytes
      usage.lastUse = Math.max(usage.lastUse ?? 0, lastUse(this.#host.tables, Buffer.from(key), value.created))
    }
    return Array.from(all, ([namespace, usage]) => ({ namespace, ...usage })).sort((a, b) => (a.namespace < b.namespace ? -1 : 1))
  }

  /** Removes what was used longest ago, or too long ago. What is open somewhere stays. */
  async prune({ maxBytes, olderThan, namespace, dryRun = false, now }: PruneRequest): Promise<Pruned> {
    if (this.#host.readonly && !dryRun) throw new StoreError(this.#host.layout.dir, 'is opened read-only')
    await this.#entries.flushTouches()
    this.#host.fresh()
    const found = await candidates(this.#host, namespace, now)
    this.#host.fresh()
    const freed = new Freed(this.#host.tables)
    const total = this.bytes
    const chosen = found.sort((a, b) => a.used - b.used).filter((candidate) => {
      const old = olderThan !== undefined && candidate.used < now - olderThan
      const over = maxBytes !== undefined && total - freed.bytes > maxBytes
      const all = olderThan === undefined && maxBytes === undefined
      if (!old && !over && !all) return false
      if (candidate.pinned !== true) freed.add(candidate)
      return true
    })
    const { bytes } = freed
    const [datasets, entries, loose] = (['dataset', 'entry', 'loose'] as const).map((kind) => chosen.filter((candidate) => candidate.kind === kind)) as [Candidate[], Candidate[], Candidate[]]
    if (dryRun) {
      const open = datasets.filter(({ pinned }) => pinned === true).length
      return { entries: entries.length, datasets: datasets.length - open, bytes, quarantined: 0, pinned: open, left: total - bytes }
    }
    for (let from = 0; from < entries.length; from += STEP) {
      const changes = new ChangeBatch()
      for (const { key } of entries.slice(from, from + STEP)) changes.remove(key)
      await this.#host.writer.run('change', { packed: changes.packed(), blobs: [], dir: this.#host.layout.dir, now }, { entries: 4 * changes.count, payload: 0 })
    }
    const pinned = await this.#removeDatasets(datasets.map(({ key }) => key), loose.map(({ key }) => key), now)
    await this.#entries.collect()
    this.#host.fresh()
    const pruned: Pruned = { entries: entries.length, datasets: datasets.length - pinned, bytes, quarantined: 0, pinned, left: this.bytes }
    this.#host.events.publish('prune', () => pruned)
    return pruned
  }

  /** Removes what was set aside as damaged. */
  emptyQuarantine(dryRun: boolean): Quarantined {
    if (this.#host.readonly && !dryRun) throw new StoreError(this.#host.layout.dir, 'is opened read-only')
    return (dryRun ? quarantined : emptyQuarantine)(this.#host.layout)
  }

  /** What was set aside as damaged, and takes room. */
  get quarantined(): Quarantined {
    return quarantined(this.#host.layout)
  }

  /** Removes datasets, the shards that no other has, and loose ones; gives how many datasets are open somewhere and stay. */
  async #removeDatasets(keys: readonly Uint8Array[], loose: readonly Uint8Array[], now: number): Promise<number> {
    const count = keys.length + loose.length
    if (count === 0) return 0
    const { tables, writer } = this.#host
    const before = keys.flatMap((key) => tables.datasets.get(Buffer.from(key)) ?? [])
    const pinned = await writer.run('removeDatasets', { keys, loose, now }, { entries: 8 * count + 256, payload: 0 })
    await this.#invalidate(before.map(({ digest }) => digest))
    return pinned
  }

  /** What was made from datasets that are gone goes with them. */
  async #invalidate(digests: readonly string[]): Promise<void> {
    this.#host.fresh()
    const { tables } = this.#host
    if (digests.length === 0 || Array.from(tables.dependents.getKeys({ limit: 1 })).length === 0) return
    const there = new Set(Array.from(tables.datasets.getRange(), ({ value }) => value.digest))
    const gone = digests.filter((digest) => !there.has(digest))
    if (gone.length > 0) await this.#entries.invalidate(gone)
  }

  /** Removes the datasets of a namespace and of those below it, but for those that are open somewhere. */
  async clearDatasets(namespace: string): Promise<{ removed: number; pinned: number }> {
    this.#host.fresh()
    const keys = Array.from(this.#host.tables.datasets.getRange()).filter(({ value }: { value: DatasetRecord }) => isBelow(value.namespace, namespace)).map(({ key }) => Buffer.from(key))
    const pinned = await this.#removeDatasets(keys, [], Date.now())
    if (keys.length > pinned) await this.#entries.collect()
    return { removed: keys.length - pinned, pinned }
  }

  /** Empties a namespace with all below it and forgets it. */
  async release(namespace: string): Promise<void> {
    await this.#entries.clear(namespace)
    await this.clearDatasets(namespace)
    await this.#entries.forget(this.#entries.namespaces().filter(({ name }) => isBelow(name, namespace)))
  }

  /** Does so with scopes whose owners are gone. */
  async sweepScopes(): Promise<void> {
    for (const { name } of this.#entries.abandoned()) await this.release(name)
    for (const _ of this.#host.tables.trash.getKeys({ limit: 1 })) await this.#entries.collect()
  }
}
