import { availableParallelism } from 'node:os'
import { native } from '../native/load.js'
import { codeOf, FRAME_BYTES, frameCount, shuffledTriples, type Compression, type FrameIndex, type Shuffled } from './compression.js'

/** Frames that one call compresses: enough for threads to be worth starting, few enough that three calls' room stays under 100 MiB however many processors there are. */
const batchFrames = (threads: number): number => Math.min(32, Math.max(8, 2 * threads))
/** Two under way, so that no thread waits for the last frame of a call, and one being consumed. */
const ROOMS = 3

/**
 * Compresses a file, given as the parts that make it up, into frames in order. Each piece of bytes that it gives is overwritten at the next step. The parts must not change meanwhile.
 *
 * zstd files end with the seek table of zstd's seekable format, in a frame that decoders skip.
 */
export class FrameWriter implements AsyncIterable<Uint8Array> {
  readonly #compression: Compression
  readonly #code: number
  readonly #parts: readonly Uint8Array[]
  /** Byte of the file at which each part begins. */
  readonly #starts: readonly number[]
  readonly #bytes: number
  readonly #shuffled: Float64Array
  readonly #ends: Float64Array
  readonly #threads: number
  #done = 0

  /** `shuffled`: where elements lie, ascending; looked at when the compression says so. `threads`: default as many as there are processors. */
  constructor(parts: readonly Uint8Array[], compression: Compression, { shuffled = [], threads = availableParallelism() }: { readonly shuffled?: readonly Shuffled[]; readonly threads?: number } = {}) {
    this.#compression = compression
    this.#code = codeOf(compression.codec)
    this.#parts = parts.filter((part) => part.byteLength > 0)
    let bytes = 0
    this.#starts = this.#parts.map((part) => (bytes += part.byteLength) - part.byteLength)
    this.#bytes = bytes
    this.#shuffled = shuffledTriples(compression.shuffle ? shuffled : [])
    this.#ends = new Float64Array(frameCount(bytes))
    this.#threads = threads
  }

  /** Where the frames are, once all have been given. */
  get index(): FrameIndex {
    if (this.#done < this.#ends.length) throw new Error('not all frames are written yet')
    return { codec: this.#compression.codec, bytes: this.#bytes, ends: this.#ends }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void> {
    this.#done = 0
    const frames = this.#ends.length
    const bound = native().frameBound
    const batchSize = batchFrames(this.#threads)
    const batches = Math.ceil(frames / batchSize)
    // Two calls side by side have twice the threads that were asked for, now and then all at work. One thread is one.
    const roomCount = this.#threads === 1 ? 2 : ROOMS
    const rooms = Array.from({ length: Math.min(roomCount, batches) }, () => new Uint8Array(Math.min(frames, batchSize) * bound))
    const under: Promise<Float64Array>[] = []
    const start = (batch: number): void => {
      if (batch >= batches) return
      const call = this.#compress(batch * batchSize, Math.min(frames, (batch + 1) * batchSize), rooms[batch % roomCount]!)
      // Whoever stops in the middle does not ask for the rest.
      call.catch(() => {})
      under.push(call)
    }
    for (let batch = 0; batch < roomCount - 1; batch++) start(batch)
    let end = 0
    for (let batch = 0; batch < batches; batch++) {
      const sizes = await under.shift()!
      start(batch + roomCount - 1)
      for (const [k, size] of sizes.entries()) {
        end += size
        this.#ends[this.#done++] = end
        yield rooms[batch % roomCount]!.subarray(k * bound, k * bound + size)
      }
    }
    if (this.#compression.codec === 'zstd') yield seekTable(this.index)
  }

  #compress(first: number, last: number, room: Uint8Array): Promise<Float64Array> {
    const begin = first * FRAME_BYTES
    const end = Math.min(this.#bytes, last * FRAME_BYTES)
    const parts: Uint8Array[] = []
    for (let at = partAt(this.#starts, begin); at < this.#parts.length && this.#starts[at]! < end; at++) {
      const start = this.#starts[at]!
      parts.push(this.#parts[at]!.subarray(Math.max(0, begin - start), end - start))
    }
    return native().compressFrames(this.#code, this.#compression.level, begin, parts, this.#shuffled, room, this.#threads)
  }
}

/** The part that holds a byte: the last that does not begin behind it. */
function partAt(starts: readonly number[], byte: number): number {
  let [low, high] = [0, starts.length]
  while (low + 1 < high) {
    const middle = (low + high) >>> 1
    if (starts[middle]! <= byte) low = middle
    else high = middle
  }
  return low
}

/** Zstandard seekable format 0.1.0: both sizes of each frame, without checksums, in a skippable frame. */
function seekTable({ bytes, ends }: FrameIndex): Uint8Array {
  const table = Buffer.alloc(8 + 8 * ends.length + 9)
  table.writeUInt32LE(0x184d2a5e, 0)
  table.writeUInt32LE(table.length - 8, 4)
  ends.forEach((end, k) => {
    table.writeUInt32LE(end - (ends[k - 1] ?? 0), 8 + 8 * k)
    table.writeUInt32LE(Math.min(FRAME_BYTES, bytes - k * FRAME_BYTES), 12 + 8 * k)
  })
  table.writeUInt32LE(ends.length, table.length - 9)
  table.writeUInt32LE(0x8f92eab1, table.length - 4)
  return table
}
