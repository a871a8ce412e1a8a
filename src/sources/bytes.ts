import { FormatError } from '../core/errors.js'
import type { Inflate } from '../native/addon.js'
import { native } from '../native/load.js'
import { RangeCrc } from './crc.js'
import type { StoredFile } from './stored-file.js'

/** Where the bytes of one array lie: a range of a mapped file, or a deflated member of one. Offsets count from the array's container. */
export interface StoredBytes {
  readonly file: StoredFile
  readonly size: number
  readonly deflated: boolean
  /** The first bytes, for a parser. What they lie in is not judged yet: a damaged array is refused when it is used. */
  peek(length: number): Promise<Uint8Array>
  /** The bytes where they lie, or undefined when they do not lie in the file as they are, or not at a multiple of `alignment`. */
  view(offset: number, length: number, alignment: number): Uint8Array | undefined
  /** Reads the pages of a range in, on a thread, where that saves time later. */
  populate(offset: number, length: number): Promise<void>
  /** Reads the pages of a range that was viewed in, on a thread, and checks what can be checked. */
  ready(offset: number, length: number): Promise<void>
  /** Tells that a range that was viewed has been read: checks what can be checked. */
  passed(offset: number, length: number): Promise<void>
  /** Copies a range into `out`, reversing the bytes of every `unit`. */
  read(offset: number, out: Uint8Array, unit: number, signal?: AbortSignal): Promise<void>
  /** Rows of an array that begins at `offset`, each to its place (in rows) in `out`, reversing the bytes of every `unit`. */
  readRows(offset: number, rowBytes: number, rows: Float64Array, places: Float64Array, out: Uint8Array, unit: number, signal?: AbortSignal): Promise<void>
  /** Rows of a Fortran-ordered array that fills the bytes from `offset` to their end, in C order. */
  readFortran(offset: number, shape: readonly number[], elementSize: number, start: number, stop: number, out: Uint8Array): Promise<void>
  /** Tells that a range is not needed again soon. */
  release(offset: number, length: number): void
}

/** Bytes that lie in the file as they are. `crc` is the CRC-32 all of them must have, if the file says one. */
export class MappedBytes implements StoredBytes {
  readonly file: StoredFile
  readonly size: number
  readonly deflated = false
  readonly #base: number
  readonly #place: string
  readonly #crc: number | undefined
  readonly #seen: RangeCrc | undefined
  #checked: boolean
  #damage: FormatError | undefined

  constructor(file: StoredFile, place: string, base: number, size: number, crc?: number) {
    this.file = file
    this.size = size
    this.#base = base
    this.#place = place
    this.#crc = crc
    this.#seen = crc === undefined ? undefined : new RangeCrc(size)
    this.#checked = crc === undefined
  }

