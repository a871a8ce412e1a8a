import type { Metadata } from './metadata.js'
import type { Seals } from './seals.js'

/** What the memory tier keeps of a value. */
export interface Remembered {
  readonly value: unknown
  readonly metadata: Metadata
  /** Milliseconds since 1970. */
  readonly created: number
  readonly expires: number
  /** Seconds it took to compute; NaN when nobody said. */
  readonly seconds: number
  /** Bytes that it takes of this tier: none for views of mapped files. */
  readonly bytes: number
  /** Bytes of the value itself. */
  readonly size: number
}

/** Who is told what comes and goes. */
export interface TierWatcher {
  kept(bytes: number): void
  /** To make room. */
  evicted(name: string, bytes: number): void
}

/** Values that were used last, up to a number of bytes and of items. A hit is the object itself, never a copy. */
export class MemoryTier {
  readonly #values = new Map<string, Remembered>()
  readonly #bytesMax: number
  readonly #itemsMax: number
  readonly #watcher: TierWatcher | undefined
  readonly #seals: Seals | undefined
  #bytes = 0

  /** With `seals`, a hit whose value was written to since it is here is an IntegrityError. */
  constructor({ bytes, items }: { bytes: number; items: number }, watcher?: TierWatcher, seals?: Seals) {
    this.#bytesMax = bytes
    this.#itemsMax = items
    this.#watcher = watcher
    this.#seals = seals
  }

  get bytes(): number {
    return this.#bytes
  }

  get items(): number {
    return this.#values.size
  }

  get(name: string): Remembered | undefined {
    const found = this.#values.get(name)
    if (found === undefined) return undefined
    if (this.#seals?.broken(found) === true) {
      this.delete(name)
      throw this.#seals.error(name)
    }
    // A Map keeps the order in which names came: the one used last is its last.
    this.#values.delete(name)
    this.#values.set(name, found)
    return found
  }

  set(name: string, remembered: Remembered): void {
    this.delete(name)
    if (remembered.bytes > this.#bytesMax || this.#itemsMax === 0) return
    this.#values.set(name, remembered)
    this.#bytes += remembered.bytes
    this.#seals?.seal(remembered)
    this.#watcher?.kept(remembered.size)
    while (this.#bytes > this.#bytesMax || this.#values.size > this.#itemsMax) {
      const [oldest, { size }] = this.#values.entries().next().value!
      this.delete(oldest)
      this.#watcher?.evicted(oldest, size)
    }
  }

  delete(name: string): boolean {
    const found = this.#values.get(name)
    if (found === undefined) return false
    this.#bytes -= found.bytes
    return this.#values.delete(name)
  }

  /** Those whose names begin so. */
  clear(prefix: string): void {
    for (const name of this.#values.keys()) if (name.startsWith(prefix)) this.delete(name)
  }

  keys(): IterableIterator<string> {
    return this.#values.keys()
  }
}
