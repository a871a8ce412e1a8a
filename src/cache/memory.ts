import type { Metadata } from './metadata.js'

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
}

/** Values that were used last, up to a number of bytes and of items. A hit is the object itself, never a copy. */
export class MemoryTier {
  readonly #values = new Map<string, Remembered>()
  readonly #bytesMax: number
  readonly #itemsMax: number
  #bytes = 0
  evictions = 0

  constructor({ bytes, items }: { bytes: number; items: number }) {
    this.#bytesMax = bytes
    this.#itemsMax = items
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
    while (this.#bytes > this.#bytesMax || this.#values.size > this.#itemsMax) {
      this.delete(this.#values.keys().next().value!)
      this.evictions++
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
