import type { Batch, BatchOptions } from '../../../src/index.js'
import type { FieldSpecs, Tensor } from '../../../src/core/tensor.js'
import type { BatchSource } from '../../../src/adapters/tfjs.js'

/** Batches that lie ready, and what becomes of whoever goes through them. */
export class Ready implements BatchSource {
  readonly asked: BatchOptions[] = []
  begun = 0
  ended = 0
  readonly fields: FieldSpecs
  readonly #batches: readonly Record<string, unknown>[]
  readonly #error: Error | undefined

  constructor(batches: readonly Record<string, unknown>[], error?: Error) {
    this.#batches = batches
    this.#error = error
    const tensors = Object.entries(batches[0] ?? {}).filter((entry): entry is [string, Tensor] => 'dtype' in (entry[1] as object))
    this.fields = Object.fromEntries(tensors.map(([name, { dtype, shape }]) => [name, { dtype, shape: shape.slice(1) }]))
  }

  get length(): number {
    return this.#batches.length
  }

  async * batches(options: BatchOptions): AsyncGenerator<Batch, void, undefined> {
    this.asked.push(options)
    this.begun++
    try {
      for (const [k, fields] of this.#batches.entries()) yield { ids: [`item ${k}`], indices: Float64Array.of(k), ...fields } as unknown as Batch
      if (this.#error !== undefined) throw this.#error
    } finally {
      this.ended++
    }
  }
}

export const float32 = (...numbers: number[]): Tensor<'float32'> => ({ dtype: 'float32', shape: [1, numbers.length], data: Float32Array.from(numbers) })
