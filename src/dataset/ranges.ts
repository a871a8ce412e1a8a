import { byteCount, type FieldSpecs, type ItemSpecs } from '../core/tensor.js'
import { fieldsAlong } from '../ops/compile.js'
import type { Recipe } from '../ops/recipe.js'
import type { Source } from '../sources/source.js'

/** Items that one job brings into the cache under one lease: about a shard of them. */
export interface Range {
  readonly start: number
  readonly stop: number
  /** What is in memory while it is in work, about: an item on its way through the ops, two of its forms at a time; and the shard. 0 where sizes are not known. */
  readonly bytes: number
}

export interface Ranges {
  readonly ranges: readonly Range[]
  /** What an item becomes, about. */
  readonly itemBytes: number
}

/** Index entries of one shard: bounds a transaction. */
const SHARD_ROWS = 65_536
/** An extent that nobody knows before the item is read, as of atoms and edges, and of images. */
const UNKNOWN_EXTENT = 64
/** Where sizes are a guess, so many ranges for each job, so that the items of one job are not all the large ones. */
const GUESSED_RANGES = 16

/**
 * Cuts the items into ranges that make shards of `shardBytes`. They follow from source, recipe, `shardBytes` and, where sizes are not known, `jobs`: processes that build the same with the same options take their
 * leases on the same ranges. `recipe`: what turns items of the source into items of `outputs`; undefined when the source says nothing about its items.
 */
export function rangesOf(source: Source, recipe: Recipe | undefined, outputs: FieldSpecs, shardBytes: number, jobs: number): Ranges {
  const { length } = source
  const isFixed = [...Object.values(source.fields), ...Object.values(outputs)].every(({ shape }) => !shape.includes(null))
  if (isFixed || recipe === undefined || source.known === undefined) {
    const { out, work } = sizesOf(recipe, source.fields, outputs)
    const rows = Math.max(1, Math.min(SHARD_ROWS, Math.floor(shardBytes / out), isGuess(outputs) ? Math.ceil(length / (GUESSED_RANGES * jobs)) : Infinity))
    const ranges: Range[] = []
    for (let start = 0; start < length; start += rows) {
      const stop = Math.min(length, start + rows)
      ranges.push({ start, stop, bytes: isFixed ? work + Math.min(shardBytes, out * (stop - start)) : 0 })
    }
    return { ranges, itemBytes: out }
  }
  const ranges: Range[] = []
  // Volumes of one scanner are alike: what ops make of them is asked once.
  const sizes = new Map<string, ReturnType<typeof sizesOf>>()
  let [start, filled, largest, all] = [0, 0, 0, 0]
  const close = (stop: number): void => {
    if (stop > start) ranges.push({ start, stop, bytes: largest + Math.min(shardBytes, filled) })
    ;[start, filled, largest] = [stop, 0, 0]
  }
  for (let item = 0; item < length; item++) {
    const known = source.known(item)
    const form = JSON.stringify(Object.entries(known).map(([name, { dtype, shape, value }]) => [name, dtype, shape, ...value === undefined ? [] : value.data]), (_, part: unknown) => typeof part === 'bigint' ? String(part) : part)
    const { out, work } = sizes.get(form) ?? sizesOf(recipe, known, outputs)
    sizes.set(form, { out, work })
    if (filled + out > shardBytes || item - start >= SHARD_ROWS) close(item)
    filled += out
    all += out
    largest = Math.max(largest, work)
  }
  close(length)
  return { ranges, itemBytes: Math.max(1, all / Math.max(1, length)) }
}

/** Bytes of what is made of an item, and of its forms on the way there. An item that an op is going to refuse is refused when it is its turn. */
function sizesOf(recipe: Recipe | undefined, item: ItemSpecs, outputs: FieldSpecs): { out: number; work: number } {
  let form: FieldSpecs = item
  let most = 0
  for (const next of (recipe && fieldsAlong(recipe, item)) ?? [outputs]) {
    form = bounded(next, form)
    most = Math.max(most, guessedBytes(form))
  }
  // As it is read, moved, and computed; or two forms that are computed.
  return { out: Math.max(1, guessedBytes(form)), work: Math.max(2 * guessedBytes(item) + most, 2 * most) }
}

/** An extent that an op finds in the item, as the box of a foreground, is taken for what it was before. */
function bounded(fields: FieldSpecs, before: FieldSpecs): FieldSpecs {
  return Object.fromEntries(Object.entries(fields).map(([name, { dtype, shape }]) => {
    const was = before[name]?.shape
    return [name, { dtype, shape: was?.length === shape.length ? shape.map((extent, axis) => extent ?? was[axis]!) : shape }]
  }))
}

/** Bytes of an item, an unknown extent taken for 64. */
export function guessedBytes(fields: FieldSpecs): number {
  return Object.values(fields).reduce((sum, { dtype, shape }) => sum + byteCount(dtype, shape.map((extent) => extent ?? UNKNOWN_EXTENT)), 0)
}

function isGuess(fields: FieldSpecs): boolean {
  return Object.values(fields).some(({ shape }) => shape.filter((extent) => extent === null).length > 1)
}

/** Lets ranges be in work at the same time whose bytes together fit; one alone always is. */
export class Room {
  readonly #bytes: number
  #taken = 0
  #waiting: (() => void)[] = []

  constructor(bytes: number) {
    this.#bytes = bytes
  }

  async take(bytes: number): Promise<void> {
    while (this.#taken > 0 && this.#taken + bytes > this.#bytes) await new Promise<void>((done) => this.#waiting.push(done))
    this.#taken += bytes
  }

  give(bytes: number): void {
    this.#taken -= bytes
    for (const done of this.#waiting.splice(0)) done()
  }
}
