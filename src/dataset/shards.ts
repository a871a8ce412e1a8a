import type { DType } from '../core/dtype.js'
import { IntegrityError } from '../core/errors.js'
import { byteCount, bytesOf, type Tensor } from '../core/tensor.js'
import type { RaggedTable, RowTable, VerifiedBlob } from '../native/addon.js'
import { native } from '../native/load.js'
import type { OpenBlob } from '../store/open-blob.js'
import type { Store } from '../store/store.js'
import type { Item } from './collate.js'
import type { Manifest } from './manifest.js'
import type { Residency } from './residency.js'
import { ScatteredRows } from './scattered-rows.js'
import { placeOf, readRow, shardField, type ShardField } from './shard-field.js'

/** Shards that are opened at once when many are needed. */
const OPEN_AT_ONCE = 16
/** Where items are read one after the other, at least so much of a field is brought in and checked at once: a call to a thread costs as much as checking this. */
const AHEAD_BYTES = 2 ** 21

interface OpenShard {
  readonly blob: OpenBlob
  /** The shard of the item that follows this one's last. */
  readonly next: number | undefined
  readonly fields: Map<string, ShardField>
}

/**
 * A manifest with its shards, opened as they are needed. When damage heals, a new one takes this one's place: whoever reads with one ends with it,
 * so rows of the old manifest never meet shards of the new one. Damage met by a read goes to quarantine and rejects with IntegrityError.
 */
export class Shards {
  readonly manifest: Manifest
  readonly #store: Store
  readonly #open: (OpenShard | undefined)[] = []
  readonly #opening: (Promise<OpenShard> | undefined)[] = []
  readonly #tables = new Map<string, Promise<Pick<RowTable, 'gather'>>>()
  /** By field: how far a reader of consecutive items has had it checked, and whether beyond its shard. */
  readonly #ahead = new Map<string, { readonly blob: OpenBlob; to: number; beyond: boolean }>()
  #nextShards: Map<number, number> | undefined
  readonly #raggedTables = new Map<string, Promise<RaggedTable>>()
  readonly #residency: Residency | undefined

  /** Without `residency` what was read stays mapped in. */
  constructor(store: Store, manifest: Manifest, residency?: Residency) {
    this.#store = store
    this.manifest = manifest
    this.#residency = residency
  }

