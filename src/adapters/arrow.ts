/**
 * Arrow tables as values of a cache. Needs the package `apache-arrow`.
 *
 * @module tensorcache/arrow
 */

import type { Table, TypeMap } from 'apache-arrow'
import type { ComputeOptions, GetOptions, Hit, KeyValue, PutOptions } from '../cache/key-value.js'
import { MissingDependencyError } from '../core/errors.js'
import { checkOptions, show } from '../core/options.js'
import { kindOf } from '../core/plain.js'

/** The part of the package `apache-arrow` that is used. */
export type ArrowLibrary = Pick<typeof import('apache-arrow'), 'Table' | 'tableFromIPC' | 'tableToIPC'>

/** Which copy of Arrow `tables` works with. */
export interface TablesOptions {
  /** The copy of `apache-arrow` whose tables are put and given: `import * as arrow from 'apache-arrow'`. Default: the one that import finds, which is another than the one that require does. */
  readonly arrow?: ArrowLibrary
}

/** As the cache keeps it: the bytes of an Arrow IPC stream. Any Arrow library reads them: `(await cache.get(key)).value.arrow`. */
type Kept = { readonly arrow: Uint8Array }

/**
 * Arrow tables by key, put and given whole: schema, nulls, dictionaries and metadata come back as they were. What is given are views of the mapped file where Arrow's buffers allow it
 * (all but those of values below 32 KiB). `cache` is a cache or a scope; its other methods (`has`, `delete`, `keys`, …) mean tables like other values.
 */
export function tables(cache: KeyValue, options: TablesOptions = {}): Tables {
  checkOptions('tables', options, ['arrow'])
  if (typeof cache?.getOrCompute !== 'function') throw new TypeError(`tables: expected a cache or a scope, not ${show(cache)}`)
  const { arrow } = options
  if (arrow !== undefined && (typeof arrow.tableFromIPC !== 'function' || typeof arrow.tableToIPC !== 'function')) throw new TypeError('tables: arrow must be the package apache-arrow: import * as arrow from \'apache-arrow\'')
  return new Tables(cache, arrow)
}

/** Arrow tables of a cache or a scope, by key. Made by `tables`. */
export class Tables {
  readonly #cache: KeyValue
  #arrow: ArrowLibrary | Promise<ArrowLibrary> | undefined

  /** @internal Use `tables`. */
  constructor(cache: KeyValue, arrow: ArrowLibrary | undefined) {
    this.#cache = cache
    this.#arrow = arrow
  }

  /** As `put` of the cache. Rejects with TypeError for what is no table, or one of another copy of the package. */
  async put(key: string, table: Table, options?: PutOptions): Promise<void> {
    await this.#cache.put(key, await this.#keep('put', table), options)
  }

  /** As `get` of the cache. Rejects with TypeError when the key holds another value. */
  async get<T extends TypeMap = TypeMap>(key: string, options?: GetOptions): Promise<Hit<Table<T>> | undefined> {
    const hit = await this.#cache.get<unknown>(key, options)
    return hit === undefined ? undefined : { ...hit, value: await this.#table<T>('get', key, hit.value) }
  }

  /** As `getOrCompute` of the cache. */
  async getOrCompute<T extends TypeMap = TypeMap>(key: string, compute: (context: { readonly signal: AbortSignal | undefined }) => Table<T> | Promise<Table<T>>, options?: ComputeOptions): Promise<Table<T>> {
    const kept = await this.#cache.getOrCompute(key, async (context) => this.#keep('getOrCompute', await compute(context)), options)
    return this.#table<T>('getOrCompute', key, kept)
  }

  async #keep(where: string, table: unknown): Promise<Kept> {
    const arrow = await this.#library()
    if (typeof table !== 'object' || table === null) throw new TypeError(`${where}: expected an Arrow table, not ${kindOf(table)}`)
    // The package takes tables of other copies for its own (instanceof is true) and fails halfway through them.
    if (!Object.prototype.isPrototypeOf.call(arrow.Table.prototype, table)) {
      const isForeign = 'schema' in table && 'batches' in table
      throw new TypeError(isForeign ? `${where}: the table is of another copy of apache-arrow than this; give that copy: tables(cache, { arrow })` : `${where}: expected an Arrow table, not ${kindOf(table)}`)
    }
    return { arrow: arrow.tableToIPC(table as Table, 'stream') }
  }

  async #table<T extends TypeMap>(where: string, key: string, kept: unknown): Promise<Table<T>> {
    const { tableFromIPC } = await this.#library()
    const bytes = (kept as Partial<Kept> | null)?.arrow
    if (!(bytes instanceof Uint8Array)) throw new TypeError(`${where}: ${show(key)} holds no Arrow table but ${kindOf(kept)}`)
    return tableFromIPC<T>(bytes)
  }

  async #library(): Promise<ArrowLibrary> {
    this.#arrow ??= import('apache-arrow').catch((cause: unknown) => {
      throw new MissingDependencyError('tables need the package apache-arrow: npm install apache-arrow', { cause })
    })
    return this.#arrow
  }
}
