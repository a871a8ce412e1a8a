import { DTYPES } from '../core/dtype.js'
import { IntegrityError } from '../core/errors.js'
import { byteCount, bytesOf, type Tensor } from '../core/tensor.js'
import type { RowTable } from '../native/addon.js'
import { native } from '../native/load.js'
import type { OpenBlob } from '../store/open-blob.js'
import type { Store } from '../store/store.js'
import type { Item } from './collate.js'
import type { Manifest } from './manifest.js'
import { readRow, shardField, type ShardField } from './shard-field.js'

/** Shards that are opened at once when many are needed. */
const OPEN_AT_ONCE = 16

interface OpenShard {
  readonly blob: OpenBlob
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
  readonly #tables = new Map<string, Promise<RowTable>>()

  constructor(store: Store, manifest: Manifest) {
    this.#store = store
    this.manifest = manifest
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
      }
    })
    return item as Item
  }

  /** True when the items follow one another in one shard. */
  consecutive(indices: Float64Array): boolean {
    const { blobOf, rowOf } = this.manifest.rows
    const blob = blobOf[indices[0]!]
    const row = rowOf[indices[0]!]! as number
    for (let i = 1; i < indices.length; i++) if (blobOf[indices[i]!] !== blob || rowOf[indices[i]!] !== row + i) return false
    return true
  }

  /** Rows of a fixed-shape field as a view, from item `index` on, when nothing has to be opened or checked for it. The items must be consecutive. */
  readyView(field: string, index: number, count: number): Tensor | undefined {
    const shard = this.#open[this.manifest.rows.blobOf[index]!]
    if (shard === undefined) return undefined
    const { layout, offset } = this.#fixed(shard, field, index)
    return shard.blob.isVerified(offset, count * layout.rowBytes) ? shard.blob.view(layout.dtype, [count, ...layout.shape], offset) : undefined
  }

  /** The same, opened and checked. */
  async view(field: string, index: number, count: number): Promise<Tensor> {
    const shard = await this.#shard(this.manifest.rows.blobOf[index]!)
    const { layout, offset } = this.#fixed(shard, field, index)
    await this.#watched(shard.blob, () => shard.blob.ensure(offset, count * layout.rowBytes))
    return shard.blob.view(layout.dtype, [count, ...layout.shape], offset)
  }

  /** Items `index … index + count` of a field that is ragged, or varies in length from shard to shard, when nothing has to be opened or checked. They must be consecutive. */
  readySpan(field: string, index: number, count: number): Span | undefined {
    const shard = this.#open[this.manifest.rows.blobOf[index]!]
    if (shard === undefined) return undefined
    const { layout, first, rows, offset } = this.#spanOf(shard, field, index, count)
    return shard.blob.isVerified(offset, rows * layout.rowBytes) ? spanIn(shard.blob, layout, first, count, rows, offset) : undefined
  }

  /** The same, opened and checked. */
  async span(field: string, index: number, count: number): Promise<Span> {
    const shard = await this.#shard(this.manifest.rows.blobOf[index]!)
    const { layout, first, rows, offset } = this.#spanOf(shard, field, index, count)
    await this.#watched(shard.blob, () => shard.blob.ensure(offset, rows * layout.rowBytes))
    return spanIn(shard.blob, layout, first, count, rows, offset)
  }

  /** Copies rows of a fixed-shape field, in the order of `indices`, to `memory` from byte `offset` on. */
  async gather(field: string, indices: Float64Array, memory: ArrayBuffer, offset: number): Promise<Tensor> {
    const { dtype, shape } = this.manifest.facts.fields[field]!
    const rowBytes = byteCount(dtype, shape as number[])
    const { array } = DTYPES[dtype]
    const data = new array(memory, offset, rowBytes * indices.length / array.BYTES_PER_ELEMENT)
    let table = this.#tables.get(field)
    if (table === undefined) {
      table = this.#table(field, rowBytes)
      this.#tables.set(field, table)
      table.catch(() => this.#tables.delete(field))
    }
    const damaged = await (await table).gather(indices, bytesOf(data))
    if (damaged >= 0) {
      const { blob } = await this.#shard(this.manifest.rows.blobOf[indices[damaged]!]!)
      await this.#watched(blob, () => Promise.reject(new IntegrityError(blob.path, `item ${this.manifest.id(indices[damaged]!)}, field ${field} is damaged`)))
    }
    return { dtype, shape: [indices.length, ...shape as number[]], data } as Tensor
  }

  async #table(field: string, rowBytes: number): Promise<RowTable> {
    const { blobs, blobOf, rowOf } = this.manifest.rows
    const shards: OpenShard[] = []
    for (let from = 0; from < blobs.length; from += OPEN_AT_ONCE) {
      shards.push(...await Promise.all(Array.from({ length: Math.min(OPEN_AT_ONCE, blobs.length - from) }, (_, k) => this.#shard(from + k))))
    }
    const offsets = Float64Array.from(shards, (shard) => fixedField(shard, field).offset)
    return new (native().RowTable)(shards.map(({ blob }) => blob.verified), offsets, rowBytes, blobOf, rowOf)
  }

  #fixed(shard: OpenShard, field: string, index: number): { layout: FixedField; offset: number } {
    const layout = fixedField(shard, field)
    return { layout, offset: layout.offset + this.manifest.rows.rowOf[index]! * layout.rowBytes }
  }

  #spanOf(shard: OpenShard, field: string, index: number, count: number): { layout: SpanField; first: number; rows: number; offset: number } {
    const layout = spanField(shard, field)
    const first = this.manifest.rows.rowOf[index]!
    const start = Number(layout.offsets[first])
    return { layout, first, rows: Number(layout.offsets[first + count]) - start, offset: layout.offset + start * layout.rowBytes }
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
      for (const [name, spec] of Object.entries(facts.fields)) fields.set(name, await shardField(blob, name, spec))
    })
    return { blob, fields }
  }

  async #watched(blob: OpenBlob, read: () => Promise<void>): Promise<void> {
    try {
      await read()
    } catch (error) {
      if (error instanceof IntegrityError) await this.#store.quarantine(blob, error.message)
      throw error
    }
  }
}