  /** One item with the named fields, as views. */
  async item(index: number, fields: readonly string[]): Promise<Item> {
    const { blobOf, rowOf } = this.manifest.rows
    const number = blobOf[index]!
    const row = rowOf[index]!
    const shard = this.#open[number] ?? await this.#shard(number)
    const item: Record<string, Tensor | string> = { id: this.manifest.id(index) }
    await this.#watched(shard.blob, async () => {
      for (const name of fields) {
        const tensor = readRow(shard.blob, shard.fields.get(name)!, row)
        item[name] = tensor instanceof Promise ? await tensor : tensor
        if (this.#residency !== undefined) this.#touchedRow(shard, name, row)
      }
    })
    return item as Item
  }

  /** True when the items follow one another in one shard. */
  consecutive(indices: Float64Array): boolean {
    return this.#runEnd(indices, 0) === indices.length
  }

  /** The items as runs `start … stop` of positions that follow one another in one shard; undefined when there are more than `most`. */
  runs(indices: Float64Array, most: number): [start: number, stop: number][] | undefined {
    const runs: [number, number][] = []
    for (let start = 0; start < indices.length;) {
      if (runs.length === most) return undefined
      const stop = this.#runEnd(indices, start)
      runs.push([start, stop])
      start = stop
    }
    return runs
  }

  /** Up to which item, `stop` at most, those from `index` on follow one another in one shard. */
  follow(index: number, stop: number): number {
    const { blobOf, rowOf } = this.manifest.rows
    let end = index + 1
    while (end < stop && blobOf[end] === blobOf[index] && rowOf[end] === rowOf[index]! + end - index) end++
    return end
  }

  #runEnd(indices: Float64Array, start: number): number {
    const { blobOf, rowOf } = this.manifest.rows
    const blob = blobOf[indices[start]!]
    const before = rowOf[indices[start]!]! - start
    let stop = start + 1
    while (stop < indices.length && blobOf[indices[stop]!] === blob && rowOf[indices[stop]!] === before + stop) stop++
    return stop
  }

  /** Rows of a fixed-shape field as a view, from item `index` on, when nothing has to be opened or checked for it. The items must be consecutive. */
  readyView(field: string, index: number, count: number): Tensor | undefined {
    const shard = this.#open[this.manifest.rows.blobOf[index]!]
    if (shard === undefined) return undefined
    const { layout, offset } = this.#fixed(shard, field, index)
    const view = shard.blob.ready(layout.dtype, [count, ...layout.shape], offset)
    if (view === undefined) return undefined
    this.#residency?.touched(shard.blob, offset, count * layout.rowBytes)
    this.#lookAhead(shard, field, offset + count * layout.rowBytes)
    return view
  }

  /** The same, opened and checked. */
  async view(field: string, index: number, count: number): Promise<Tensor> {
    const shard = await this.#shard(this.manifest.rows.blobOf[index]!)
    const { layout, offset } = this.#fixed(shard, field, index)
    return this.#readAhead(shard, field, layout.dtype, [count, ...layout.shape], offset, count * layout.rowBytes)
  }

  /** Items `index … index + count` of a field that is ragged, or varies in length from shard to shard, when nothing has to be opened or checked. They must be consecutive. */
  readySpan(field: string, index: number, count: number): Span | undefined {
    const shard = this.#open[this.manifest.rows.blobOf[index]!]
    if (shard === undefined) return undefined
    const { layout, first, rows, offset } = this.#spanOf(shard, field, index, count)
    const tensor = shard.blob.ready(layout.dtype, [rows, ...layout.tail], offset)
    if (tensor === undefined) return undefined
    this.#residency?.touched(shard.blob, offset, rows * layout.rowBytes)
    this.#lookAhead(shard, field, offset + rows * layout.rowBytes)
    return { tensor, offsets: () => offsetsIn(layout, first, count) }
  }

  /** The same, opened and checked. */
  async span(field: string, index: number, count: number): Promise<Span> {
    const shard = await this.#shard(this.manifest.rows.blobOf[index]!)
    const { layout, first, rows, offset } = this.#spanOf(shard, field, index, count)
    const tensor = await this.#readAhead(shard, field, layout.dtype, [rows, ...layout.tail], offset, rows * layout.rowBytes)
    return { tensor, offsets: () => offsetsIn(layout, first, count) }
  }

  /** Copies rows of a fixed-shape field, in the order of `indices`. */
  async gather(field: string, indices: Float64Array, into: Tensor): Promise<void> {
    const { dtype, shape } = this.manifest.facts.fields[field]!
    const table = await memoized(this.#tables, field, async () => {
      const { shards, rows: { blobOf, rowOf } } = await this.#all()
      const rowBytes = byteCount(dtype, shape as number[])
      const verified = mapped(shards)
      if (verified === undefined) return new ScatteredRows(shards.map((shard) => ({ blob: shard.blob, offset: fixedField(shard, field).offset, offsets: 1 })), rowBytes, blobOf, rowOf)
      return new (native().RowTable)(verified, Float64Array.from(shards, (shard) => fixedField(shard, field).offset), rowBytes, blobOf, rowOf, this.#residency === undefined)
    })
    await this.#gathered(table, field, indices, into)
  }

  /** Where each of these items begins in the concatenation of a field of any length; one more than there are items. */
  async offsets(field: string, indices: Float64Array): Promise<Float64Array> {
    const offsets = new Float64Array(indices.length + 1)
    ;(await this.#raggedTable(field)).offsets(indices, offsets)
    return offsets
  }

  /** Copies items of a field of any length one after the other. */
  async gatherSpan(field: string, indices: Float64Array, into: Tensor): Promise<void> {
    await this.#gathered(await this.#raggedTable(field), field, indices, into)
  }

  #raggedTable(field: string): Promise<RaggedTable> {
    return memoized(this.#raggedTables, field, async () => {
      const { shards, rows: { blobOf, rowOf } } = await this.#all()
      const layouts = shards.map((shard) => spanField(shard, field))
      const { dtype, shape } = this.manifest.facts.fields[field]!
      const rowBytes = byteCount(dtype, shape.slice(1) as number[])
      const verified = mapped(shards)
      if (verified === undefined) return new ScatteredRows(shards.map(({ blob }, k) => ({ blob, ...layouts[k]! })), rowBytes, blobOf, rowOf)
      return new (native().RaggedTable)(verified, Float64Array.from(layouts, ({ offset }) => offset), rowBytes, layouts.map(({ offsets }) => offsets), blobOf, rowOf, this.#residency === undefined)
    })
  }

  async #gathered(table: Pick<RowTable, 'gather'>, field: string, indices: Float64Array, into: Tensor): Promise<void> {
    const damaged = await table.gather(indices, bytesOf(into.data))
    if (damaged < 0) return void await this.#touchedFrames(field, indices)
    const { blob } = await this.#shard(this.manifest.rows.blobOf[indices[damaged]!]!)
    await this.#watched(blob, () => Promise.reject(new IntegrityError(blob.path, `item ${this.manifest.id(indices[damaged]!)}, field ${field} is damaged`)))
  }

  /** Of rows that were copied only those that were decompressed lie in memory that is mapped. */
  async #touchedFrames(field: string, indices: Float64Array): Promise<void> {
    if (this.#residency === undefined) return
    const { blobOf, rowOf } = this.manifest.rows
    for (const index of indices) {
      const shard = await this.#shard(blobOf[index]!)
      if (shard.blob.verified === undefined) this.#touchedRow(shard, field, rowOf[index]!)
    }
  }

  #touchedRow(shard: OpenShard, field: string, row: number): void {
    const { offset, bytes } = placeOf(shard.fields.get(field)!, row)
    this.#residency?.touched(shard.blob, offset, bytes)
  }

  /** Every shard, opened. */
  async #all(): Promise<{ shards: OpenShard[]; rows: Manifest['rows'] }> {
    const { rows } = this.manifest
    const shards: OpenShard[] = []
    for (let from = 0; from < rows.blobs.length; from += OPEN_AT_ONCE) {
      shards.push(...await Promise.all(Array.from({ length: Math.min(OPEN_AT_ONCE, rows.blobs.length - from) }, (_, k) => this.#shard(from + k))))
    }
    return { shards, rows }
  }

  /** Reads `bytes` of a field from `offset` of the file on, and prepares what follows: at the same time what is mapped, and behind it what has to be decompressed. */
  async #readAhead(shard: OpenShard, field: string, dtype: DType, shape: readonly number[], offset: number, bytes: number): Promise<Tensor> {
    const { blob } = shard
    const end = blob.endOf(field)
    this.#residency?.touched(blob, offset, bytes)
    if (blob.verified === undefined) {
      const tensor = await this.#watched(blob, () => blob.read(dtype, shape, offset))
      this.#lookAhead(shard, field, offset + bytes)
      return tensor
    }
    const to = Math.min(end, offset + Math.max(bytes, AHEAD_BYTES))
    this.#ahead.set(field, { blob, to, beyond: false })
    return this.#watched(blob, async () => {
      await blob.prepare(offset, to - offset)
      return blob.read(dtype, shape, offset)
    })
  }

  /**
   * Has the next part of a field checked when the reader, at `offset`, has come half way through the last one, and at the end the first part of it in the next
   * shard. What is damaged there is met when the reader gets there.
   */
  #lookAhead(shard: OpenShard, field: string, offset: number): void {
    const { blob } = shard
    let ahead = this.#ahead.get(field)
    // Its first part was checked from the shard before.
    if (ahead?.blob !== blob) this.#ahead.set(field, ahead = { blob, to: Math.min(blob.endOf(field), blob.tensors.get(field)!.offset + AHEAD_BYTES), beyond: false })
    if (offset < ahead.to - AHEAD_BYTES / 2 || ahead.beyond) return
    const end = blob.endOf(field)
    if (ahead.to < end) {
      const from = Math.max(offset, ahead.to)
      ahead.to = Math.min(end, from + AHEAD_BYTES)
      // What was checked before has been dropped since.
      if (this.#residency !== undefined) blob.announce(from, ahead.to - from)
      blob.prepare(from, ahead.to - from).catch(() => undefined)
      return
    }
    ahead.beyond = true
    if (shard.next === undefined) return
    this.#shard(shard.next).then(({ blob: next }) => {
      const { offset: from, bytes } = next.tensors.get(field)!
      return next.prepare(from, Math.min(bytes, AHEAD_BYTES))
    }).catch(() => undefined)
  }

  #fixed(shard: OpenShard, field: string, index: number): { layout: FixedField; offset: number } {
    const layout = fixedField(shard, field)
    return { layout, offset: layout.offset + this.manifest.rows.rowOf[index]! * layout.rowBytes }
  }

  #spanOf(shard: OpenShard, field: string, index: number, count: number): { layout: SpanField; first: number; rows: number; offset: number } {
    const layout = spanField(shard, field)
    const first = this.manifest.rows.rowOf[index]!
    const start = offsetAt(layout, first)
    return { layout, first, rows: offsetAt(layout, first + count) - start, offset: layout.offset + start * layout.rowBytes }
  }

  async #shard(number: number): Promise<OpenShard> {
    const open = this.#open[number]
    if (open !== undefined) return open
    const opening = this.#opening[number] ??= this.#openShard(number)
    try {
      return this.#open[number] = await opening
    } finally {
      this.#opening[number] = undefined
    }
  }

  async #openShard(number: number): Promise<OpenShard> {
    const { rows, facts } = this.manifest
    const blob = await this.#store.blob(rows.blobs[number]!)
    const fields = new Map<string, ShardField>()
    await this.#watched(blob, async () => {
      await Promise.all(Object.entries(facts.fields).map(async ([name, spec]) => { fields.set(name, await shardField(blob, name, spec)) }))
    })
    return { blob, next: this.#next.get(number), fields }
  }

  /** By shard: the one with the item that follows its last. */
  get #next(): ReadonlyMap<number, number> {
    if (this.#nextShards === undefined) {
      const { blobOf } = this.manifest.rows
      this.#nextShards = new Map()
      for (let item = 1; item < blobOf.length; item++) if (blobOf[item] !== blobOf[item - 1]) this.#nextShards.set(blobOf[item - 1]!, blobOf[item]!)
    }
    return this.#nextShards
  }

  async #watched<T>(blob: OpenBlob, read: () => Promise<T>): Promise<T> {
    try {
      return await read()
    } catch (error) {
      if (error instanceof IntegrityError) await this.#store.quarantine(blob, error.message)
      throw error
    }
  }
}

