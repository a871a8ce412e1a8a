import { native } from '../native/load.js'

/** What parsers and arrays need of a file: its bytes by range. It is mapped (`OpenFile`), or was read whole. */
export interface StoredFile {
  readonly path: string
  readonly size: number
  /** The bytes of a small range, resident, for a parser. */
  header(offset: number, length: number): Promise<Uint8Array>
  /** The bytes of a range (at most 4 GiB) where they lie. */
  bytes(offset: number, length: number): Uint8Array
  /** A range of any length as pieces that follow each other in memory. */
  pieces(offset: number, length: number): Uint8Array[]
  populate(offset: number, length: number): Promise<void>
  /** Rows of `rowBytes`, the first of which begins at byte `base`, each to its place (in rows) in `out`, the bytes of every `unit` (2, 4, 8; 1: none) reversed. */
  rows(base: number, rowBytes: number, rows: Float64Array, places: Float64Array, out: Uint8Array, unit: number): Promise<void>
  touched(offset: number, length: number): void
  release(offset: number, length: number): void
  /** Throws SourceChangedError when the file is no longer the one that was opened. */
  assertUnchanged(): void
}

/** A small file that was read whole, by someone who compared its status before and after. A mapping for each of 100,000 would meet the limit of 65,530 before the collector meets them. */
export class MemoryFile implements StoredFile {
  readonly path: string
  readonly size: number
  readonly #bytes: Uint8Array

  /** `bytes` must begin at a multiple of 16 in its buffer, as mapped ones do. */
  constructor(path: string, bytes: Uint8Array) {
    this.path = path
    this.size = bytes.length
    this.#bytes = bytes
  }

  async header(offset: number, length: number): Promise<Uint8Array> {
    return this.bytes(offset, length)
  }

  bytes(offset: number, length: number): Uint8Array {
    return this.#bytes.subarray(offset, offset + length)
  }

  pieces(offset: number, length: number): Uint8Array[] {
    return length === 0 ? [] : [this.bytes(offset, length)]
  }

  async populate(): Promise<void> {}

  async rows(base: number, rowBytes: number, rows: Float64Array, places: Float64Array, out: Uint8Array, unit: number): Promise<void> {
    for (const [k, row] of rows.entries()) {
      const to = out.subarray(places[k]! * rowBytes, (places[k]! + 1) * rowBytes)
      to.set(this.bytes(base + row * rowBytes, rowBytes))
      if (unit > 1) await native().copySwapped(to, unit, to)
    }
  }

  touched(): void {}

  release(): void {}

  assertUnchanged(): void {}
}
