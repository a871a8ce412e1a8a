import { FormatError } from '../core/errors.js'
import { native } from '../native/load.js'
import { DeflatedBytes, MappedBytes, type StoredBytes } from './bytes.js'
import type { OpenFile } from './file.js'
import { fileError, LooseFile } from './loose-file.js'

/** Enough for a header in nearly every compressed file; names and extra fields of gzip may need the second. */
const HEAD_BYTES = [4096, 2 ** 20] as const
/** Deflate makes at most 258 bytes of 2 bits. */
const RATIO_MAX = 1032

/**
 * One of many files of volumes: known by its status, mapped while it is read. Gzip is told by its first bytes, which begin no header.
 */
export class VolumeFile extends LooseFile {
  #isGzip = false
  /** How it begins, until somebody has looked at it. */
  #first: Uint8Array | undefined

  static override async open(path: string): Promise<VolumeFile> {
    const { stat, bytes } = await native().fileStart(path, HEAD_BYTES[0]).catch((cause: unknown) => { throw fileError(path, cause) })
    const file = new VolumeFile(path, stat)
    file.#isGzip = bytes[0] === 0x1f && bytes[1] === 0x8b
    file.#first = bytes
    return file
  }

  get isGzip(): boolean {
    return this.#isGzip
  }

  override async head(length: number): Promise<Uint8Array> {
    const first = this.#first
    this.#first = undefined
    return first !== undefined && (length <= first.length || first.length === this.size) ? first.subarray(0, length) : await super.head(length)
  }

  /** The first of these numbers of bytes that it has, inflated. The smallest, when it has fewer. */
  async start(lengths: readonly number[]): Promise<Uint8Array> {
    if (!this.#isGzip) return await this.head(lengths[0]!)
    let fault: unknown
    for (const bytes of HEAD_BYTES) {
      const stored = await this.head(bytes)
      for (const length of lengths) {
        const out = new Uint8Array(length)
        try {
          // How many bytes there are in all is known when the header is.
          await new (native().Inflate)(stored, Number.MAX_SAFE_INTEGER, 0, true).read(0, out)
          return out
        } catch (error) {
          if ((error as { code?: string }).code !== 'E_DEFLATE') throw error
          fault = error
        }
      }
      if (bytes >= this.size) break
    }
    throw new FormatError({ file: this.path, place: 'NIfTI header, size', expected: `gzip of at least ${lengths.at(-1)} bytes`, found: (fault as Error).message }, { cause: fault })
  }

  /** Throws FormatError when it cannot hold so many bytes, without inflating it. */
  checkHolds(bytes: number): void {
    const fits = this.#isGzip ? this.size * RATIO_MAX >= bytes : this.size >= bytes
    if (!fits) throw new FormatError({ file: this.path, place: 'data', expected: `${bytes} bytes, as the header says`, found: this.#isGzip ? `${this.size} compressed ones, which cannot be so many` : `${this.size}` })
  }

  /** Its first `bytes` bytes, to be read by ranges while `use` runs. Rejects with SourceChangedError when it is no longer the file that was opened. */
  async reading<T>(bytes: number, use: (stored: StoredBytes, file: OpenFile) => Promise<T>): Promise<T> {
    return await this.mapped(async (file) => {
      const result = await use(this.#isGzip ? new DeflatedBytes(file, 'data', 0, file.size, bytes) : new MappedBytes(file, 'data', 0, bytes), file)
      file.assertUnchanged()
      return result
    })
  }

  /** On a thread. */
  protected override async hash(signal: AbortSignal | undefined): Promise<string> {
    return await this.mapped((file) => file.sourceFile().digest(signal))
  }
}
