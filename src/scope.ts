import type { Room } from './cache/key-value.js'
import type { Remote } from './cache/remote.js'
import type { Dataset } from './dataset/dataset.js'
import type { DatasetOptions, Datasets, LiveOptions } from './dataset/datasets.js'
import type { LiveDataset } from './dataset/live.js'
import type { Recipe } from './ops/recipe.js'
import { Shelf } from './shelf.js'
import type { Source } from './sources/source.js'

/** Options of `cache.scope`. */
export interface ScopeOptions {
  /** Instead of being emptied, it stays with the last `keepLast` of those beside it, by when they were made; older ones are emptied. */
  readonly keepLast?: number
}

/**
 * A namespace that empties itself: at the end of an `await using` block, also when the block throws, or with `dispose()`. When its process dies before, whoever
 * opens the cache next empties it. Two scopes of one name are one: the first that ends empties both.
 */
export class Scope extends Shelf implements AsyncDisposable {
  readonly #keepLast: number | undefined
  readonly #opened = new Set<{ close(): Promise<void> }>()
  #owned: Promise<void> | undefined
  #disposed: Promise<void> | undefined

  /** @internal Use `cache.scope`. */
  constructor(room: Room, namespace: string, datasets: Datasets, { keepLast }: ScopeOptions) {
    super(room, namespace, datasets)
    this.#keepLast = keepLast
  }

  /** As the cache's with `cache: false`; it is closed with the scope. */
  override async dataset(source: Source, recipe: Recipe, options: LiveOptions): Promise<LiveDataset>
  /** As the cache's; it is closed and removed with the scope. */
  override async dataset(source: Source, recipe: Recipe, options?: DatasetOptions): Promise<Dataset>
  override async dataset(source: Source, recipe: Recipe, options: DatasetOptions | LiveOptions = {}): Promise<Dataset | LiveDataset> {
    const dataset = options.cache === false ? await super.dataset(source, recipe, options) : await super.dataset(source, recipe, options)
    this.#opened.add(dataset)
    return dataset
  }

  /** Empties it, or with `keepLast` those that are too old. Of a cache that is opened read-only nothing goes. */
  dispose(): Promise<void> {
    return this.#disposed ??= this.#end()
  }

  /** As `dispose`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose()
  }

  /** @internal What goes with the scope is nobody else's. */
  protected override get remote(): Remote | undefined {
    return this.#keepLast === undefined ? undefined : super.remote
  }

  /** @internal What others have stays theirs. */
  protected override get relabels(): boolean {
    return this.#keepLast !== undefined
  }

  protected override prepare(): Promise<void> | undefined {
    if (this.#disposed !== undefined) throw new TypeError(`scope ${this.namespace} has been disposed`)
    // Where nothing may be written there is nothing to empty, and what is put is refused by the store.
    if (this.room.stores === undefined || this.room.stores.main.readonly) return undefined
    const stores = this.room.stores.below(this.namespace)
    // What stays belongs to nobody.
    return this.#owned ??= Promise.all(stores.map(({ entries }) => entries.own(this.namespace, this.#keepLast === undefined))).then(() => undefined)
  }

  async #end(): Promise<void> {
    await this.#owned
    for (const dataset of this.#opened) await dataset.close()
    if (this.room.stores?.main.readonly === true) return
    const stores = this.room.stores?.below(this.namespace) ?? []
    for (const namespace of this.#keepLast === undefined ? [this.namespace] : this.#old(this.#keepLast)) {
      for (const store of stores) await store.upkeep.release(namespace)
      this.forget(namespace)
    }
  }

  /** The scopes beside this one, itself among them, but for the newest. */
  #old(keepLast: number): string[] {
    const parent = this.namespace.slice(0, this.namespace.lastIndexOf('/') + 1)
    const beside = new Map<string, number>()
    for (const { id, name } of this.room.stores?.of(this.namespace).entries.namespaces() ?? []) {
      if (!name.startsWith(parent)) continue
      const sibling = parent + name.slice(parent.length).split('/', 1)[0]!
      beside.set(sibling, Math.min(id, beside.get(sibling) ?? Infinity))
    }
    return [...beside].sort(([, a], [, b]) => a - b).slice(0, -keepLast).map(([name]) => name)
  }
}
