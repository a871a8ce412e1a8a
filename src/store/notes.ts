import { FORMAT } from '../core/keys.js'
import { toHex } from '../core/hash.js'
import type { Notes } from '../sources/source.js'
import { candidates } from './candidates.js'
import { HIDDEN, type Entries, type EntryHost } from './entries.js'
import { ChangeBatch } from './entry-batch.js'
import { encodeBlob, OWN } from './shard-format.js'

/** Namespace of the notes. */
export const NOTES = `${HIDDEN}notes`
/** In a note's metadata: its key, so that a lost index loses no notes. */
export const NOTE_KEY = `${OWN}note`
const TENSOR = 'note'
/** Of all notes; those used longest ago go first, and all of them count where room is made for others. */
const BYTES_MAX = 2 ** 30
/** What is left of that when some have to go, so that not every note makes others go. */
const BYTES_LEFT = 0.9 * BYTES_MAX

/** What sources want to find again, as values in a namespace that nobody lists. Nothing here rejects: without its notes a source is slower, and that is all. */
export class StoreNotes implements Notes {
  readonly #host: EntryHost
  readonly #entries: Entries
  readonly #readFile: (digest: string) => Promise<Uint8Array | undefined>

  constructor(host: EntryHost, entries: Entries, readFile: (digest: string) => Promise<Uint8Array | undefined>) {
    this.#host = host
    this.#entries = entries
    this.#readFile = readFile
  }

  /** Not compared with any checksum: whoever wrote it has put one in. */
  async get(key: string): Promise<Uint8Array | undefined> {
    try {
      const now = Date.now()
      const digest = this.#entries.get(NOTES, key, now)?.blob
      // Read and not mapped: many are wanted once, and a process has 65,530 mappings.
      const file = digest === undefined ? undefined : await this.#readFile(toHex(digest))
      if (file === undefined || file.length < 8) return undefined
      this.#entries.touch(NOTES, key, now)
      return file.subarray(8 + Number(Buffer.from(file.buffer, file.byteOffset, 8).readBigUInt64LE()))
    } catch {
      return undefined
    }
  }

  async put(key: string, bytes: Uint8Array): Promise<void> {
    if (this.#host.readonly || bytes.length > BYTES_MAX) return
    const blob = encodeBlob([{ name: TENSOR, dtype: 'uint8', shape: [bytes.length], data: [bytes] }], { [`${OWN}format`]: String(FORMAT), [`${OWN}kind`]: 'value', [NOTE_KEY]: key })
    try {
      // It took no time that anybody would miss, but it can be made again.
      await this.#entries.putBlob(NOTES, { key, created: Date.now(), expires: Infinity, seconds: 0, keep: false, metadata: '', dependsOn: [] }, blob, undefined)
      await this.#trim()
      // The one that it replaces.
      await this.#entries.collect()
    } catch {
      // No room, or somebody is closing the store.
    }
  }

  async #trim(): Promise<void> {
    const { tables, writer, layout } = this.#host
    this.#host.fresh()
    let bytes = Array.from(tables.namespaces.getRange()).find(({ value }) => value.name === NOTES)?.value.bytes ?? 0
    if (bytes <= BYTES_MAX) return
    await this.#entries.flushTouches()
    const now = Date.now()
    const changes = new ChangeBatch()
    for (const note of (await candidates(this.#host, NOTES, now)).sort((a, b) => a.used - b.used)) {
      if (bytes <= BYTES_LEFT) break
      changes.remove(note.key)
      bytes -= note.bytes
    }
    await writer.run('change', { packed: changes.packed(), blobs: [], dir: layout.dir, now }, { entries: 4 * changes.count, payload: 0 })
  }
}
