import { sha256, toHex } from '../core/hash.js'
import { GzipRanges } from './gzip-ranges.js'
import type { Notes } from './source.js'
import type { VolumeFile } from './volume-file.js'

/** Files kept open between reads: each has up to four inflaters, and windows of 8 MiB at most. */
const OPEN_MAX = 8
/** Notes of a source that is given none: indexes of files it has closed. */
const OWN_NOTES_BYTES = 32 * 2 ** 20

interface Held {
  readonly opening: Promise<GzipRanges>
  users: number
}

/** The gzip files of one source that are read by ranges: a few of them open, those that were used last. */
export class GzipFiles {
  /** Least recently used first. */
  readonly #held = new Map<VolumeFile, Held>()
  readonly #own = new OwnNotes()
  #closed = false
  /** Bytes inflated in files that are closed. */
  #work = 0

  /** The first `bytes` inflated bytes of a file, to be read by ranges while `use` runs. */
  async reading<T>(file: VolumeFile, bytes: number, notes: Notes | undefined, use: (stored: GzipRanges) => Promise<T>): Promise<T> {
    let held = this.#held.get(file)
    if (held === undefined) {
      const opening = open(file, bytes, notes ?? this.#own, notes !== undefined)
      const made = held = { opening, users: 0 }
      opening.catch(() => { if (this.#held.get(file) === made) this.#held.delete(file) })
    }
    this.#held.delete(file)
    this.#held.set(file, held)
    held.users++
    try {
      return await use(await held.opening)
    } finally {
      held.users--
      await this.#evict(notes)
    }
  }

  /** Notes what is known of those that are open. Never rejects. */
  async save(notes: Notes | undefined): Promise<void> {
    await Promise.allSettled([...this.#held.values()].map(async ({ opening }) => (await opening).save(notes ?? this.#own)))
  }

  /** Bytes inflated so far. */
  async work(): Promise<number> {
    let sum = this.#work
    for (const { opening } of this.#held.values()) sum += (await opening).work
    return sum
  }

  close(): void {
    this.#closed = true
    for (const [file, { opening, users }] of this.#held) {
      if (users > 0) continue
      this.#held.delete(file)
      opening.then((ranges) => ranges.close(), () => undefined)
    }
  }

  async #evict(notes: Notes | undefined): Promise<void> {
    for (const [file, held] of this.#held) {
      if (held.users > 0 || (!this.#closed && this.#held.size <= OPEN_MAX)) continue
      this.#held.delete(file)
      const ranges = await held.opening.catch(() => undefined)
      if (ranges === undefined) continue
      if (!this.#closed) await ranges.save(notes ?? this.#own).catch(() => undefined)
      this.#work += ranges.work
      ranges.close()
    }
  }
}

async function open(file: VolumeFile, bytes: number, notes: Notes, isShared: boolean): Promise<GzipRanges> {
  // Notes that others find are bound to the content; for our own the status will do, because a file of another status is not read.
  const digest = isShared ? await file.digest() : toHex(sha256(`${file.path} ${file.dev} ${file.ino} ${file.size} ${file.mtimeNs} ${file.ctimeNs}`))
  const mapped = file.map()
  try {
    return await GzipRanges.open(mapped, { digest, size: file.size, bytes }, notes)
  } catch (error) {
    mapped.close()
    throw error
  }
}

/** In memory, up to a size; what was put longest ago goes first. */
class OwnNotes implements Notes {
  readonly #notes = new Map<string, Uint8Array>()
  #bytes = 0

  async get(key: string): Promise<Uint8Array | undefined> {
    return this.#notes.get(key)
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    this.#drop(key)
    this.#notes.set(key, bytes)
    this.#bytes += bytes.length
    for (const oldest of this.#notes.keys()) {
      if (this.#bytes <= OWN_NOTES_BYTES) return
      this.#drop(oldest)
    }
  }

  #drop(key: string): void {
    this.#bytes -= this.#notes.get(key)?.length ?? 0
    this.#notes.delete(key)
  }
}
