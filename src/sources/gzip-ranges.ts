import { FormatError } from '../core/errors.js'
import { sha256, toHex } from '../core/hash.js'
import type { Inflate } from '../native/addon.js'
import { native } from '../native/load.js'
import type { StoredBytes } from './bytes.js'
import type { OpenFile } from './file.js'
import { decodeIndex, encodeIndex, packWindows, spacingOf, type IndexedFile } from './gzip-index.js'
import type { Notes } from './source.js'

/** Inflated between two looks at the signal, and before compressed pages are let go of. */
const STEP_BYTES = 64 * 2 ** 20
/** What is known is written down again when it has grown by so much, so that all writing comes to a few times the last. */
const GROWTH = 1.25

/**
 * A gzip file that is read by ranges in any order. What lies behind the first pass is inflated from the nearest resume point, and compared block by block with the CRC-32 that the first pass saw;
 * what the first pass knows is noted, so that another run has it from the start. A note that turns out wrong is forgotten, and the file read from its front.
 */
export class GzipRanges implements Pick<StoredBytes, 'read'> {
  readonly #file: OpenFile
  readonly #of: IndexedFile
  readonly #pieces: readonly Uint8Array[]
  #inflate: Inflate
  /** The inflater began from a note. */
  #isNoted: boolean
  /** Deflated windows of the first points. */
  #packed: Uint8Array[]
  #saved: { points: number; complete: boolean }
  /** Somebody extends the first pass; these wait for that. */
  #isExtended = false
  readonly #waiting: { readonly offset: number; readonly go: () => void }[] = []
  /** What is being read behind the first pass, or waits for that, in the order of arrival. */
  readonly #reads = new Set<{ readonly offset: number; readonly end: number; readonly ended: Promise<void> }>()
  #saving: Promise<void> = Promise.resolve()
  #since = 0
  #damage: FormatError | undefined

  private constructor(file: OpenFile, of: IndexedFile, note: Uint8Array | undefined) {
    this.#file = file
    this.#of = of
    this.#pieces = file.pieces(0, file.size)
    const index = note === undefined ? undefined : decodeIndex(of, note)
    this.#inflate = this.#begin(index)
    this.#isNoted = index !== undefined
    this.#packed = index?.packed ?? []
    this.#saved = { points: this.#packed.length, complete: index?.numbers[4] === 1 }
  }

  /** The file is closed by `close`. */
  static async open(file: OpenFile, of: IndexedFile, notes: Notes): Promise<GzipRanges> {
    return new GzipRanges(file, of, await notes.get(noteOf(of)))
  }

  /** Bytes inflated so far. */
  get work(): number {
    return this.#inflate.work
  }

