import type { TypedArray } from '../core/dtype.js'
import type { Tensor } from '../core/tensor.js'
import { chunkBytesFor, OWN, type BlobTensor } from '../store/shard-format.js'

/** Consecutive items whose fields have equal shapes; a field's data holds `count` of them one after the other. */
export interface Piece {
  readonly count: number
  /** Tensors [count, …item shape]. */
  readonly fields: Readonly<Record<string, Tensor>>
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
    for (const { data } of Object.values(piece.fields)) this.bytes += data.byteLength
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
  const first = pieces[0]!.fields[name]!
  const shapes = pieces.map((piece) => piece.fields[name]!.shape.slice(1))
  const data: TypedArray[] = pieces.map((piece) => piece.fields[name]!.data)
  const rows = pieces.reduce((sum, piece) => sum + piece.count, 0)
  const [shape] = shapes as [number[], ...number[][]]
  if (shapes.every((other) => equal(other, shape))) return [{ name, dtype: first.dtype, shape: [rows, ...shape], data }]
  const ragged = shapes.every((other) => other.length === shape.length && other.length > 0 && equal(other.slice(1), shape.slice(1)))
  const offsets = new BigInt64Array(rows + 1)
  const sizeOf = (of: readonly number[]): number => ragged ? of[0]! : of.reduce((product, extent) => product * extent, 1)
  let row = 0
  pieces.forEach((piece, p) => {
    for (let i = 0; i < piece.count; i++, row++) offsets[row + 1] = offsets[row]! + BigInt(sizeOf(shapes[p]!))
  })
  const offsetTensor: BlobTensor = { name: `${name}.offsets`, dtype: 'int64', shape: [rows + 1], data: [offsets] }
  if (ragged) return [{ name, dtype: first.dtype, shape: [Number(offsets[rows]), ...shape.slice(1)], data }, offsetTensor]
  return [{ name, dtype: first.dtype, shape: [Number(offsets[rows])], data }, offsetTensor, shapeTensor(name, pieces, shapes)]
}

function shapeTensor(name: string, pieces: readonly Piece[], shapes: readonly number[][]): BlobTensor {
  const rank = shapes[0]!.length
  const list: bigint[] = []
  pieces.forEach((piece, p) => {
    if (shapes[p]!.length !== rank) throw new RangeError(`${name}: items of rank ${rank} and ${shapes[p]!.length} cannot share a shard`)
    for (let i = 0; i < piece.count; i++) list.push(...shapes[p]!.map(BigInt))
  })
  return { name: `${name}.shape`, dtype: 'int64', shape: [list.length / Math.max(rank, 1), rank], data: [BigInt64Array.from(list)] }
}

function equal(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((extent, k) => extent === b[k])
}
