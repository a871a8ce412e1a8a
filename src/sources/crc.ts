import { native } from '../native/load.js'

/** Ranges kept apart at most: a reader that jumps about is not worth unbounded bookkeeping. */
const SPANS_MAX = 4096
/** Below this a thread costs more than it saves. */
const THREAD_BYTES = 64 * 2 ** 10

interface Span { start: number; stop: number; crc: number }

/**
 * CRC-32 of a stretch of bytes that is read by ranges in any order. Each byte counts once; when all have been seen,
 * `value` is the CRC of the whole.
 */
export class RangeCrc {
  readonly #size: number
  /** Disjoint, in order, never adjacent. */
  readonly #spans: Span[] = []

  constructor(size: number) {
    this.#size = size
  }

  /** The CRC of all bytes, or undefined while some have not been seen. */
  get value(): number | undefined {
    if (this.#size === 0) return 0
    const only = this.#spans[0]
    return only !== undefined && only.start === 0 && only.stop === this.#size ? only.crc : undefined
  }

  /** Takes the bytes at `start` into account, as far as they are new. */
  async add(start: number, bytes: Uint8Array): Promise<void> {
    for (const [from, to] of this.#gaps(start, start + bytes.byteLength)) {
      const part = bytes.subarray(from - start, to - start)
      const crc = part.byteLength < THREAD_BYTES ? native().crc32(part, 0) : await native().crc32Async(part, 0)
      // Another reader may have brought the same bytes meanwhile.
      if (this.#gaps(from, to).some(([a, b]) => a === from && b === to)) this.#insert({ start: from, stop: to, crc })
    }
  }

  #gaps(start: number, stop: number): [number, number][] {
    const gaps: [number, number][] = []
    let at = start
    for (const span of this.#spans) {
      if (span.stop <= at) continue
      if (span.start >= stop) break
      if (span.start > at) gaps.push([at, span.start])
      at = span.stop
    }
    if (at < stop) gaps.push([at, stop])
    return gaps
  }

  #insert(span: Span): void {
    let at = this.#spans.findIndex((other) => other.start >= span.stop)
    if (at < 0) at = this.#spans.length
    const before = this.#spans[at - 1]
    const after = this.#spans[at]
    const joinsBefore = before?.stop === span.start
    const joinsAfter = after?.start === span.stop
    if (!joinsBefore && !joinsAfter) {
      if (this.#spans.length < SPANS_MAX) this.#spans.splice(at, 0, span)
      return
    }
    let joined = span
    if (joinsBefore) joined = join(before!, joined)
    if (joinsAfter) joined = join(joined, after!)
    this.#spans.splice(joinsBefore ? at - 1 : at, Number(joinsBefore) + Number(joinsAfter), joined)
  }
}

function join(a: Span, b: Span): Span {
  return { start: a.start, stop: b.stop, crc: combine(a.crc, b.crc, b.stop - b.start) }
}

/**
 * CRC-32 of two stretches one after the other: crc(a) · x^(8·length) + crc(b), polynomials over GF(2) modulo the CRC's own. A polynomial is a
 * 32-bit word, its constant term in the highest bit.
 */
export function combine(a: number, b: number, length: number): number {
  let factor = 0x80000000 // 1
  let square = 0x00800000 // x^8
  for (let n = length; n > 0; n = Math.floor(n / 2)) {
    if (n % 2 === 1) factor = multiply(factor, square)
    square = multiply(square, square)
  }
  return (multiply(a, factor) ^ b) >>> 0
}

function multiply(a: number, b: number): number {
  let product = 0
  for (let bit = 31; bit >= 0; bit--) {
    if ((a >>> bit) & 1) product ^= b
    b = (b >>> 1) ^ (b & 1 ? 0xedb88320 : 0)
  }
  return product >>> 0
}