  /** Rejects with FormatError, and with SourceChangedError when it is no longer the file that was opened. */
  async read(offset: number, out: Uint8Array, unit: number, signal?: AbortSignal): Promise<void> {
    this.#file.assertUnchanged()
    if (this.#damage !== undefined) throw this.#damage
    const inflate = this.#inflate
    try {
      await this.#readWith(inflate, offset, out, signal)
    } catch (cause) {
      if ((cause as { code?: string }).code !== 'E_DEFLATE') throw cause
      this.#file.assertUnchanged()
      if (!this.#isNoted && this.#inflate === inflate) {
        this.#damage = new FormatError({ file: this.#file.path, place: 'data', expected: `gzip of ${this.#of.bytes} bytes`, found: (cause as Error).message }, { cause })
        throw this.#damage
      }
      // Several may find that at the same time: one of them begins anew.
      if (this.#inflate === inflate) this.#forget()
      return this.read(offset, out, unit, signal)
    }
    this.#file.assertUnchanged()
    if (unit > 1) await native().copySwapped(out, unit, out)
  }

  /** Notes what is known, when it is worth that. */
  save(notes: Notes): Promise<void> {
    return this.#saving = this.#saving.then(() => this.#save(notes))
  }

  close(): void {
    this.#file.release(0, this.#file.size)
    this.#file.close()
  }

  #begin(index: ReturnType<typeof decodeIndex>): Inflate {
    const { every, block } = spacingOf(this.#of.bytes)
    return new (native().Inflate)(this.#pieces, this.#of.bytes, every, true, block, index)
  }

  #forget(): void {
    this.#inflate = this.#begin(undefined)
    this.#isNoted = false
    this.#packed = []
    this.#saved = { points: 0, complete: false }
  }

  async #readWith(inflate: Inflate, offset: number, out: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const isAhead = (): boolean => offset + out.byteLength > inflate.passed
    if (isAhead()) {
      await this.#turn(offset)
      try {
        if (isAhead()) return await this.#readAhead(inflate, offset, out, signal)
      } finally {
        // Whoever reads in order asks for what follows before another has its turn.
        setImmediate(() => { this.#endTurn() })
      }
    }
    await this.#readBehind(inflate, offset, out, signal)
  }

  /** Those who extend the first pass take turns, because each would inflate the same once more. The one nearest to the front comes first: what it was passed by it would have to inflate again. */
  async #turn(offset: number): Promise<void> {
    if (this.#isExtended) await new Promise<void>((go) => { this.#waiting.push({ offset, go }) })
    this.#isExtended = true
  }

  #endTurn(): void {
    const first = this.#waiting.reduce((best, { offset }, k, all) => offset < all[best]!.offset ? k : best, 0)
    const [next] = this.#waiting.splice(first, 1)
    if (next === undefined) this.#isExtended = false
    else next.go()
  }

  /** Who begins less than the distance of two points behind another goes on where that one ends: from a point, both would inflate what lies before them. */
  async #readBehind(inflate: Inflate, offset: number, out: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    const { every } = spacingOf(this.#of.bytes)
    const before = [...this.#reads].filter((other) => other.end <= offset && offset - other.offset < every)
    const nearest = before.reduce<typeof before[number] | undefined>((best, other) => best === undefined || other.end >= best.end ? other : best, undefined)
    let done!: () => void
    const own = { offset, end: offset + out.byteLength, ended: new Promise<void>((resolve) => { done = resolve }) }
    this.#reads.add(own)
    try {
      await nearest?.ended
      signal?.throwIfAborted()
      await inflate.read(offset, out)
      this.#passed(out.byteLength)
    } finally {
      this.#reads.delete(own)
      done()
    }
  }

  async #readAhead(inflate: Inflate, offset: number, out: Uint8Array, signal: AbortSignal | undefined): Promise<void> {
    for (let front = inflate.passed; ; front = inflate.passed) {
      signal?.throwIfAborted()
      if (offset - front <= STEP_BYTES) break
      await inflate.read(front + STEP_BYTES, new Uint8Array(0))
      this.#passed(STEP_BYTES)
    }
    await inflate.read(offset, out)
    this.#passed(out.byteLength)
  }

  #passed(bytes: number): void {
    this.#since += bytes
    if (this.#since < STEP_BYTES) return
    this.#since = 0
    this.#file.release(0, this.#file.size)
  }

  async #save(notes: Notes): Promise<void> {
    const inflate = this.#inflate
    const isComplete = inflate.compressedBytes !== undefined
    if (this.#damage !== undefined || this.#saved.complete || (!isComplete && inflate.points < Math.max(1, this.#saved.points * GROWTH))) return
    const known = this.#packed
    const index = inflate.index(known.length)
    known.push(...await packWindows(index, known.length))
    const complete = index.numbers[4] === 1
    if (known.length === 0 || (!complete && known.length <= this.#saved.points)) return
    this.#file.assertUnchanged()
    // What was begun from a wrong note is not to be noted.
    if (this.#inflate !== inflate) return
    await notes.put(noteOf(this.#of), encodeIndex(this.#of, index, known))
    this.#saved = { points: known.length, complete }
  }
}

function noteOf({ digest, bytes }: IndexedFile): string {
  return `gzip index 1 ${toHex(sha256(`${digest} ${bytes}`))}`
}
