import { availableParallelism } from 'node:os'
import { IntegrityError } from '../core/errors.js'
import type { RaggedTable } from '../native/addon.js'
import type { OpenBlob } from '../store/open-blob.js'

/** A field in one shard: where its rows begin, and where each item's do, or how many rows each item has. */
export interface ScatteredField {
  readonly blob: OpenBlob
  readonly offset: number
  readonly offsets: BigInt64Array | number
}

/**
 * Items of a field in shards that do not all lie in memory as they are: native `RowTable` and `RaggedTable` for compressed shards. Each frame that a batch touches is decompressed once, because rows are
 * read in the order in which they lie.
 */
export class ScatteredRows implements RaggedTable {
  readonly #shards: readonly ScatteredField[]
  readonly #rowBytes: number
  readonly #blobOf: Uint32Array
  readonly #rowOf: Uint32Array

  /** Item i is item `rowOf[i]` of shard `blobOf[i]`. */
  constructor(shards: readonly ScatteredField[], rowBytes: number, blobOf: Uint32Array, rowOf: Uint32Array) {
    this.#shards = shards
    this.#rowBytes = rowBytes
    this.#blobOf = blobOf
    this.#rowOf = rowOf
  }

  offsets(indices: Float64Array, out: Float64Array): void {
    let rows = 0
    out[0] = 0
    indices.forEach((index, k) => {
      const { from, to } = this.#rowsOf(index)
      out[k + 1] = rows += to - from
    })
  }

  async gather(indices: Float64Array, out: Uint8Array): Promise<number> {
    const at = new Float64Array(indices.length + 1)
    this.offsets(indices, at)
    const order = Uint32Array.from(indices, (_, k) => k).sort((a, b) => this.#blobOf[indices[a]!]! - this.#blobOf[indices[b]!]! || this.#rowOf[indices[a]!]! - this.#rowOf[indices[b]!]!)
    let damaged = -1
    const read = async (positions: Uint32Array): Promise<void> => {
      for (const k of positions) {
        if (damaged >= 0) return
        const { blob, offset } = this.#shards[this.#blobOf[indices[k]!]!]!
        const { from, to } = this.#rowsOf(indices[k]!)
        const start = at[k]! * this.#rowBytes
        try {
          await blob.readInto(offset + from * this.#rowBytes, out.subarray(start, start + (to - from) * this.#rowBytes))
        } catch (error) {
          if (!(error instanceof IntegrityError)) throw error
          damaged = k
        }
      }
    }
    const share = Math.ceil(order.length / availableParallelism())
    const reads: Promise<void>[] = []
    for (let first = 0; first < order.length; first += share) reads.push(read(order.subarray(first, first + share)))
    // All of them, even after one has failed: the others still write to `out`.
    for (const result of await Promise.allSettled(reads)) if (result.status === 'rejected') throw result.reason
    return damaged
  }

  #rowsOf(index: number): { from: number; to: number } {
    const { offsets } = this.#shards[this.#blobOf[index]!]!
    const item = this.#rowOf[index]!
    return typeof offsets === 'number' ? { from: item * offsets, to: (item + 1) * offsets } : { from: Number(offsets[item]), to: Number(offsets[item + 1]) }
  }
}