/** The shards as native code reads them; undefined when one of them is compressed. */
function mapped(shards: readonly OpenShard[]): VerifiedBlob[] | undefined {
  const verified = shards.flatMap(({ blob }) => blob.verified ?? [])
  return verified.length === shards.length ? verified : undefined
}

/** Items of a field of any length: all their rows as one tensor, and how many rows stand before each of them. */
export interface Span {
  readonly tensor: Tensor
  readonly offsets: () => Float64Array
}

interface SpanField {
  readonly dtype: DType
  readonly offset: number
  readonly tail: readonly number[]
  readonly rowBytes: number
  /** Where each item of the shard begins, in rows, or how many rows each has. */
  readonly offsets: BigInt64Array | number
}

/** A ragged field may happen to be of one shape in a shard: then its rows are counted instead of looked up. */
function spanField({ blob, fields }: OpenShard, field: string): SpanField {
  const layout = fields.get(field)!
  if (layout.layout === 'ragged') return layout
  if (layout.layout === 'varied') throw new IntegrityError(blob.path, `field ${field} differs in more than its length`)
  const [rows, ...tail] = layout.shape as [number, ...number[]]
  return { dtype: layout.dtype, offset: layout.offset, tail, rowBytes: byteCount(layout.dtype, tail), offsets: rows }
}

