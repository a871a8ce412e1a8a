import { setImmediate } from 'node:timers/promises'
import { fromHex, toHex } from '../core/hash.js'
import type { EntryHost } from './entries.js'
import { decodeEntry, type Entry } from './entry.js'
import type { DatasetRecord } from './tables.js'

/** A record of the index that does not lead to what it promises. */
export interface BrokenRecord {
  /** What the record is of. */
  readonly what: 'dataset' | 'value'
  /** Key of a dataset (64 hex digits); of a value, the caller's. */
  readonly key: string
  /** Name of a dataset; of a value, its key. */
  readonly name: string
  /** Namespace it is listed in. */
  readonly namespace: string
  /** Why it leads nowhere. */
  readonly reason: string
}

/** An entry as it lies in the index; it is dropped only while it is still the same. */
export interface HeldEntry {
  readonly key: Buffer
  readonly record: Buffer
  readonly namespace: string
  /** Undefined when the record cannot be decoded. */
  readonly entry: Pick<Entry, 'key' | 'seconds' | 'keep'> | undefined
}

/** Records that are looked at in one go on the event loop. */
const STEP_ROWS = 512

/** Says of a small value's bytes what is wrong with them; what a value is, is not known here. */
export type CheckSmall = (small: Uint8Array) => string | undefined

/** Looks through the index for records that lead nowhere. Changes nothing but by `drop`. */
export class Audit {
  readonly #host: EntryHost

  constructor(host: EntryHost) {
    this.#host = host
  }

  /**
   * Datasets whose manifest or shards, and values whose blob, the index does not know, and small values that fail `check`. Others may write meanwhile: what seems broken is
   * looked at again in one snapshot of the index before it is said to be.
   */
  async broken(check: CheckSmall, signal?: AbortSignal): Promise<{ records: number; broken: BrokenRecord[] }> {
    const { tables } = this.#host
    this.#host.fresh()
    const broken: BrokenRecord[] = []
    const keys = Array.from(tables.datasets.getKeys(), (key) => Buffer.from(key as Buffer))
    for (const key of keys) {
      this.#host.fresh()
      const record = tables.datasets.get(key)
      const reason = record === undefined ? undefined : this.#datasetFault(record)
      if (reason !== undefined) broken.push({ what: 'dataset', key: toHex(key), name: record!.name, namespace: record!.namespace, reason })
    }
    let entries = 0
    for await (const held of this.#entries(signal)) {
      entries++
      const reason = this.#entryFault(held.record, check)
      if (reason === undefined || !this.#isStill(held) || this.#entryFault(held.record, check) === undefined) continue
      broken.push({ what: 'value', key: held.entry?.key ?? toHex(held.key), name: '', namespace: held.namespace, reason })
    }
    return { records: keys.length + entries, broken }
  }

  /** Entries whose value is one of these blobs, or that `check` or their record itself says are broken. */
  async entriesOf(digests: ReadonlySet<string>, check: CheckSmall, signal?: AbortSignal): Promise<HeldEntry[]> {
    const found: HeldEntry[] = []
    for await (const held of this.#entries(signal)) {
      const blob = held.entry === undefined ? undefined : decodeEntry(held.record, this.#host.layout.index, '').blob
      if ((blob !== undefined && digests.has(toHex(blob))) || this.#entryFault(held.record, check) !== undefined) found.push(held)
    }
    return found
  }

  /** Removes entries that are as they were; what was made from them stays, for it was made from sound ones. Gives how many. */
  async drop(entries: readonly HeldEntry[]): Promise<number> {
    const dropped = await this.#host.writer.run('dropEntries', { entries: entries.map(({ key, record }) => ({ key, record })) }, { entries: 4 * entries.length, payload: 0 })
    return dropped
  }

  /** Digests of a dataset's shards that the index knows. */
  shardsOf(record: DatasetRecord): string[] {
    return (record.shards ?? []).flatMap((id) => {
      const digest = this.#host.tables.blobIds.get(id)
      return digest === undefined ? [] : toHex(digest)
    })
  }

  /** Why the index cannot lead to this blob's bytes; undefined when it can. */
  blobFault(digest: string): string | undefined {
    this.#host.fresh()
    const { tables } = this.#host
    const key = fromHex(digest)
    const record = tables.blobs.get(key)
    if (record === undefined) return undefined
    if (tables.checksums.get(key) === undefined) return 'has no checksums in the index'
    const held = tables.blobIds.get(record.id)
    return held !== undefined && toHex(held) === digest ? undefined : `is number ${record.id}, which the index does not know as such`
  }

  #datasetFault(record: DatasetRecord): string | undefined {
    const { tables } = this.#host
    if (tables.blobs.get(fromHex(record.manifest)) === undefined) return 'its manifest is not in the index'
    const missing = (record.shards ?? []).filter((id) => tables.blobIds.get(id) === undefined).length
    return missing === 0 ? undefined : `${missing} of its ${record.shards!.length} shards are not in the index`
  }

  #entryFault(record: Buffer, check: CheckSmall): string | undefined {
    try {
      const { small, blob } = decodeEntry(record, this.#host.layout.index, '')
      if (small !== undefined) return check(Uint8Array.from(small))
      return this.#host.tables.blobs.get(Buffer.from(blob!)) === undefined ? `its blob ${toHex(blob!).slice(0, 16)} is not in the index` : undefined
    } catch (error) {
      return `its record cannot be read (${(error as Error).message})`
    }
  }

  #isStill({ key, record }: HeldEntry): boolean {
    this.#host.fresh()
    return this.#host.tables.entries.get(key)?.equals(record) === true
  }

  /** All entries, in steps: between two of them others have the event loop, and the next begins behind the last key. */
  async * #entries(signal: AbortSignal | undefined): AsyncGenerator<HeldEntry> {
    const { tables, layout } = this.#host
    let start = Buffer.alloc(0)
    for (;;) {
      signal?.throwIfAborted()
      this.#host.fresh()
      const names = new Map(Array.from(tables.namespaces.getRange(), ({ key, value }) => [key as number, value.name]))
      const step = Array.from(tables.entries.getRange({ start, limit: STEP_ROWS }), ({ key, value }) => ({ key: Buffer.from(key as Buffer), record: Buffer.from(value) }))
      for (const { key, record } of step) {
        let entry: HeldEntry['entry']
        try {
          const { key: name, seconds, keep } = decodeEntry(record, layout.index, key)
          entry = { key: name, seconds, keep }
        } catch {
          entry = undefined
        }
        yield { key, record, namespace: names.get(key.readUInt32BE(0)) ?? '', entry }
      }
      if (step.length < STEP_ROWS) return
      start = Buffer.concat([step.at(-1)!.key, Buffer.alloc(1)])
      await setImmediate()
    }
  }
}
