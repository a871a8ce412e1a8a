import { FormatError, ItemError, TensorCacheError } from '../core/errors.js'
import { sha256 } from '../core/hash.js'
import { show } from '../core/options.js'
import { joinRows, rowOf, shapeOf } from '../core/rows.js'
import type { FieldSpecs, Tensor } from '../core/tensor.js'
import { giveBack, itemTensor } from '../native/fresh.js'
import { shownUrl } from './fetcher.js'
import { checkFields, checkRange } from './names.js'
import type { Following, ItemOrder, ItemRun, ReadOptions, SkippedItem, Source } from './source.js'
import type { StagedFetches } from './staged-fetches.js'
import type { StagedItem } from './staged-items.js'
import { openOne, type Opener } from './staged-open.js'
import type { RemoteItems } from './staged-remote.js'
import type { Staging } from './staging.js'

export interface StagedParts {
  readonly items: readonly StagedItem[]
  readonly remote: RemoteItems
  readonly staging: Staging
  readonly fetches: StagedFetches
  readonly opener: Opener
  readonly release: ((item: StagedItem, paths: readonly string[]) => unknown) | undefined
}

const HASH_BYTES = 32
/** Servers that are asked at the same time what they have. */
const QUESTIONS_AT_ONCE = 16

/** Items whose files are fetched when they are needed, read by another source, and removed when they are published. */
export class StagedSource implements Source {
  readonly reader: Source['reader']
  readonly length: number
  readonly fields: FieldSpecs
  readonly constants = {}
  readonly description: Source['description']
  readonly skipped: readonly SkippedItem[]
  readonly selection: unknown
  readonly files = []
  readonly digest: string | undefined
  readonly #parts: StagedParts
  /** Items that were read and are not published yet: their files are pinned. */
  readonly #held = new Map<number, readonly string[]>()
  #closed = false

  constructor(parts: StagedParts, { fields, description, skipped }: Pick<Source, 'fields' | 'description'> & { readonly skipped: readonly SkippedItem[] }) {
    const { items, opener } = parts
    this.fields = fields
    this.description = description
    this.skipped = skipped
    this.#parts = parts
    this.reader = opener.reader
    this.length = items.length
    // Known beforehand where the list says all digests: then the whole dataset is found in one look-up.
    const isDeclared = opener.description !== undefined && items.every(({ files }) => files.every((file) => file.sha256 !== undefined))
    this.selection = isDeclared ? { open: opener.description } : undefined
    this.digest = isDeclared ? sha256(JSON.stringify(items.map(({ id, files, properties }) => [id, files.map(({ name, sha256: digest }) => [name, digest]), ...namedOnly(properties)]))).toString('hex') : undefined
  }

  id(index: number): string {
    const item = this.#parts.items[index]
    if (item === undefined) throw new TypeError(`id: index must be from 0 to ${this.length - 1}, not ${show(index)}`)
    return item.id
  }