function offsetAt({ offsets }: SpanField, item: number): number {
  return typeof offsets === 'number' ? item * offsets : Number(offsets[item])
}

function offsetsIn({ offsets: table }: SpanField, first: number, count: number): Float64Array {
  const offsets = new Float64Array(count + 1)
  if (typeof table === 'number') {
    for (let i = 0; i <= count; i++) offsets[i] = i * table
    return offsets
  }
  // Without a bigint for each of them.
  const words = new Uint32Array(table.buffer, table.byteOffset + 8 * first, 2 * (count + 1))
  const before = words[0]! + words[1]! * 2 ** 32
  for (let i = 0; i <= count; i++) offsets[i] = words[2 * i]! + words[2 * i + 1]! * 2 ** 32 - before
  return offsets
}

/** What `make` promises, made once; after a failure, again. */
function memoized<T>(made: Map<string, Promise<T>>, key: string, make: () => Promise<T>): Promise<T> {
  const known = made.get(key)
  if (known !== undefined) return known
  const making = make()
  made.set(key, making)
  making.catch(() => made.delete(key))
  return making
}

type FixedField = Extract<ShardField, { layout: 'fixed' }>

// shardField has checked that a field of one shape lies as such in every shard.
function fixedField(shard: OpenShard, field: string): FixedField {
  return shard.fields.get(field) as FixedField
}
