import type { Metadata } from './metadata.js'
import type { Seals } from './seals.js'
import { SLAB_BYTES, type Slab } from './slab.js'

/** What the memory tier keeps of a value. */
export interface Remembered {
  readonly value: unknown
  readonly metadata: Metadata
  /** Milliseconds since 1970. */
  readonly created: number
  readonly expires: number
  /** Seconds it took to compute; NaN when nobody said. */
  readonly seconds: number
  /** Bytes of the value. */
  readonly size: number
  /** Bytes that it takes of this tier, without its slab: none for views of mapped files. */
  readonly bytes: number
  /** What its arrays lie in together with those of other values. */
  readonly slab: Slab | undefined
  /** When its use was noted last: milliseconds since 1970. */
  noted: number
  /** What is handed out for it, once it was. */
  hit: unknown
}

/** Who is told what comes and goes. */
export interface TierWatcher {
  kept(bytes: number): void
  /** To make room. */
  evicted(namespace: string, key: string, bytes: number): void
}

/** One of a ring in the order of use: `newer` of the newest is the oldest. */
interface Node {
  readonly namespace: string
  readonly key: string
  readonly held: Remembered
  newer: Node
  older: Node
}

/** Values that were used last, up to a number of bytes and of items. A hit is the object itself, never a copy. */
export class MemoryTier {
  readonly #namespaces = new Map<string, Map<string, Node>>()
  readonly #bytesMax: number
  readonly #itemsMax: number
  #newest: Node | undefined
  #bytes = 0
  #items = 0
  readonly #watcher: TierWatcher | undefined
  readonly #seals: Seals | undefined

  /** With `seals`, a hit whose value was written to since it is here is an IntegrityError. */
  constructor({ bytes, items }: { bytes: number; items: number }, watcher?: TierWatcher, seals?: Seals) {
    this.#bytesMax = bytes
    this.#itemsMax = items
    this.#watcher = watcher
    this.#seals = seals
  }

  /** A slab counts whole as long as one value in it is held. */
  get bytes(): number {
    return this.#bytes
  }

  get items(): number {
    return this.#items
  }

  get(namespace: string, key: string): Remembered | undefined {
    const node = this.#namespaces.get(namespace)?.get(key)
    if (node === undefined) return undefined
    if (this.#seals?.broken(node.held) === true) {
      this.delete(namespace, key)
      throw this.#seals.error(namespace, key)
    }
    const newest = this.#newest!
    if (node !== newest) {
      if (node !== newest.newer) {
        unlink(node)
        link(node, newest)
      }
      // The oldest one stands where the newest belongs already.
      this.#newest = node
    }
    return node.held
  }

  /** The same, which does not count as a use. */
  peek(namespace: string, key: string): Remembered | undefined {
    return this.#namespaces.get(namespace)?.get(key)?.held
  }

  set(namespace: string, key: string, held: Remembered): void {
    this.delete(namespace, key)
    if (held.bytes > this.#bytesMax || this.#itemsMax === 0 || this.#bytesMax === 0) return
    const node = { namespace, key, held } as Node
    link(node, this.#newest ?? node)
    this.#newest = node
    let keys = this.#namespaces.get(namespace)
    if (keys === undefined) this.#namespaces.set(namespace, keys = new Map())
    keys.set(key, node)
    this.#items++
    this.#bytes += held.bytes
    if (held.slab !== undefined && held.slab.held++ === 0) this.#bytes += SLAB_BYTES
    this.#seals?.seal(held)
    this.#watcher?.kept(held.size)
    while (this.#bytes > this.#bytesMax || this.#items > this.#itemsMax) {
      const oldest = this.#newest.newer
      this.delete(oldest.namespace, oldest.key)
      this.#watcher?.evicted(oldest.namespace, oldest.key, oldest.held.size)
    }
  }

  delete(namespace: string, key: string): boolean {
    const keys = this.#namespaces.get(namespace)
    const node = keys?.get(key)
    if (keys === undefined || node === undefined) return false
    keys.delete(key)
    if (keys.size === 0) this.#namespaces.delete(namespace)
    this.#items--
    this.#bytes -= node.held.bytes
    const { slab } = node.held
    if (slab !== undefined && --slab.held === 0) this.#bytes -= SLAB_BYTES
    if (node === this.#newest) this.#newest = node.older === node ? undefined : node.older
    unlink(node)
    return true
  }

  /** Takes everything out; gives how many. With a filter only of the namespaces it accepts. */
  clear(accepts: (namespace: string) => boolean = () => true): number {
    let removed = 0
    for (const namespace of Array.from(this.#namespaces.keys())) {
      if (!accepts(namespace)) continue
      for (const key of this.keys(namespace)) if (this.delete(namespace, key)) removed++
    }
    return removed
  }

  /** Those that have values. */
  namespaces(): string[] {
    return Array.from(this.#namespaces.keys())
  }

  /** As they are now. */
  keys(namespace: string): string[] {
    return Array.from(this.#namespaces.get(namespace)?.keys() ?? [])
  }
}

/** Puts a node after another, which may be itself alone. */
function link(node: Node, after: Node): void {
  node.older = after
  node.newer = after === node ? node : after.newer
  after.newer = node
  node.newer.older = node
}

function unlink(node: Node): void {
  node.older.newer = node.newer
  node.newer.older = node.older
}
