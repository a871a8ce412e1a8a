import type { DType } from '../core/dtype.js'
import { byteCount, typedArray, type Tensor } from '../core/tensor.js'
import { native } from './load.js'

/** From here on memory comes from the addon's pool, which keeps what collected arrays gave back: pages that are there already. */
const POOLED_BYTES_MIN = 2 ** 20
/**
 * Arrays of this size and above, up to the next, are what streams read: the collector frees plain ones at once and pooled ones a turn of the event loop
 * later, which cost a stream 30 MiB at its peak (265 MiB against 235 measured).
 */
const STREAMED_BYTES_MIN = 8 * 2 ** 20
const STREAMED_BYTES_MAX = 64 * 2 ** 20

/** Memory with arbitrary content, all of which is about to be filled. New pages take longer to be faulted in than to be converted into (3 GB/s against 8 measured). */
export function freshBytes(length: number): Uint8Array {
  const pooled = length >= POOLED_BYTES_MIN && (length < STREAMED_BYTES_MIN || length >= STREAMED_BYTES_MAX)
  return new Uint8Array(pooled ? native().pooledBuffer(length) : new ArrayBuffer(length))
}

export function freshTensor(dtype: DType, shape: readonly number[]): Tensor {
  const { buffer, byteLength } = freshBytes(byteCount(dtype, shape))
  return { dtype, shape, data: typedArray(dtype, buffer, 0, byteLength) }
}

/** Memory for whole items, as `freshBytes`: always from the pool where it is large, since of an item there is one and not a stream. Volumes of 32 MiB are read in half the time. */
export function itemTensor(dtype: DType, shape: readonly number[]): Tensor {
  const bytes = byteCount(dtype, shape)
  return { dtype, shape, data: typedArray(dtype, bytes >= POOLED_BYTES_MIN ? native().pooledBuffer(bytes) : new ArrayBuffer(bytes), 0, bytes) }
}

/** Whether `itemTensor` took this tensor's memory from the pool, to which `returnBuffer` may give it back. */
export function isPooled({ data }: Tensor): boolean {
  return data.byteLength >= POOLED_BYTES_MIN
}
