import { totalmem } from 'node:os'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FileError, SourceChangedError } from '../core/errors.js'
import { toHex } from '../core/hash.js'
import type { FileStat, MappedFile, PlacedElements } from '../native/addon.js'
import { native } from '../native/load.js'
import type { SourceFile } from './source.js'
import type { StoredFile } from './stored-file.js'

/** Options of whatever maps files. */
export interface FileOptions {
  /** A file larger than this is not kept resident: pages are dropped behind the reader. Default: a quarter of the machine's memory. */
  readonly residencyBytes?: number
}

/** Of a file that is not kept resident, the ranges read last stay, up to this many bytes. */
const RESIDENT_TAIL_BYTES = 64 * 2 ** 20
/** Buffers over the mapping are made this large and kept: V8 collects garbage the more often the more bytes of them are made. */
const WINDOW_BYTES = 2 ** 30
const WINDOWS_KEPT = 4
/** Of a file that is kept resident, pages are read in by stretches of this size, and each stretch once: asking again costs as much as converting it. */
const STRETCH_BYTES = 2 ** 18
const SEEN = 1, POPULATED = 2
/** `hash` and typed arrays have limits of their own; a piece is also what a signal waits for. */
const DIGEST_PIECE_BYTES = 64 * 2 ** 20

/** A source file, mapped and watched: it must stay the file that was opened. */
export class OpenFile implements StoredFile {
  readonly path: string
  readonly size: number
  readonly #mapped: MappedFile
  readonly #keepAll: boolean
  /** Of each stretch whether it was read in, or rows of it were read. */
  readonly #populated: Uint8Array
  readonly #resident: { offset: number; length: number }[] = []
  #residentBytes = 0
  readonly #windows = new Map<number, ArrayBuffer>()
  #closed = false

  private constructor(path: string, mapped: MappedFile, options: FileOptions) {
    this.path = path
    this.#mapped = mapped
    this.size = mapped.size
    this.#keepAll = mapped.size <= (options.residencyBytes ?? totalmem() / 4)
    this.#populated = new Uint8Array(this.#keepAll ? Math.ceil(mapped.size / STRETCH_BYTES) : 0)
  }

  /** Throws FileError when the file is not there or cannot be mapped. */
  static open(path: string | URL, options: FileOptions = {}): OpenFile {
    if (typeof path !== 'string' && !(path instanceof URL)) throw new TypeError('path must be a string or a file: URL')
    const full = resolve(typeof path === 'string' ? path : fileURLToPath(path))
    const { MappedFile } = native()
    try {
      return new OpenFile(full, new MappedFile(full), options)
    } catch (cause) {
      const code = (cause as { code?: string }).code
      const why = code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'is a folder, not a file' : `cannot be opened (${code ?? (cause as Error).message})`
      throw new FileError(full, why, { cause })
    }
  }

  get stat(): FileStat {
    return this.#mapped.stat
  }