/** Consecutive items of a field of any length: all their rows as one tensor, and how many rows stand before each of them. */
export interface Span {
  readonly tensor: Tensor
  readonly offsets: Float64Array
}

type SpanField = Extract<ShardField, { layout: 'ragged' }>

/** A ragged field may happen to be of one shape in a shard: then its rows are counted instead of looked up. */
function spanField({ blob, fields }: OpenShard, field: string): SpanField {
  const layout = fields.get(field)!
  if (layout.layout === 'ragged') return layout
  if (layout.layout === 'varied') throw new IntegrityError(blob.path, `field ${field} differs in more than its length`)
  const [rows, ...tail] = layout.shape as [number, ...number[]]
  const items = blob.tensors.get(field)!.shape[0]!
  const counted: SpanField = { layout: 'ragged', dtype: layout.dtype, offset: layout.offset, tail, rowBytes: byteCount(layout.dtype, tail), offsets: BigInt64Array.from({ length: items + 1 }, (_, i) => BigInt(i * rows)) }
  fields.set(field, counted)
  return counted
}

function spanIn(blob: OpenBlob, { dtype, tail, offsets: all }: SpanField, first: number, count: number, rows: number, offset: number): Span {
  const before = Number(all[first])
  const offsets = new Float64Array(count + 1)
  for (let i = 0; i <= count; i++) offsets[i] = Number(all[first + i]) - before
  return { tensor: blob.view(dtype, [rows, ...tail], offset), offsets }
}

type FixedField = Extract<ShardField, { layout: 'fixed' }>

// shardField has checked that a field of one shape lies as such in every shard.
function fixedField(shard: OpenShard, field: string): FixedField {
  return shard.fields.get(field) as FixedField
}
