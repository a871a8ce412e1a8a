import { FormatError, UnsupportedError } from '../core/errors.js'
import { OpenFile, type FileOptions } from './file.js'

/** A line is parsed whole; text of this size and the values made of it are 1 GiB. */
export const LINE_BYTES_MAX = 64 * 2 ** 20
/** Bytes that are scanned in one go on the event loop: about 2 ms. */
const STEP_BYTES = 4 * 2 ** 20
const [NEWLINE, RETURN, TAB, SPACE] = [10, 13, 9, 32]
/** What compressed files begin with. */
const COMPRESSED: readonly (readonly [name: string, magic: readonly number[], tool: string])[] = [
  ['gzip', [0x1f, 0x8b], 'gunzip'], ['zstd', [0x28, 0xb5, 0x2f, 0xfd], 'zstd -d'], ['bzip2', [0x42, 0x5a, 0x68], 'bunzip2'], ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a], 'unxz'],
]

/**
 * A file of lines that are found once and read where they lie: eight bytes of memory per line. Lines end with LF or CR LF, the last one need not; lines of white space are none, nor is a byte order mark.
 * A mapped file, so that any line is at hand.
 */
export class LinesFile {
  readonly file: OpenFile
  /** Byte offset of each line, and of the end. */
  readonly #offsets: Float64Array

  private constructor(file: OpenFile, offsets: Float64Array) {
    this.file = file
    this.#offsets = offsets
  }

  /** Rejects with FileError, with UnsupportedError for a compressed file, and with FormatError for a line beyond `LINE_BYTES_MAX`. */
  static async open(path: string | URL, options: FileOptions): Promise<LinesFile> {
    const file = OpenFile.open(path, options)
    try {
      const head = await file.header(0, Math.min(8, file.size))
      const [name, , tool] = COMPRESSED.find(([, magic]) => magic.every((byte, k) => head[k] === byte)) ?? []
      if (name !== undefined) throw new UnsupportedError({ file: file.path, place: 'file', reason: `it is compressed with ${name}, in which no line can be read where it lies; unpack it first (${tool!})` })
      return await LinesFile.#scan(file)
    } catch (error) {
      file.close()
      throw error
    }
  }

  get length(): number {
    return this.#offsets.length - 1
  }

  /** The line's bytes, without its end. */
  bytes(line: number): Uint8Array {
    const start = this.#offsets[line]!
    const bytes = this.file.bytes(start, Math.min(this.#offsets[line + 1]! - start, LINE_BYTES_MAX + 1))
    const end = bytes.indexOf(NEWLINE)
    return end < 0 ? bytes : bytes.subarray(0, end)
  }

  /** Lines that follow one another, where they lie, each with the empty lines behind it. */
  range(start: number, stop: number): { bytes: Uint8Array; offsets: Float64Array } {
    const first = this.#offsets[start]!
    if (stop === start + 1) {
      const bytes = this.bytes(start)
      return { bytes, offsets: Float64Array.of(0, bytes.byteLength) }
    }
    return { bytes: this.file.bytes(first, this.#offsets[stop]! - first), offsets: this.#offsets.slice(start, stop + 1).map((offset) => offset - first) }
  }

  /** Where a run of lines from `start` on ends that has at most so many lines and bytes, but one line at least. */
  runEnd(start: number, stop: number, linesMax: number, bytesMax: number): number {
    const end = Math.min(stop, start + linesMax)
    let at = start + 1
    while (at < end && this.#offsets[at + 1]! - this.#offsets[start]! <= bytesMax) at++
    return at
  }

  /** Reads the bytes of lines in, on a thread. */
  populate(start: number, stop: number): Promise<void> {
    return this.file.populate(...this.#span(start, stop))
  }

  touched(start: number, stop: number): void {
    this.file.touched(...this.#span(start, stop))
  }

  release(start: number, stop: number): void {
    this.file.release(...this.#span(start, stop))
  }

  #span(start: number, stop: number): [offset: number, length: number] {
    return [this.#offsets[start]!, this.#offsets[stop]! - this.#offsets[start]!]
  }

  /** Number of a line as editors count, from 1. Counts from the beginning: for messages. */
  number(line: number): number {
    let found = 1
    for (let at = 0, end = this.#offsets[line]!; at < end; at += STEP_BYTES) {
      const bytes = this.file.bytes(at, Math.min(STEP_BYTES, end - at))
      for (let k = bytes.indexOf(NEWLINE); k >= 0; k = bytes.indexOf(NEWLINE, k + 1)) found++
    }
    return found
  }

  static async #scan(file: OpenFile): Promise<LinesFile> {
    let offsets = new Float64Array(1024)
    let count = 0
    /** Of the line that the step begins in; undefined while it holds nothing but white space. */
    let begun: number | undefined
    for (let at = 0; at < file.size; at += STEP_BYTES) {
      const length = Math.min(STEP_BYTES, file.size - at)
      await file.populate(at, length)
      const bytes = file.bytes(at, length)
      let from = at === 0 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0
      while (from < length) {
        if (begun === undefined) {
          while (from < length && isSpace(bytes[from]!)) from++
          if (from === length) break
          begun = at + from
          if (count + 2 > offsets.length) offsets = grown(offsets)
          offsets[count++] = begun
        }
        const end = bytes.indexOf(NEWLINE, from)
        const reached = at + (end < 0 ? length : end)
        if (reached - begun > LINE_BYTES_MAX) throw new FormatError({ file: file.path, place: `line ${new LinesFile(file, offsets).number(count - 1)}`, expected: `at most ${LINE_BYTES_MAX} bytes`, found: 'more' })
        if (end < 0) break
        begun = undefined
        from = end + 1
      }
    }
    file.assertUnchanged()
    offsets[count] = file.size
    return new LinesFile(file, offsets.slice(0, count + 1))
  }
}

function isSpace(byte: number): boolean {
  return byte === NEWLINE || byte === RETURN || byte === SPACE || byte === TAB
}

function grown(array: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(2 * array.length)
  larger.set(array)
  return larger
}