  async peek(length: number): Promise<Uint8Array> {
    const bytes = await this.file.header(this.#base, length)
    await this.#seen?.add(0, bytes)
    return bytes
  }

  view(offset: number, length: number, alignment: number): Uint8Array | undefined {
    return (this.#base + offset) % alignment === 0 ? this.file.bytes(this.#base + offset, length) : undefined
  }

  populate(offset: number, length: number): Promise<void> {
    return this.file.populate(this.#base + offset, length)
  }

  async ready(offset: number, length: number): Promise<void> {
    await this.populate(offset, length)
    await this.passed(offset, length)
  }

  passed(offset: number, length: number): Promise<void> {
    return this.#check(offset, this.file.bytes(this.#base + offset, length))
  }

  async read(offset: number, out: Uint8Array, unit: number): Promise<void> {
    const stored = this.file.bytes(this.#base + offset, out.byteLength)
    await native().copySwapped(stored, unit, out)
    await this.#check(offset, stored)
  }

  /** Rows here and there are not compared with the CRC-32 that all have together. */
  async readRows(offset: number, rowBytes: number, rows: Float64Array, places: Float64Array, out: Uint8Array, unit: number): Promise<void> {
    if (this.#damage !== undefined) throw this.#damage
    await this.file.rows(this.#base + offset, rowBytes, rows, places, out, unit)
  }

  async readFortran(offset: number, shape: readonly number[], elementSize: number, start: number, stop: number, out: Uint8Array): Promise<void> {
    const pieces = this.file.pieces(this.#base + offset, this.size - offset)
    await native().fromFortran(pieces, shape, elementSize, start, stop, out)
    // Every page was touched, whatever the rows.
    let at = offset
    for (const piece of pieces) {
      await this.#check(at, piece)
      at += piece.byteLength
    }
  }

  release(offset: number, length: number): void {
    this.file.release(this.#base + offset, length)
  }

  async #check(offset: number, stored: Uint8Array): Promise<void> {
    if (this.#damage !== undefined) throw this.#damage
    if (!this.#checked) {
      await this.#seen!.add(offset, stored)
      const found = this.#seen!.value
      if (found !== undefined && !this.#checked) {
        this.file.assertUnchanged()
        this.#checked = true
        if (found !== this.#crc) {
          this.#damage = crcError(this.file, this.#place, this.#crc!, found)
          throw this.#damage
        }
      }
    }
    this.file.touched(this.#base + offset, stored.byteLength)
  }
}

/** Resume points of one member at most: 64 MiB of windows. */
const POINTS_MAX = 2048
const POINT_EVERY_BYTES_MIN = 2 ** 20
/** Inflated between two looks at the signal. */
const STEP_BYTES = 64 * 2 ** 20

/**
 * A deflated member of `size` bytes that lies in the file at `base` as `stored` bytes, all of which have `crc`; or, without one, a gzip file, whose members say their own. Of that
 * the first `size` bytes are read, and inflating the last of them inflates what follows too, because the CRC-32 is behind it. Such a file is read front to back, and leaves no resume points: `GzipRanges` is for other orders.
 */
export class DeflatedBytes implements StoredBytes {
  readonly file: StoredFile
  readonly size: number
  readonly deflated = true
  readonly #place: string
  readonly #stored: number
  readonly #crc: number | undefined
  readonly #inflate: Inflate
  readonly #base: number
  /** The furthest byte asked for so far. */
  #front = 0
  /** Bytes inflated since compressed pages were let go of. */
  #since = 0
  #checked = false
  #damage: FormatError | undefined

  constructor(file: StoredFile, place: string, base: number, stored: number, size: number, crc?: number) {
    this.file = file
    this.size = size
    this.#place = place
    this.#base = base
    this.#stored = stored
    this.#crc = crc
    this.#inflate = new (native().Inflate)(file.pieces(base, stored), size, crc === undefined ? 0 : Math.max(POINT_EVERY_BYTES_MIN, Math.ceil(size / POINTS_MAX)), crc === undefined)
  }

  async peek(length: number): Promise<Uint8Array> {
    const out = new Uint8Array(length)
    await this.#inflated(() => this.#inflate.read(0, out))
    return out
  }

  view(): undefined {}

  async populate(): Promise<void> {}

  async ready(): Promise<void> {}

  async passed(): Promise<void> {}

  async read(offset: number, out: Uint8Array, unit: number, signal?: AbortSignal): Promise<void> {
    await this.#run(async () => {
      const nothing = new Uint8Array(0)
      while (offset + out.byteLength - this.#front > STEP_BYTES && offset > this.#front) {
        const next = Math.min(offset, this.#front + STEP_BYTES)
        await this.#inflate.read(next, nothing)
        this.#passed(next - this.#front)
        this.#front = Math.max(this.#front, next)
        signal?.throwIfAborted()
      }
      for (let at = 0; ; at += STEP_BYTES) {
        const step = out.subarray(at, at + STEP_BYTES)
        await this.#inflate.read(offset + at, step)
        this.#passed(step.byteLength)
        signal?.throwIfAborted()
        if (at + STEP_BYTES >= out.byteLength) break
      }
      this.#front = Math.max(this.#front, offset + out.byteLength)
    })
    if (unit > 1) await native().copySwapped(out, unit, out)
  }

  /** In the order of the stream, so that what lies between two resume points is inflated once. */
  async readRows(offset: number, rowBytes: number, rows: Float64Array, places: Float64Array, out: Uint8Array, unit: number, signal?: AbortSignal): Promise<void> {
    const order = Uint32Array.from(rows, (_, k) => k).sort((a, b) => rows[a]! - rows[b]!)
    const at = (place: number): Uint8Array => out.subarray(place * rowBytes, (place + 1) * rowBytes)
    let before = -1
    for (const k of order) {
      if (before >= 0 && rows[before] === rows[k]) at(places[k]!).set(at(places[before]!))
      else await this.read(offset + rows[k]! * rowBytes, at(places[k]!), unit, signal)
      before = k
    }
  }

  async readFortran(offset: number, shape: readonly number[], elementSize: number, start: number, stop: number, out: Uint8Array): Promise<void> {
    await this.#run(() => this.#inflate.readFortran(offset, shape, elementSize, start, stop, out))
  }

  release(): void {}

  /** Where a position of the inflated bytes lies among the compressed ones is not known here, so pages of all of them go; the next few come back at once. */
  #passed(bytes: number): void {
    this.#since += bytes
    if (this.#since < STEP_BYTES) return
    this.#since = 0
    this.file.release(this.#base, this.#stored)
  }

  async #run(work: () => Promise<void>): Promise<void> {
    await this.#inflated(work)
    if (!this.#checked) this.#check()
  }

  async #inflated(work: () => Promise<void>): Promise<void> {
    if (this.#damage !== undefined) throw this.#damage
    try {
      await work()
    } catch (cause) {
      if ((cause as { code?: string }).code !== 'E_DEFLATE') throw cause
      this.file.assertUnchanged()
      this.#damage = new FormatError({ file: this.file.path, place: this.#place, expected: `${this.#crc === undefined ? 'gzip' : 'a deflate stream'} of ${this.size} bytes`, found: (cause as Error).message }, { cause })
      throw this.#damage
    }
  }

  #check(): void {
    const { crc32, compressedBytes } = this.#inflate
    if (crc32 === undefined || this.#crc === undefined) return
    this.file.assertUnchanged()
    this.#checked = true
    if (crc32 !== this.#crc) this.#damage = crcError(this.file, this.#place, this.#crc, crc32)
    else if (compressedBytes !== this.#stored) {
      this.#damage = new FormatError({ file: this.file.path, place: this.#place, expected: `${this.#stored} bytes of deflated data`, found: `a stream that ends after ${compressedBytes}` })
    }
    if (this.#damage !== undefined) throw this.#damage
  }
}

function crcError(file: StoredFile, place: string, expected: number, found: number): FormatError {
  const hex = (value: number): string => value.toString(16).padStart(8, '0')
  return new FormatError({ file: file.path, place, expected: `CRC-32 ${hex(expected)}`, found: hex(found) })
}
