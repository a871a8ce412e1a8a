import { sha256, toHex } from '../core/hash.js'
import { frame } from '../core/keys.js'
import { checkOptions, choice, show } from '../core/options.js'
import type { FieldSpecs, Tensor } from '../core/tensor.js'
import type { ItemRows } from '../ops/op.js'
import type { Item } from './collate.js'
import { ItemList } from './item-list.js'

/** Options of `zip`. */
export interface ZipOptions {
  /** `position` (default): item i of each; all must have the same length. `id`: items of the same name, in the order of the first list; each must be in all, and once. */
  readonly match?: 'position' | 'id'
}

/** Lists side by side, as a view: an item has the fields and constants of all, whose names must differ. Its name is that of the first. Throws TypeError. */
export function zip(lists: readonly ItemList[], options: ZipOptions = {}): ItemList {
  const where = 'zip'
  if (!Array.isArray(lists) || lists.length === 0) throw new TypeError(`${where}: expected a list of datasets or views, not ${show(lists)}`)
  checkOptions(where, options, ['match'])
  lists.forEach((list: unknown, i) => {
    if (!(list instanceof ItemList)) throw new TypeError(`${where}: element ${i} is no dataset and no view, but ${show(list)}`)
  })
  const [first, ...others] = lists as unknown as readonly [ItemList, ...ItemList[]]
  for (const kind of ['fields', 'constants'] as const) {
    const names = lists.flatMap((list) => Object.keys(list[kind]))
    const twice = names.find((name, i) => names.indexOf(name) !== i)
    if (twice !== undefined) throw new TypeError(`${where}: two of the datasets have ${kind} called ${twice}; rename one with the op rename`)
  }
  if (choice(where, 'match', options.match, ['position', 'id'] as const, 'position') === 'id') return new Zipped([first, ...others.map((list, i) => first.length === 0 ? list : byId(first, list, i + 1))])
  others.forEach((list, i) => {
    if (list.length !== first.length) throw new TypeError(`${where}: dataset ${i + 1} has ${list.length} items, dataset 0 has ${first.length}; select the same, or match: 'id'`)
  })
  return new Zipped(lists)
}

/** The items of `list` with the names and in the order of `first`. */
function byId(first: ItemList, list: ItemList, number: number): ItemList {
  const places = new Map<string, number>()
  for (let index = 0; index < list.length; index++) {
    const id = list.id(index)
    if (places.has(id)) throw new TypeError(`zip: dataset ${number} has two items called ${id}`)
    places.set(id, index)
  }
  return list.select(Float64Array.from({ length: first.length }, (_, index) => {
    const id = first.id(index)
    const place = places.get(id)
    if (place === undefined) throw new TypeError(`zip: dataset ${number} has no item called ${id}`)
    return place
  }))
}

class Zipped extends ItemList {
  readonly #lists: readonly ItemList[]
  readonly fields: FieldSpecs
  readonly constants: Readonly<Record<string, Tensor>>

  constructor(lists: readonly ItemList[]) {
    super()
    this.#lists = lists
    this.fields = Object.assign({}, ...lists.map(({ fields }) => fields)) as FieldSpecs
    this.constants = Object.assign({}, ...lists.map(({ constants }) => constants)) as Record<string, Tensor>
  }

  get length(): number {
    return this.#lists[0]!.length
  }

  get binding(): string {
    return toHex(sha256(frame({ view: 'zip', of: this.#lists.map(({ binding }) => binding) })))
  }

  get isStored(): boolean {
    return this.#lists.every(({ isStored }) => isStored)
  }

  override get isSlow(): boolean {
    return this.#lists.some(({ isSlow }) => isSlow)
  }

  id(index: number): string {
    return this.#lists[0]!.id(index)
  }

  async item(index: number, fields: readonly string[], signal: AbortSignal | undefined): Promise<Item> {
    const parts = await Promise.all(this.#sharing(fields).map(([list, names]) => list.item(index, names, signal)))
    return { ...Object.assign({}, ...parts) as Item, id: this.id(index) }
  }

  async rows(indices: Float64Array, fields: readonly string[], signal: AbortSignal | undefined): Promise<ItemRows> {
    const parts = await Promise.all(this.#sharing(fields).map(([list, names]) => list.rows(indices, names, signal)))
    return { count: indices.length, fields: Object.assign({}, ...parts.map((part) => part.fields)) as ItemRows['fields'] }
  }

  override lengths(field: string, signal?: AbortSignal): Promise<Float64Array> {
    return this.#lists.find(({ fields }) => Object.hasOwn(fields, field))!.lengths(field, signal)
  }

  /** Which list is asked for which of the fields. */
  #sharing(fields: readonly string[]): [ItemList, string[]][] {
    return this.#lists.map((list): [ItemList, string[]] => [list, fields.filter((name) => Object.hasOwn(list.fields, name))]).filter(([, names]) => names.length > 0)
  }
}
