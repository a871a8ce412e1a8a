import type { DType } from '../core/dtype.js'
import { byteCount, typedArray, type Tensor } from '../core/tensor.js'
import { native } from '../native/load.js'

/** Below this, large pages would mostly be waste. */
const HUGE_BYTES_MIN = 8 * 2 ** 20

/** Zeroed memory that is about to be filled. Page faults of 4 KiB would take longer than converting what goes there (3 GB/s against 6 measured). */
export function freshBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(new ArrayBuffer(length))
  if (length >= HUGE_BYTES_MIN) native().hugePages(bytes)
  return bytes
}

export function freshTensor(dtype: DType, shape: readonly number[]): Tensor {
  const { buffer, byteLength } = freshBytes(byteCount(dtype, shape))
  return { dtype, shape, data: typedArray(dtype, buffer, 0, byteLength) }
}
