import { checkOptions, show } from '../core/options.js'
import { rowOf } from '../core/rows.js'
import type { FieldSpecs } from '../core/tensor.js'
import type { ItemRows } from '../ops/op.js'
import type { Item } from './collate.js'

/** Options of `filter`. */
export interface FilterOptions {
  /** Fields that `keep` is given; default all. None, `[]`: it decides by id and index, and nothing is read. */
  readonly fields?: readonly string[]
  /** Aborted: rejects with its reason. */
  readonly signal?: AbortSignal
}

/** What is needed of a list to look at all its items. */
export interface Readable {
  readonly length: number
  readonly fields: FieldSpecs
  id(index: number): string
  rows(indices: Float64Array, fields: readonly string[], signal: AbortSignal | undefined): Promise<ItemRows>
  item(index: number, fields: readonly string[], signal: AbortSignal | undefined): Promise<Item>
}

/** Items read at a time. */
const STEP_ITEMS = 256

export async function keptBy(list: Readable, keep: (item: Item, index: number) => boolean | Promise<boolean>, options: FilterOptions): Promise<Float64Array> {
  const where = 'filter'
  if (typeof keep !== 'function') throw new TypeError(`${where}: expected a function of an item, not ${show(keep)}`)
  checkOptions(where, options, ['fields', 'signal'])
  const kept: number[] = []
  for await (const [item, index] of itemsOf(list, checkedFields(where, list, options.fields), options.signal)) {
    const answer: unknown = await keep(item, index)
    if (typeof answer !== 'boolean') throw new TypeError(`${where}: the function must say true or false, not ${show(answer)} (item ${item.id})`)
    if (answer) kept.push(index)
  }
  return Float64Array.from(kept)
}

export function checkedFields(where: string, { fields }: Readable, names: readonly string[] | undefined): readonly string[] {
  for (const name of names ?? []) {
    if (!Object.hasOwn(fields, name)) throw new TypeError(`${where}: the dataset has no field ${show(name)}; it has ${Object.keys(fields).join(', ')}`)
  }
  return names ?? Object.keys(fields)
}

/** All items in order with these fields, read many at a time. */
export async function * itemsOf(list: Readable, names: readonly string[], signal: AbortSignal | undefined): AsyncGenerator<[Item, number]> {
  const isUniform = names.every((name) => !list.fields[name]!.shape.slice(1).includes(null))
  for (let at = 0; at < list.length; at += STEP_ITEMS) {
    signal?.throwIfAborted()
    const indices = Float64Array.from({ length: Math.min(STEP_ITEMS, list.length - at) }, (_, k) => at + k)
    const rows = names.length > 0 && isUniform ? await list.rows(indices, names, signal) : undefined
    for (const [k, index] of indices.entries()) {
      if (rows === undefined) yield [names.length === 0 ? { id: list.id(index) } : await list.item(index, names, signal), index]
      else yield [{ id: list.id(index), ...Object.fromEntries(names.map((name) => [name, rowOf(rows.fields[name]!, k)])) }, index]
    }
  }
}
