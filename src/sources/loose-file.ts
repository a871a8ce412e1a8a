import { createHash } from 'node:crypto'
import { statSync, type BigIntStats } from 'node:fs'
import { open, stat, type FileHandle } from 'node:fs/promises'
import { FileError, FormatError, SourceChangedError } from '../core/errors.js'
import { OpenFile } from './file.js'
import type { SourceFile } from './source.js'

const PIECE_BYTES = 2 ** 20

/**
 * One of many small source files: read when it is needed and watched by its status, but neither open nor mapped in between, because a process may have
 * some thousands of open files and 65,530 mappings.
 */
export class LooseFile implements SourceFile {
  readonly path: string
  readonly size: number
  readonly dev: bigint
  readonly ino: bigint
  readonly mtimeNs: bigint
  readonly ctimeNs: bigint
  #digest: string | undefined

  protected constructor(path: string, { size, dev, ino, mtimeNs, ctimeNs }: Status) {
    this.path = path
    this.size = Number(size)
    this.dev = dev
    this.ino = ino
    this.mtimeNs = mtimeNs
    this.ctimeNs = ctimeNs
  }

  /** Rejects with FileError when the file is not there. */
  static async open(path: string): Promise<LooseFile> {
    return new LooseFile(path, await statusOf(path))
  }

  /** Its first bytes, or all of them when there are fewer. */
  async head(length: number): Promise<Uint8Array> {
    return await this.#reading((handle) => readFrom(handle, Math.min(length, this.size)))
  }

  /** Its text. Rejects with FormatError when it has more than `bytesMax`, with SourceChangedError when it is no longer what it was. */
  async text(bytesMax: number): Promise<string> {
    if (this.size > bytesMax) throw new FormatError({ file: this.path, place: 'file', expected: `at most ${bytesMax} bytes`, found: `${this.size}` })
    return await this.#reading(async (handle) => (await readFrom(handle, this.size)).toString('utf8'))
  }

  /** All of it, at the beginning of a buffer. Rejects with SourceChangedError when it is no longer what it was. */
  async bytes(): Promise<Uint8Array> {
    return await this.#reading((handle) => readFrom(handle, this.size))
  }

  /** Of the file as it was opened. Computed once; rejects with SourceChangedError when it is another by then. */
  async digest(signal?: AbortSignal): Promise<string> {
    signal?.throwIfAborted()
    return this.#digest ??= await this.hash(signal)
  }

  recall(digest: string): void {
    this.#digest ??= digest
  }

  protected async hash(signal: AbortSignal | undefined): Promise<string> {
    return await this.#reading(async (handle) => {
      const hash = createHash('sha256')
      const piece = Buffer.allocUnsafe(Math.min(PIECE_BYTES, this.size))
      for (let at = 0; at < this.size;) {
        signal?.throwIfAborted()
        const { bytesRead } = await handle.read(piece, 0, Math.min(piece.length, this.size - at), at)
        if (bytesRead === 0) break
        hash.update(piece.subarray(0, bytesRead))
        at += bytesRead
      }
      signal?.throwIfAborted()
      return hash.digest('hex')
    })
  }

  /** Throws SourceChangedError when the file is no longer the one that was opened. */
  assertUnchanged(): void {
    let now: BigIntStats
    try {
      now = statSync(this.path, { bigint: true })
    } catch (cause) {
      throw new SourceChangedError(this.path, 'it can no longer be read', { cause })
    }
    this.compare(now)
  }

  /** Mapped, for the caller to close. Throws SourceChangedError when it is no longer the file that was opened. */
  map(): OpenFile {
    this.assertUnchanged()
    // What is read is seldom read again soon: its pages need not stay.
    const file = OpenFile.open(this.path, { residencyBytes: 0 })
    try {
      this.compare(file.stat)
      return file
    } catch (error) {
      file.close()
      throw error
    }
  }

  /** Mapped while `use` runs. */
  protected async mapped<T>(use: (file: OpenFile) => Promise<T>): Promise<T> {
    const file = this.map()
    try {
      return await use(file)
    } finally {
      // The mapping itself goes when its views are collected.
      file.release(0, this.size)
      file.close()
    }
  }

  protected compare(now: Status): void {
    if (Number(now.size) !== this.size) throw new SourceChangedError(this.path, `it had ${this.size} bytes, now it has ${now.size}`)
    if (now.mtimeNs !== this.mtimeNs || now.ctimeNs !== this.ctimeNs || now.ino !== this.ino || now.dev !== this.dev) throw new SourceChangedError(this.path, 'it was written or replaced')
  }

  async #reading<T>(use: (handle: FileHandle) => Promise<T>): Promise<T> {
    const handle = await open(this.path).catch((cause: unknown) => { throw new SourceChangedError(this.path, 'it can no longer be read', { cause }) })
    try {
      const result = await use(handle)
      // Whatever was written before or meanwhile shows in the status now.
      this.compare(await handle.stat({ bigint: true }))
      return result
    } finally {
      await handle.close()
    }
  }
}

type Status = Pick<BigIntStats, 'dev' | 'ino' | 'mtimeNs' | 'ctimeNs'> & { readonly size: bigint | number }

/** Rejects with FileError when there is no file. */
export async function statusOf(path: string): Promise<BigIntStats> {
  const stats = await stat(path, { bigint: true }).catch((cause: unknown) => { throw fileError(path, cause) })
  if (!stats.isFile()) throw new FileError(path, 'is not a file')
  return stats
}

async function readFrom(handle: FileHandle, length: number): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(length)
  let at = 0
  while (at < length) {
    const { bytesRead } = await handle.read(bytes, at, length - at, at)
    if (bytesRead === 0) break
    at += bytesRead
  }
  return bytes.subarray(0, at)
}

export function fileError(path: string, cause: unknown): FileError {
  const { code, message } = cause as { code?: string; message: string }
  if (code === 'EISDIR' || code === 'ENODEV') return new FileError(path, 'is not a file', { cause })
  return new FileError(path, code === 'ENOENT' ? 'there is no such file' : `cannot be read (${code ?? message})`, { cause })
}
