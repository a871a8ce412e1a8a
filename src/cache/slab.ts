/**
 * Memory for the arrays of small values. A buffer of its own for each costs V8 as much as all the rest of reading a value, so several share one: four of 4 KB. Not more, because
 * whoever keeps one value keeps its slab, and a message to another thread copies all of it.
 */
export const SLAB_BYTES = 16 * 1024
/** Larger ones have a buffer of their own. */
const SHARED_BYTES_MAX = SLAB_BYTES / 4
/** Arrays begin at multiples of this. */
const ALIGNMENT = 8

/** A buffer that several values share; what was handed out of it is never handed out again. */
export class Slab {
  readonly buffer = new ArrayBuffer(SLAB_BYTES)
  readonly bytes = new Uint8Array(this.buffer)
  /** Values in it that the memory tier holds. */
  held = 0
}

/** Where the arrays of a value are. */
export interface Place {
  readonly buffer: ArrayBuffer
  readonly offset: number
}

export class Slabs {
  #slab: Slab | undefined
  #at = SLAB_BYTES
  /** The slab that the last copy went to; undefined when that has a buffer of its own. */
  last: Slab | undefined

  /** Copies bytes `start … end` of an array whose elements after `end` are not to be looked at. */
  copy(from: Uint8Array, start: number, end: number): Place {
    const bytes = end - start
    const source = from.subarray(start, end)
    if (bytes > SHARED_BYTES_MAX) {
      this.last = undefined
      const buffer = new ArrayBuffer(bytes)
      new Uint8Array(buffer).set(source)
      return { buffer, offset: 0 }
    }
    if (this.#slab === undefined || bytes > SLAB_BYTES - this.#at) {
      this.#slab = new Slab()
      this.#at = 0
    }
    const offset = this.#at
    this.last = this.#slab
    this.#slab.bytes.set(source, offset)
    this.#at = Math.ceil((offset + bytes) / ALIGNMENT) * ALIGNMENT
    return { buffer: this.#slab.buffer, offset }
  }
}
