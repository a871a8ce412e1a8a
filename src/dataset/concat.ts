import { sha256, toHex } from '../core/hash.js'
import { frame } from '../core/keys.js'
import { show } from '../core/options.js'
import { bytesOf, type FieldSpec, type FieldSpecs, type Tensor } from '../core/tensor.js'
import type { ItemRows } from '../ops/op.js'
import type { Item } from './collate.js'
import { ItemList } from './item-list.js'
import { interleaved } from './interleave.js'

/**
 * Lists one after the other, as a view: they need the same fields, with the same dtypes and ranks; extents that differ become null. Constants that are the same in all stay. Throws TypeError.
 */
export function concat(...lists: readonly ItemList[]): ItemList {
  const where = 'concat'
  if (lists.length === 0) throw new TypeError(`${where}: expected at least one dataset or view`)
  lists.forEach((list, i) => {
    if (!(list instanceof ItemList)) throw new TypeError(`${where}: argument ${i} is no dataset and no view, but ${show(list)}`)
  })
  return new Concatenation(lists, commonFields(where, lists))
}

class Concatenation extends ItemList {
  readonly #lists: readonly ItemList[]
  readonly fields: FieldSpecs
  readonly constants: Readonly<Record<string, Tensor>>
  /** Where each list begins, and the end. */
  readonly #starts: readonly number[]

  constructor(lists: readonly ItemList[], fields: FieldSpecs) {
    super()
    this.#lists = lists
    this.fields = fields
    this.constants = commonConstants(lists)
    const starts = [0]
    for (const { length } of lists) starts.push(starts.at(-1)! + length)
    this.#starts = starts
  }

  get length(): number {
    return this.#starts.at(-1)!
  }

  get binding(): string {
    return toHex(sha256(frame({ view: 'concat', of: this.#lists.map(({ binding }) => binding) })))
  }

  get isStored(): boolean {
    return this.#lists.every(({ isStored }) => isStored)
  }

  override get isSlow(): boolean {
    return this.#lists.some(({ isSlow }) => isSlow)
  }

  id(index: number): string {
    this.checkIndex(index)
    const list = this.#listOf(index)
    return this.#lists[list]!.id(index - this.#starts[list]!)
  }

  item(index: number, fields: readonly string[], signal: AbortSignal | undefined): Promise<Item> {
    const list = this.#listOf(index)
    return this.#lists[list]!.item(index - this.#starts[list]!, fields, signal)
  }

  async rows(indices: Float64Array, fields: readonly string[], signal: AbortSignal | undefined): Promise<ItemRows> {
    const places = new Map<number, number[]>()
    indices.forEach((index, place) => {
      const list = this.#listOf(index)
      const at = places.get(list)
      if (at === undefined) places.set(list, [place])
      else at.push(place)
    })
    const parts = await Promise.all(Array.from(places, async ([list, at]) => ({
      at, rows: await this.#lists[list]!.rows(Float64Array.from(at, (place) => indices[place]! - this.#starts[list]!), fields, signal),
    })))
    return parts.length === 1 ? parts[0]!.rows : interleaved(indices.length, fields, parts)
  }

  override async lengths(field: string, signal?: AbortSignal): Promise<Float64Array> {
    const lengths = new Float64Array(this.length)
    for (const [k, list] of this.#lists.entries()) lengths.set(await list.lengths(field, signal), this.#starts[k]!)
    return lengths
  }

  #listOf(index: number): number {
    let [low, high] = [0, this.#lists.length - 1]
    while (low < high) {
      const middle = Math.ceil((low + high) / 2)
      if (this.#starts[middle]! <= index) low = middle
      else high = middle - 1
    }
    return low
  }
}

function commonFields(where: string, lists: readonly ItemList[]): FieldSpecs {
  const names = Object.keys(lists[0]!.fields)
  const text = ({ dtype, shape }: FieldSpec): string => `${dtype} [${shape.map((extent) => extent ?? '?').join(', ')}]`
  return Object.fromEntries(names.map((name) => {
    const specs = lists.map(({ fields }, i) => {
      if (!Object.hasOwn(fields, name) || Object.keys(fields).length !== names.length) throw new TypeError(`${where}: dataset ${i} has the fields ${Object.keys(fields).join(', ')}, dataset 0 has ${names.join(', ')}`)
      return fields[name]!
    })
    const first = specs[0]!
    specs.forEach((spec, i) => {
      if (spec.dtype !== first.dtype || spec.shape.length !== first.shape.length) throw new TypeError(`${where}: field ${name} is ${text(spec)} in dataset ${i} and ${text(first)} in dataset 0`)
    })
    return [name, { dtype: first.dtype, shape: first.shape.map((extent, axis) => specs.every(({ shape }) => shape[axis] === extent) ? extent : null) }]
  }))
}

function commonConstants(lists: readonly ItemList[]): Record<string, Tensor> {
  const [first, ...others] = lists.map(({ constants }) => constants)
  return Object.fromEntries(Object.entries(first!).filter(([name, tensor]) => others.every((constants) => Object.hasOwn(constants, name) && same(constants[name]!, tensor))))
}

function same(a: Tensor, b: Tensor): boolean {
  return a.dtype === b.dtype && a.shape.join() === b.shape.join() && Buffer.compare(bytesOf(a.data), bytesOf(b.data)) === 0
}
