import type { DType } from '../core/dtype.js'
import { byteCount, typedArray, type Tensor } from '../core/tensor.js'
import { native } from './load.js'

/** From here on memory comes from the addon's pool, which keeps what collected arrays gave back: pages that are there already. */
export const POOLED_BYTES_MIN = 2 ** 20
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

/** Of items, which are given back: plain arrays of this size and above cost more in collections than in calls. */
const ITEM_POOLED_BYTES_MIN = 2 ** 16
/** Buffers of items that are done. Used again, the next items are no news to the garbage collector, which otherwise goes through the heap for each 64 MB or so of them. */
const kept: ArrayBuffer[] = []
let keptBytes = 0
/** Buffers of `itemTensor` that somebody has. Those that nobody gives back are collected some time. */
let heldBytes = 0
const collected = new FinalizationRegistry<number>((bytes) => { heldBytes -= bytes })
/** What all who have items in work may take together, kept buffers included. */
let allowedBytes = 0
/** Loops that hand buffers out: these go back to the pool when they are collected, for the next ones. */
let loops = 0
/** A few volumes of 32 MiB, read and made. */
const KEPT_BYTES_MAX = 2 ** 28
/** Of what is allowed, for intermediate values of programs: they find each other's memory, which they need for milliseconds. */
const SCRATCH_SHARE = 1 / 8

/** Lets buffers of items be kept for the next ones, `forLoop` also those that were handed out and have been collected, as far as they come to `bytes` together with those that are in use. Until the returned function is called; what is too much then goes. */
export function allowItems(bytes: number, forLoop = false): () => void {
  allow(bytes)
  if (forLoop) loops++
  let ended = false
  return () => {
    if (!ended) allow(-bytes)
    if (!ended && forLoop) loops--
    ended = true
  }
}

function allow(more: number): void {
  allowedBytes += more
  native().keepScratch(Math.min(KEPT_BYTES_MAX, Math.floor(allowedBytes * SCRATCH_SHARE)))
  trim(0)
}

/** Memory for a whole item, all of which is about to be filled: where it is large from buffers that `giveBack` was given, else new. */
export function itemTensor(dtype: DType, shape: readonly number[]): Tensor {
  const bytes = byteCount(dtype, shape)
  return { dtype, shape, data: typedArray(dtype, bytes >= ITEM_POOLED_BYTES_MIN ? taken(bytes) : new ArrayBuffer(bytes), 0, bytes) }
}

/** Whether this tensor, of `itemTensor`, lies in a buffer for `giveBack`. */
export function isPooled({ data }: Tensor): boolean {
  return data.byteLength >= ITEM_POOLED_BYTES_MIN
}

/** Takes a buffer of `itemTensor` that nobody looks at any more. */
export function giveBack(buffer: ArrayBuffer): void {
  // Given to two who ask next it would be wrong bytes.
  if (buffer.byteLength === 0 || kept.includes(buffer)) throw new Error('a buffer was given back twice')
  heldBytes -= buffer.byteLength
  kept.push(buffer)
  keptBytes += buffer.byteLength
  trim(0)
}

/** Lets go of the oldest that are kept until `bytes` more may be taken. */
function trim(bytes: number): void {
  const limit = Math.min(KEPT_BYTES_MAX, allowedBytes - heldBytes - bytes)
  while (kept.length > 0 && keptBytes > limit) {
    const buffer = kept.shift()!
    keptBytes -= buffer.byteLength
    collected.unregister(buffer)
    native().returnBuffer(buffer)
  }
}

/** The newest that fits and is an eighth too large at most, or a new one. */
function taken(bytes: number): ArrayBuffer {
  const at = kept.findLastIndex(({ byteLength }) => byteLength >= bytes && byteLength <= bytes * 1.125)
  if (at >= 0) {
    const [buffer] = kept.splice(at, 1)
    keptBytes -= buffer!.byteLength
    heldBytes += buffer!.byteLength
    return buffer!
  }
  trim(bytes)
  const buffer = native().pooledBuffer(bytes, loops > 0)
  heldBytes += bytes
  collected.register(buffer, bytes, buffer)
  return buffer
}
