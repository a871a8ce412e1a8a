import { KeyValue, type Room } from './key-value.js'

export interface ScopeOptions {
  /** Instead of being emptied, it stays with the last `keepLast` of those beside it, by when they were made; older ones are emptied. */
  readonly keepLast?: number
}

/**
 * A namespace that empties itself: at the end of an `await using` block, also when the block throws, or with `dispose()`. When its process dies before, whoever
 * opens the cache next empties it.
 */
export class Scope extends KeyValue implements AsyncDisposable {
  readonly #keepLast: number | undefined
  #owned: Promise<void> | undefined
  #disposed: Promise<void> | undefined

  /** @internal Use `cache.scope`. */
  constructor(room: Room, namespace: string, { keepLast }: ScopeOptions) {
    super(room, namespace)
    this.#keepLast = keepLast
  }

  /** Empties it, or with `keepLast` those that are too old. */
  dispose(): Promise<void> {
    return this.#disposed ??= this.#end()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  protected override prepare(): Promise<void> | undefined {
    if (this.#disposed !== undefined) throw new TypeError(`scope ${this.namespace} has been disposed`)
    // What stays belongs to nobody.
    if (this.#keepLast !== undefined || this.room.store === undefined) return undefined
    return this.#owned ??= this.room.store.entries.own(this.namespace)
  }

  async #end(): Promise<void> {
    const { store } = this.room
    await this.#owned
    if (this.#keepLast === undefined) {
      await store?.entries.release(this.namespace)
      this.forget(this.namespace)
      return
    }
    const parent = this.namespace.slice(0, this.namespace.lastIndexOf('/') + 1)
    const beside = new Map<string, number>()
    for (const { id, name } of store?.entries.namespaces() ?? []) {
      if (!name.startsWith(parent)) continue
      const sibling = parent + name.slice(parent.length).split('/', 1)[0]!
      beside.set(sibling, Math.min(id, beside.get(sibling) ?? Infinity))
    }
    const old = [...beside].sort(([, a], [, b]) => a - b).slice(0, -this.#keepLast)
    for (const [name] of old) {
      await store?.entries.release(name)
      this.forget(name)
    }
  }
}
