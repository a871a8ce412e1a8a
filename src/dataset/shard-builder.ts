import type { TypedArray } from '../core/dtype.js'
import { dataOf, isRagged, rowsOf, shapeOf, type Rows } from '../core/rows.js'
import { chunkBytesFor, OWN, type BlobTensor } from '../store/shard-format.js'

/** Consecutive items: each field is a tensor [count, …item shape] where all have one shape, ragged where they differ in axis 0. */
export interface Piece {
  readonly count: number
  readonly fields: Readonly<Record<string, Rows>>
  /** Buffers of `fields` that whoever made the piece no longer looks at. */
  readonly own?: readonly ArrayBuffer[]
}

/** Items `start … stop` of every field, as views. */
export function slicePiece(piece: Piece, start: number, stop: number): Piece {
  if (start === 0 && stop === piece.count) return piece
  return { count: stop - start, fields: Object.fromEntries(Object.entries(piece.fields).map(([name, rows]) => [name, rowsOf(rows, start, stop)])) }
}

/**
 * Collects the items of one shard. A field is stored
 *   fixed   [n, …]               when all its items have one shape
 *   ragged  [Σ rows, …]          when they differ in axis 0 only, with `<field>.offsets` int64 [n + 1] in rows
 *   varied  flat                 otherwise, with `<field>.offsets` int64 [n + 1] in elements and `<field>.shape` int64 [n, rank]
 */
export class ShardBuilder {
  readonly #pieces: Piece[] = []
  readonly #keys: Uint8Array[] = []
  readonly #digests: Uint8Array[] = []
  readonly #ids: string[] = []
  rows = 0
  bytes = 0

  add(piece: Piece, keys: Uint8Array, digests: Uint8Array, ids: readonly string[]): void {
    this.#pieces.push(piece)
    this.#keys.push(keys)
    this.#digests.push(digests)
    for (const id of ids) this.#ids.push(id)
    this.rows += piece.count
    for (const rows of Object.values(piece.fields)) this.bytes += dataOf(rows).byteLength
  }

  /** Whether items that lie in this buffer are waiting to be written. */
  holds(buffer: ArrayBuffer): boolean {
    return this.#pieces.some(({ fields }) => Object.values(fields).some((rows) => dataOf(rows).buffer === buffer))
  }

  /** Item keys, 32 bytes per row. */
  keys(): Uint8Array {
    return Buffer.concat(this.#keys)
  }

  tensors(): { tensors: BlobTensor[]; chunkBytes: number } {
    const tensors: BlobTensor[] = []
    const names = Object.keys(this.#pieces[0]?.fields ?? {})
    for (const name of names) tensors.push(...fieldTensors(name, this.#pieces))
    tensors.push(
      { name: `${OWN}key`, dtype: 'uint8', shape: [this.rows, 32], data: this.#keys },
      { name: `${OWN}digest`, dtype: 'uint8', shape: [this.rows, 32], data: this.#digests },
      ...textTensors(`${OWN}id`, this.#ids),
    )
    return { tensors, chunkBytes: chunkBytesFor(this.rows === 0 ? 0 : this.bytes / this.rows) }
  }
}

/** Texts as UTF-8 bytes with int64 offsets. */
export function textTensors(name: string, texts: readonly string[]): BlobTensor[] {
  const encoded = texts.map((text) => Buffer.from(text))
  const offsets = new BigInt64Array(texts.length + 1)
  encoded.forEach((bytes, i) => { offsets[i + 1] = offsets[i]! + BigInt(bytes.length) })
  const data = Buffer.concat(encoded)
  return [
    { name, dtype: 'uint8', shape: [data.length], data: [data] },
    { name: `${name}.offsets`, dtype: 'int64', shape: [texts.length + 1], data: [offsets] },
  ]
}

function fieldTensors(name: string, pieces: readonly Piece[]): BlobTensor[] {
  const all = pieces.map((piece) => ({ rows: piece.fields[name]!, count: piece.count }))
  const { dtype } = all[0]!.rows
  const data: TypedArray[] = all.map(({ rows }) => dataOf(rows))
  const count = all.reduce((sum, piece) => sum + piece.count, 0)
  const shape = shapeOf(all[0]!.rows, 0)
  const fixed = all.every(({ rows }) => !isRagged(rows) && equal(shapeOf(rows, 0), shape))
  if (fixed) return [{ name, dtype, shape: [count, ...shape], data }]
  const rank = shape.length
  for (const { rows } of all) if (shapeOf(rows, 0).length !== rank) throw new RangeError(`${name}: items of rank ${rank} and ${shapeOf(rows, 0).length} cannot share a shard`)
  const ragged = rank > 0 && all.every(({ rows }) => equal(shapeOf(rows, 0).slice(1), shape.slice(1)))
  const offsets = new BigInt64Array(count + 1)
  const shapes = new BigInt64Array(ragged ? 0 : count * rank)
  let row = 0
  for (const { rows, count: items } of all) {
    for (let i = 0; i < items; i++, row++) {
      const of = shapeOf(rows, i)
      offsets[row + 1] = offsets[row]! + BigInt(ragged ? of[0]! : of.reduce((product, extent) => product * extent, 1))
      if (!ragged) of.forEach((extent, axis) => { shapes[row * rank + axis] = BigInt(extent) })
    }
  }
  const offsetTensor: BlobTensor = { name: `${name}.offsets`, dtype: 'int64', shape: [count + 1], data: [offsets] }
  if (ragged) return [{ name, dtype, shape: [Number(offsets[count]), ...shape.slice(1)], data }, offsetTensor]
  return [{ name, dtype, shape: [Number(offsets[count])], data }, offsetTensor, { name: `${name}.shape`, dtype: 'int64', shape: [count, rank], data: [shapes] }]
}

function equal(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((extent, k) => extent === b[k])
}
