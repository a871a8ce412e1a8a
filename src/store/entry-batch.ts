import { entryBytes, writeEntry, type Entry } from './entry.js'

/**
 * Changes of entries, one after the other in one buffer: what goes to the writer thread is a single message however many there are, and what waits for it is no
 * heap of small buffers.
 *
 *   u8 0 put, 1 remove · u32 bytes of the key · u32 of the record · key · record, for each
 */
const HEAD_BYTES = 9
/** Most batches are small; one that is not gets room for all it may become. */
const FIRST_BYTES = 64 * 1024
const NEXT_BYTES = 8 * 2 ** 20 + FIRST_BYTES

export class ChangeBatch {
  #bytes: Buffer
  #at = 0
  count = 0

  /** `memory`: what an earlier batch lay in. Fresh pages cost more than filling them. */
  constructor(memory?: ArrayBuffer) {
    this.#bytes = memory === undefined ? Buffer.allocUnsafeSlow(FIRST_BYTES) : Buffer.from(memory)
  }

  /** Bytes so far. */
  get size(): number {
    return this.#at
  }

  put(key: Uint8Array, entry: Entry): void {
    const start = this.#head(0, key, entryBytes(entry))
    const end = writeEntry(this.#bytes, start, entry)
    this.#bytes.writeUInt32LE(end - start, start - key.byteLength - 4)
    this.#at = end
  }

  remove(key: Uint8Array): void {
    this.#at = this.#head(1, key, 0)
  }

  /** All of them. Whoever takes it may give the buffer away. */
  packed(): Uint8Array {
    return this.#bytes.subarray(0, this.#at)
  }

  /** Makes room, and writes what stands before a record; gives where that begins. */
  #head(kind: number, key: Uint8Array, recordBytes: number): number {
    const end = this.#at + HEAD_BYTES + key.byteLength + recordBytes
    if (end > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(end, NEXT_BYTES, 2 * this.#bytes.length))
      this.#bytes.copy(larger, 0, 0, this.#at)
      this.#bytes = larger
    }
    this.#bytes[this.#at] = kind
    this.#bytes.writeUInt32LE(key.byteLength, this.#at + 1)
    this.#bytes.writeUInt32LE(0, this.#at + 5)
    this.#bytes.set(key, this.#at + HEAD_BYTES)
    this.count++
    return this.#at + HEAD_BYTES + key.byteLength
  }
}

/** The changes again, as views. */
export function * unpackChanges(packed: Uint8Array): Generator<{ key: Buffer; record: Buffer | undefined }> {
  const bytes = Buffer.from(packed.buffer, packed.byteOffset, packed.byteLength)
  for (let at = 0; at < bytes.length;) {
    const isPut = bytes[at] === 0
    const keyEnd = at + HEAD_BYTES + bytes.readUInt32LE(at + 1)
    const end = keyEnd + bytes.readUInt32LE(at + 5)
    yield { key: bytes.subarray(at + HEAD_BYTES, keyEnd), record: isPut ? bytes.subarray(keyEnd, end) : undefined }
    at = end
  }
}
