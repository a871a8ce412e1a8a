import { availableParallelism } from 'node:os'
import { FormatError, IntegrityError } from '../core/errors.js'
import type { MappedFile } from '../native/addon.js'
import { native } from '../native/load.js'
import { codeOf, FRAME_BYTES, frameCount, shuffledTriples, type FrameIndex, type Shuffled } from './compression.js'
import { FrameCache } from './frame-cache.js'

/** The longest ArrayBuffer of Node 20 is a little over 4 GiB. */
const WHOLE_BYTES_MAX = 2 ** 32 - 1
/** One call decompresses no more frames than this: their part of the file has to fit into one view. */
const FRAMES_MAX = 1024

/**
 * Reads ranges of the plain file out of a compressed one: only the frames that a range touches, on several threads. Frames of which a part was wanted are kept in a cache, so that reading on
 * in small steps decompresses each frame once. Every frame is checked by its own checksum.
 */
export class FrameReader {
  /** Size of the plain file. */
  readonly bytes: number
  readonly #file: MappedFile
  readonly #index: FrameIndex
  readonly #code: number
  readonly #cache: FrameCache
  readonly #reader: number
  readonly #threads: number
  #shuffled = shuffledTriples([])
  #whole: ArrayBuffer | undefined

  /** The file stays the caller's to close. `cache`: where frames are kept; default its own, of four. `threads` of one read: default as many as there are processors. */
  constructor(file: MappedFile, index: FrameIndex, { cache = new FrameCache(4 * FRAME_BYTES), threads = availableParallelism() }: { readonly cache?: FrameCache; readonly threads?: number } = {}) {
    const { codec, bytes, ends } = index
    const sound = Number.isSafeInteger(bytes) && bytes >= 0 && ends.length === frameCount(bytes) && ends.every((end, k) => Number.isSafeInteger(end) && end > (ends[k - 1] ?? 0))
    if (!sound) throw new FormatError({ file: file.path, place: 'frame index', expected: `ascending ends of the frames of ${bytes} bytes`, found: `${ends.length} entries` })
    if (ends.at(-1)! > file.size) throw new IntegrityError(file.path, `has ${file.size} bytes; its frames end at byte ${ends.at(-1)}`)
    this.#file = file
    this.#index = index
    this.bytes = bytes
    this.#code = codeOf(codec)
    this.#cache = cache
    this.#reader = cache.newReader()
    this.#threads = threads
  }

  /** What is shuffled, ascending: known once the header has been read. From now on it is read unshuffled. */
  declareShuffled(shuffled: readonly Shuffled[]): void {
    this.#shuffled = shuffledTriples(shuffled)
    this.forget()
  }