  /** Throws SourceChangedError when the file is no longer the one that was opened. */
  assertUnchanged(): void {
    if (this.#closed) throw new FileError(this.path, 'has been closed')
    const then = this.#mapped.stat
    const now = this.#mapped.restat()
    if (now.size !== then.size) throw new SourceChangedError(this.path, `it had ${then.size} bytes, now it has ${now.size}`)
    if (now.mtimeNs !== then.mtimeNs || now.ctimeNs !== then.ctimeNs || now.ino !== then.ino || now.dev !== then.dev) {
      throw new SourceChangedError(this.path, 'it was written or replaced')
    }
    if (this.#mapped.faulted) throw new SourceChangedError(this.path, 'a part of it can no longer be read')
  }

  /** Reads the pages of a range in, on a thread, unless that was done before. */
  async populate(offset: number, length: number): Promise<void> {
    if (length === 0) return
    if (!this.#keepAll) return this.#populateRange(offset, length)
    let first = Math.floor(offset / STRETCH_BYTES)
    let stop = Math.ceil((offset + length) / STRETCH_BYTES)
    while (first < stop && this.#populated[first] === POPULATED) first++
    while (first < stop && this.#populated[stop - 1] === POPULATED) stop--
    if (first === stop) return
    await this.#populateRange(first * STRETCH_BYTES, Math.min(this.size, stop * STRETCH_BYTES) - first * STRETCH_BYTES)
    this.#populated.fill(POPULATED, first, stop)
  }

  /** A range that holds a box of a Fortran-ordered array to its place in `out`, as `placeBox` has it: read, so that no page of it is mapped. */
  async place({ offset, length }: { readonly offset: number; readonly length: number }, out: Uint8Array, elements: PlacedElements, extents: readonly number[], strides: readonly number[], first: number): Promise<void> {
    if (this.#closed) throw new FileError(this.path, 'has been closed')
    await this.#reading(offset, length, () => native().placeFile(this.#mapped, offset, length, out, elements, extents, strides, first))
  }

  /**
   * Rows of a C-ordered array to their places in `out`, as `readRows` has it. Of a file that is kept resident, what is asked for again is brought in, where it is copied twice as fast; everything else is read, so that
   * no page of it is mapped.
   */
  async rows(base: number, rowBytes: number, rows: Float64Array, places: Float64Array, out: Uint8Array, unit: number): Promise<void> {
    if (this.#closed) throw new FileError(this.path, 'has been closed')
    const resident = new Uint8Array(rows.length)
    if (this.#keepAll) {
      const again = new Set<number>()
      rows.forEach((row, k) => {
        const first = Math.floor((base + row * rowBytes) / STRETCH_BYTES)
        const stop = Math.ceil((base + (row + 1) * rowBytes) / STRETCH_BYTES)
        resident[k] = 1
        for (let stretch = first; stretch < stop; stretch++) {
          if (this.#populated[stretch] === POPULATED) continue
          if (this.#populated[stretch] === SEEN) again.add(stretch)
          else resident[k] = 0
          this.#populated[stretch] ||= SEEN
        }
      })
      await Promise.all(Array.from(again, (stretch) => this.populate(stretch * STRETCH_BYTES, Math.min(STRETCH_BYTES, this.size - stretch * STRETCH_BYTES))))
    }
    await this.#reading(base, this.size - base, () => native().readRows(this.#mapped, base, rowBytes, rows, places, out, unit, resident))
  }

  async #populateRange(offset: number, length: number): Promise<void> {
    await this.#reading(offset, length, () => this.#mapped.populate(offset, length))
  }

  async #reading(offset: number, length: number, read: () => Promise<void>): Promise<void> {
    try {
      await read()
    } catch (cause) {
      this.assertUnchanged()
      throw new FileError(this.path, `bytes ${offset} to ${offset + length} cannot be read`, { cause })
    }
  }

  /** The bytes of a range (at most 4 GiB) where they lie. Nothing is read before they are touched. */
  bytes(offset: number, length: number): Uint8Array {
    if (this.#closed) throw new FileError(this.path, 'has been closed')
    const first = Math.floor(offset / WINDOW_BYTES)
    const inside = offset - first * WINDOW_BYTES
    if (inside + length > WINDOW_BYTES) return new Uint8Array(this.#mapped.view(offset, length))
    const expected = Math.min(WINDOW_BYTES, this.size - first * WINDOW_BYTES)
    let window = this.#windows.get(first)
    // A caller who transfers a view's buffer to a worker detaches it.
    if (window === undefined || window.byteLength !== expected) window = this.#mapped.view(first * WINDOW_BYTES, expected)
    this.#windows.delete(first)
    this.#windows.set(first, window)
    if (this.#windows.size > WINDOWS_KEPT) this.#windows.delete(this.#windows.keys().next().value!)
    return new Uint8Array(window, inside, length)
  }

  /** A buffer of its own over a range, for parsers that are given mapped files. */
  view(offset: number, length: number): ArrayBuffer {
    return this.#mapped.view(offset, length)
  }

  /** A range of any length as pieces that follow each other in memory. */
  pieces(offset: number, length: number): Uint8Array[] {
    const pieces: Uint8Array[] = []
    for (let at = offset; at < offset + length;) {
      const step = Math.min(offset + length - at, WINDOW_BYTES - at % WINDOW_BYTES)
      pieces.push(this.bytes(at, step))
      at += step
    }
    return pieces
  }

  /** The bytes of a small range, resident, for a parser. */
  async header(offset: number, length: number): Promise<Uint8Array> {
    await this.populate(offset, length)
    return this.bytes(offset, length)
  }

  /** Tells that a range was just read. Of a file that is not kept, what was read longest ago is dropped. */
  touched(offset: number, length: number): void {
    if (this.#keepAll || length === 0) return
    this.#resident.push({ offset, length })
    this.#residentBytes += length
    while (this.#residentBytes > RESIDENT_TAIL_BYTES && this.#resident.length > 1) this.#dropOldest()
  }

  /** Tells that a range is not needed again soon. */
  release(offset: number, length: number): void {
    if (this.#keepAll || this.#closed) return
    this.#mapped.drop(offset, length)
  }

  #dropOldest(): void {
    const { offset, length } = this.#resident.shift()!
    this.#residentBytes -= length
    if (!this.#closed) this.#mapped.drop(offset, length)
  }

  /** Lets go of the file. Views handed out stay valid. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#windows.clear()
    this.#mapped.close()
  }

  /** What `Source.files` says about it. */
  sourceFile(): SourceFile {
    const { size, dev, ino, mtimeNs, ctimeNs } = this.#mapped.stat
    return { path: this.path, size, dev, ino, mtimeNs, ctimeNs, digest: (signal) => this.#digest(signal) }
  }

  async #digest(signal?: AbortSignal): Promise<string> {
    signal?.throwIfAborted()
    const hash = new (native().Sha256)()
    for (let at = 0; at < this.size; at += DIGEST_PIECE_BYTES) {
      if (at > 0) signal?.throwIfAborted()
      try {
        await hash.updateFile(this.#mapped, at, Math.min(DIGEST_PIECE_BYTES, this.size - at))
      } catch (cause) {
        this.assertUnchanged()
        throw new FileError(this.path, 'cannot be read', { cause })
      }
    }
    this.assertUnchanged()
    return toHex(hash.digest())
  }
}
