import type { Entry } from './entry.js'

/** Slots for entries that this process has read; twelve bytes each, taken when the first is. */
const SLOTS = 2 ** 18
const MASK = SLOTS - 1
const SECOND_MS = 1000

/**
 * Which entries this process has read: when last, and which of their records it has checked. A table of hashes, each of which may lie in two places, in place of a Map: no string is kept, no
 * garbage arises, and a look-up is a tenth of a microsecond less. Who is driven out is checked and noted again.
 */
export class Seen {
  #hashes = new Uint32Array(0)
  #checksums = new Uint32Array(0)
  /** Seconds since 1970. */
  #touched = new Uint32Array(0)

  /** Where the entry is, or is from now on. */
  slot(namespace: string, key: string): number {
    if (this.#hashes.length === 0) [this.#hashes, this.#checksums, this.#touched] = [new Uint32Array(SLOTS), new Uint32Array(SLOTS), new Uint32Array(SLOTS)]
    const hash = hashOf(namespace, key)
    const hashes = this.#hashes
    const first = hash & MASK
    if (hashes[first] === hash) return first
    const second = (Math.imul(hash, 0x9e3779b1) >>> 14) & MASK
    if (hashes[second] === hash) return second
    const taken = this.#touched[first]! <= this.#touched[second]! ? first : second
    hashes[taken] = hash
    this.#checksums[taken] = 0
    this.#touched[taken] = 0
    return taken
  }

  /** True when this very record was checked. */
  isChecked(slot: number, entry: Entry): boolean {
    return this.#checksums[slot] === printOf(entry)
  }

  setChecked(slot: number, entry: Entry): void {
    this.#checksums[slot] = printOf(entry)
  }

  /** True when it was not touched within `forMs`; from now on it is. */
  touch(slot: number, now: number, forMs: number): boolean {
    const seconds = Math.floor(now / SECOND_MS)
    if (seconds - this.#touched[slot]! < forMs / SECOND_MS) return false
    this.#touched[slot] = seconds
    return true
  }
}

/** Tells apart what one key held at different times: when it was made, how long it is, and the checksum that its small encoding carries in bytes 4 to 7. Never 0. */
function printOf({ created, small }: Entry): number {
  const value = small!
  const checksum = value[4]! | value[5]! << 8 | value[6]! << 16 | value[7]! << 24
  return ((checksum ^ Math.imul(created % 2 ** 32 | 0, 0x85ebca6b) ^ Math.imul(value.length, 0xc2b2ae35)) >>> 0) || 1
}

/** FNV-1a over UTF-16 units, mixed; never 0. */
function hashOf(namespace: string, key: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < namespace.length; i++) hash = Math.imul(hash ^ namespace.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ 0xffff, 0x01000193)
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ hash >>> 16, 0x85ebca6b)
  return ((hash ^ hash >>> 13) >>> 0) || 1
}