  expect(items: readonly number[]): void {
    if (!this.#closed) this.#parts.fetches.expect(items)
  }

  follow(order: ItemOrder, fields: readonly string[]): Following {
    if (this.#closed) throw new TypeError('follow: the source has been closed')
    if (fields.every((name) => this.#isProperty(name))) return { begin() {}, done() {}, end() {} }
    return this.#parts.fetches.follow(order, { learns: this.digest !== undefined })
  }

  /** One after the other, each of them in use no longer than it takes to read it: so any number of readers get along with a budget of one item. */
  async gather(indices: Float64Array, { fields, signal = new AbortController().signal }: ReadOptions): Promise<Omit<ItemRun, 'start'>> {
    checkFields(fields, this.fields)
    const items = new Map<number, readonly Tensor[]>()
    const own: ArrayBuffer[] = []
    for (const index of new Set(indices)) {
      checkRange(index, index + 1, this.length)
      const read = await this.#alone(index, fields, signal)
      items.set(index, fields.map((name) => rowOf(read.fields[name]!, 0)))
      own.push(...read.own ?? [])
    }
    const rows = Object.fromEntries(fields.map((name, k) => [name, joinRows(Array.from(indices, (index) => items.get(index)![k]!))]))
    if (indices.length === 1) return { count: 1, fields: rows, own }
    own.forEach(giveBack)
    return { count: indices.length, fields: rows }
  }

  async *read(start: number, stop: number, { fields, signal }: ReadOptions): AsyncGenerator<ItemRun> {
    checkRange(start, stop, this.length)
    checkFields(fields, this.fields)
    signal?.throwIfAborted()
    if (this.#closed) throw new TypeError('read: the source has been closed')
    const { fetches } = this.#parts
    const ended = new AbortController()
    const either = signal === undefined ? ended.signal : AbortSignal.any([signal, ended.signal])
    const fromFiles = fields.filter((name) => !this.#isProperty(name))
    if (fromFiles.length === 0) {
      for (let at = start; at < stop; at++) yield { start: at, count: 1, fields: this.#properties(at, fields) }
      return
    }
    let next = start
    let isWhole = false
    try {
      for (let at = start; at < stop; at++) {
        either.throwIfAborted()
        next = at + 1
        const paths = await fetches.acquire(at, either)
        this.#held.set(at, paths)
        const inner = await this.#open(at, paths)
        try {
          const read = await this.#run(at, inner, fromFiles, either)
          // What is wrong with the next item is said when it is its turn: this one can be published before.
          const isFull = next < stop && !await fetches.secure(next++, either).catch(() => true)
          yield { start: at, count: 1, fields: { ...read.fields, ...this.#properties(at, fields) }, ...(read.own !== undefined && { own: read.own }), ...(isFull && { isFull }) }
          // Whoever does not publish does not need them, either.
          if (isFull) await this.#unpin(start, at + 1)
        } finally {
          inner.close()
        }
      }
      isWhole = true
    } finally {
      if (!isWhole) {
        ended.abort()
        fetches.abandon()
        await this.#unpin(start, Math.min(stop, next))
      }
    }
  }

  /** From what the files are known by, so that what was seen is not fetched again. */
  async witnesses(start: number, stop: number, { fields, signal = new AbortController().signal }: ReadOptions): Promise<Uint8Array> {
    checkRange(start, stop, this.length)
    checkFields(fields, this.fields)
    const all = new Uint8Array((stop - start) * HASH_BYTES)
    const { name, version } = this.reader
    const { description = null } = this.#parts.opener
    const names = [...fields].sort()
    const numbers = names.filter((name) => this.#isProperty(name))
    const queue = Array.from({ length: stop - start }, (_, k) => start + k).values()
    const lane = async (): Promise<void> => {
      for (const index of queue) all.set(sha256(JSON.stringify(['staged', name, version, description, names, await this.#parts.remote.identity(index, signal), ...namedOnly(this.#numbers(index, numbers))])), (index - start) * HASH_BYTES)
    }
    await Promise.all(Array.from({ length: QUESTIONS_AT_ONCE }, lane))
    return all
  }

  async published(start: number, stop: number): Promise<void> {
    if (this.#closed) return
    const indices = Array.from({ length: stop - start }, (_, k) => start + k)
    for (const index of indices) {
      const paths = this.#held.get(index)
      if (paths === undefined) continue
      this.#held.delete(index)
      await this.#parts.release?.(this.#parts.items[index]!, paths)
    }
    // Said of all at the end of a build: what killed processes left goes then.
    const thorough = start === 0 && stop === this.length
    await this.#parts.fetches.drop(indices, { thorough })
    if (thorough) await this.#parts.staging.sweep()
  }

  release(start: number, stop: number): void {
    // Told again by the next call on the folder, if this fails.
    if (!this.#closed) this.#unpin(start, stop).catch(() => {})
  }

  assertUnchanged(): void {}

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#held.clear()
    this.#parts.fetches.close()
    this.#parts.staging.close()
  }

  /** An item in memory of its own: what it was read from may go. */
  async #alone(index: number, fields: readonly string[], signal: AbortSignal): Promise<Pick<ItemRun, 'fields' | 'own'>> {
    signal.throwIfAborted()
    if (this.#closed) throw new TypeError('read: the source has been closed')
    const fromFiles = fields.filter((name) => !this.#isProperty(name))
    if (fromFiles.length === 0) return { fields: this.#properties(index, fields) }
    const { paths, free } = await this.#parts.fetches.lease(index, signal)
    try {
      const inner = await this.#open(index, paths)
      try {
        const { fields: read, own = [] } = await this.#run(index, inner, fromFiles, signal)
        const copies = Object.entries(read).map(([name, rows]) => [name, own.includes(rows.data.buffer as ArrayBuffer) ? rows : copyOf(rowOf(rows, 0))])
        return { fields: { ...Object.fromEntries(copies), ...this.#properties(index, fields) }, own }
      } finally {
        inner.close()
      }
    } finally {
      free()
    }
  }

  #isProperty(name: string): boolean {
    return Object.hasOwn(this.#parts.items[0]?.properties ?? {}, name)
  }

  #numbers(index: number, names: readonly string[]): Readonly<Record<string, number>> {
    const { properties } = this.#parts.items[index]!
    return Object.fromEntries(names.map((name) => [name, properties[name]!]))
  }

  #properties(index: number, fields: readonly string[]): ItemRun['fields'] {
    const numbers = Object.entries(this.#numbers(index, fields.filter((name) => this.#isProperty(name))))
    return Object.fromEntries(numbers.map(([name, value]) => [name, { dtype: 'float64', shape: [1], data: Float64Array.of(value) }]))
  }

  async #unpin(start: number, stop: number): Promise<void> {
    const indices = Array.from({ length: stop - start }, (_, k) => start + k)
    for (const index of indices) this.#held.delete(index)
    await this.#parts.fetches.unpin(indices)
  }

  async #open(index: number, paths: readonly string[]): Promise<Source> {
    try {
      return await openOne(this.#parts.opener, paths, this.id(index))
    } catch (error) {
      throw this.#fault(index, error)
    }
  }

  async #run(index: number, inner: Source, fields: readonly string[], signal: AbortSignal): Promise<Pick<ItemRun, 'fields' | 'own'>> {
    try {
      for await (const run of inner.read(0, 1, { fields, signal })) {
        for (const name of fields) {
          const { dtype, shape } = this.fields[name]!
          const found = { dtype: run.fields[name]!.dtype, shape: shapeOf(run.fields[name]!, 0) }
          if (found.dtype === dtype && found.shape.length === shape.length && shape.every((extent, axis) => extent === null || extent === found.shape[axis])) continue
          const text = (of: { dtype: string; shape: readonly (number | null)[] }): string => `${of.dtype} [${of.shape.map((extent) => extent ?? 'any').join(', ')}]`
          throw new FormatError({ file: shownUrl(this.#parts.items[index]!.files[0]!.url), place: `field ${name}`, expected: text({ dtype, shape }), found: text(found) })
        }
        return run
      }
      throw new TypeError('its reader gave nothing')
    } catch (error) {
      signal.throwIfAborted()
      throw this.#fault(index, error)
    }
  }

  /** Raw files lie under names that say nothing: the item and its URLs do. */
  #fault(index: number, error: unknown): unknown {
    if (!(error instanceof TensorCacheError || error instanceof TypeError)) return error
    const { id, files } = this.#parts.items[index]!
    const urls = files.map(({ url }) => shownUrl(url)).join(', ')
    return new ItemError(id, error.message.includes(urls) ? error.message : `${urls}: ${error.message}`, { cause: error })
  }
}

/** As a field of one item. */
function copyOf({ dtype, shape, data }: Tensor): Tensor {
  const copy = itemTensor(dtype, [1, ...shape])
  ;(copy.data as Uint8Array).set(data as Uint8Array)
  return copy
}

/** Nothing where there are none, so that items without them are known as they were before there were any. */
function namedOnly(properties: Readonly<Record<string, number>>): Readonly<Record<string, number>>[] {
  return Object.keys(properties).length === 0 ? [] : [properties]
}
