import { sizeOf, type DType } from '../../core/dtype.js'
import { bytesOf, type Tensor } from '../../core/tensor.js'
import type { Dataset } from '../../dataset/dataset.js'

/** One array of the exported file; its bytes come in pieces, so that a dataset may be larger than memory. */
export interface ExportArray {
  readonly name: string
  readonly dtype: DType
  readonly shape: readonly number[]
  pieces(): AsyncIterable<Uint8Array> | Iterable<Uint8Array>
}

const PIECE_BYTES = 8 * 2 ** 20

/**
 * All fields of a dataset as arrays: `[n, …]` where all items have one shape, `[Σ rows, …]` with `<field>.offsets` int64 [n + 1] where they differ in
 * axis 0, flat with `<field>.offsets` and `<field>.shape` int64 [n, rank] otherwise; constants as `constant.<name>`.
 */
export async function exportArrays(dataset: Dataset, signal: AbortSignal): Promise<ExportArray[]> {
  const arrays: ExportArray[] = []
  for (const [name, { dtype, shape }] of Object.entries(dataset.fields)) {
    if (shape.includes(null)) arrays.push(...await unequal(dataset, name, dtype, signal))
    else arrays.push(fixed(dataset, name, dtype, shape as number[], signal))
  }
  for (const [name, { dtype, shape, data }] of Object.entries(dataset.constants)) arrays.push({ name: `constant.${name}`, dtype, shape, pieces: () => [bytesOf(data)] })
  return arrays
}

function fixed(dataset: Dataset, name: string, dtype: DType, shape: readonly number[], signal: AbortSignal): ExportArray {
  const rowBytes = shape.reduce((product, extent) => product * extent, sizeOf(dtype))
  const size = Math.max(1, Math.min(65_536, Math.floor(PIECE_BYTES / Math.max(1, rowBytes))))
  return {
    name, dtype, shape: [dataset.length, ...shape],
    async * pieces() {
      for await (const batch of dataset.batches({ size, fields: [name], signal })) yield bytesOf((batch[name] as Tensor).data)
    },
  }
}

async function unequal(dataset: Dataset, name: string, dtype: DType, signal: AbortSignal): Promise<ExportArray[]> {
  const shapes: (readonly number[])[] = []
  for (let i = 0; i < dataset.length; i++) {
    signal.throwIfAborted()
    shapes.push(((await dataset.get(i))[name] as Tensor).shape)
  }
  const [first = []] = shapes
  const ragged = shapes.every((shape) => shape.length === first.length && shape.slice(1).every((extent, k) => extent === first[k + 1])) && first.length > 0
  const sizes = shapes.map((shape) => ragged ? shape[0]! : shape.reduce((product, extent) => product * extent, 1))
  const offsets = new BigInt64Array(dataset.length + 1)
  sizes.forEach((size, i) => { offsets[i + 1] = offsets[i]! + BigInt(size) })
  const total = Number(offsets[dataset.length])
  const arrays: ExportArray[] = [
    {
      name, dtype, shape: ragged ? [total, ...first.slice(1)] : [total],
      async * pieces() {
        for (let i = 0; i < dataset.length; i++) {
          signal.throwIfAborted()
          yield bytesOf(((await dataset.get(i))[name] as Tensor).data)
        }
      },
    },
    { name: `${name}.offsets`, dtype: 'int64', shape: [offsets.length], pieces: () => [bytesOf(offsets)] },
  ]
  if (!ragged) arrays.push({ name: `${name}.shape`, dtype: 'int64', shape: [shapes.length, first.length], pieces: () => [bytesOf(BigInt64Array.from(shapes.flat().map(BigInt)))] })
  return arrays
}

export function bytesOfArray({ dtype, shape }: Pick<ExportArray, 'dtype' | 'shape'>): number {
  return shape.reduce((product, extent) => product * extent, sizeOf(dtype))
}