  /** Fills `out` with the plain bytes from `offset` on. Rejects with IntegrityError when a frame is damaged; `out` then holds nothing of use. */
  async read(offset: number, out: Uint8Array): Promise<void> {
    if (!Number.isSafeInteger(offset) || offset < 0 || offset + out.byteLength > this.bytes) throw new RangeError(`bytes ${offset} … +${out.byteLength} of ${this.bytes}`)
    const end = offset + out.byteLength
    const reads: Promise<void>[] = []
    for (let at = offset; at < end;) {
      const frame = Math.floor(at / FRAME_BYTES)
      const part = (to: number): Uint8Array => out.subarray(at - offset, to - offset)
      const known = this.#cache.get(this.#reader, frame)
      let next = Math.min(end, (frame + 1) * FRAME_BYTES)
      if (known !== undefined) {
        reads.push(copy(frame, known, at, part(next)))
      } else {
        // As many frames as follow that nobody has.
        let last = frame
        while (next < end && last + 1 < frame + FRAMES_MAX && !this.#cache.has(this.#reader, last + 1)) next = Math.min(end, (++last + 1) * FRAME_BYTES)
        reads.push(this.#decompress(frame, last, at, part(next)))
      }
      at = next
    }
    // All of them, even after one has failed: the others still write to `out`.
    for (const result of await Promise.allSettled(reads)) if (result.status === 'rejected') throw result.reason
  }

  /** Decompresses the frames of a range that nobody has, and keeps them. */
  async prepare(offset: number, bytes: number): Promise<void> {
    const last = Math.floor((Math.min(this.bytes, offset + bytes) - 1) / FRAME_BYTES)
    const one = new Uint8Array(1)
    const reads: Promise<void>[] = []
    for (let frame = Math.floor(offset / FRAME_BYTES); frame <= last; frame++) if (!this.#cache.has(this.#reader, frame)) reads.push(this.read(frame * FRAME_BYTES, one))
    await Promise.all(reads)
  }

  /** Lets go of the frames that are kept for it. */
  forget(): void {
    this.#cache.drop(this.#reader)
  }

  async #decompress(first: number, last: number, offset: number, out: Uint8Array): Promise<void> {
    const { ends } = this.#index
    const from = first === 0 ? 0 : ends[first - 1]!
    const source = this.#source(from, ends[last]! - from)
    const relative = Float64Array.from({ length: last - first + 2 }, (_, k) => k === 0 ? 0 : ends[first + k - 1]! - from)
    // Frames that are wanted whole go where they are wanted and are not kept.
    const partial = (frame: number): boolean => offset > frame * FRAME_BYTES || offset + out.byteLength < Math.min(this.bytes, (frame + 1) * FRAME_BYTES)
    const room = (frame: number): Uint8Array | undefined => this.#cache.hasRoomFor(FRAME_BYTES) && partial(frame) ? new Uint8Array(native().pooledBuffer(FRAME_BYTES)) : undefined
    const head = room(first)
    const tail = last > first ? room(last) : undefined
    const done = native().decompressFrames(this.#code, this.bytes, first, source, relative, offset, out, head, tail, this.#shuffled, this.#threads).then((fault) => {
      if (fault === undefined) return
      const at = fault.frame === 0 ? 0 : ends[fault.frame - 1]!
      throw new IntegrityError(this.#file.path, `frame ${fault.frame} at byte ${at} is damaged: ${fault.reason}`)
    })
    this.#remember(first, head, done)
    this.#remember(last, tail, done)
    return done
  }

  /** Has the system read the frames of a plain range. */
  announce(offset: number, bytes: number): void {
    const { from, length } = this.#stored(offset, bytes)
    if (length > 0) this.#file.advise(from, length, 'willneed')
  }

  /** Lets go of the memory of the compressed frames of a plain range. */
  drop(offset: number, bytes: number): void {
    const { from, length } = this.#stored(offset, bytes)
    if (length > 0) this.#file.drop(from, length)
  }

  #stored(offset: number, bytes: number): { from: number; length: number } {
    const { ends } = this.#index
    const first = Math.floor(offset / FRAME_BYTES)
    const last = Math.min(ends.length, Math.ceil((offset + bytes) / FRAME_BYTES)) - 1
    const from = first === 0 ? 0 : ends[first - 1]!
    return { from, length: last < first ? 0 : ends[last]! - from }
  }

  #remember(frame: number, bytes: Uint8Array | undefined, done: Promise<void>): void {
    if (bytes !== undefined) this.#cache.set(this.#reader, frame, done.then(() => bytes), bytes.byteLength)
  }

  #source(offset: number, bytes: number): Uint8Array {
    // One buffer for the whole file: a buffer per read would make the garbage collector believe in gigabytes of garbage.
    if (this.#file.size <= WHOLE_BYTES_MAX) return new Uint8Array(this.#whole ??= this.#file.view(0, this.#file.size), offset, bytes)
    return new Uint8Array(this.#file.view(offset, bytes))
  }
}

async function copy(frame: number, known: Promise<Uint8Array>, from: number, out: Uint8Array): Promise<void> {
  const begin = from - frame * FRAME_BYTES
  out.set((await known).subarray(begin, begin + out.byteLength))
}
