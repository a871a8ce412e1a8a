import { sha256, toHex } from '../core/hash.js'
import { frame } from '../core/keys.js'
import { checkOptions, choice, number, show } from '../core/options.js'
import { rowOf } from '../core/rows.js'
import { emptyTensor, type FieldSpec, type FieldSpecs, type Tensor } from '../core/tensor.js'
import type { ItemRows } from '../ops/op.js'
import type { Item } from './collate.js'
import { ItemList } from './item-list.js'
import { cutRows, fittedRows, type PackedRow } from './pack-rows.js'

/** Options of `pack`. */
export interface PackOptions {
  /** Fields that are packed, all alike: of any length on axis 0, the same for all of an item. Default: the first field that differs in length, alone. */
  readonly fields?: readonly string[]
  /** Rows (tokens) of a packed item. */
  readonly length: number
  /**
   * `fit` (default): whole items, each where it leaves least room (best fit, the longest first), so that no text is torn. `cut`: items one after the other, cut every `length` rows: nothing is padded but the end.
   */
  readonly mode?: 'fit' | 'cut'
  /** With `fit`, what is longer than `length`: `error` (default), `cut` into pieces that are packed like others, or `drop`. */
  readonly tooLong?: 'error' | 'cut' | 'drop'
  /** What stands where nothing is, for all fields or by field; default 0. */
  readonly padding?: number | Readonly<Record<string, number>>
  /** Aborted: rejects with its reason. */
  readonly signal?: AbortSignal
}

const SEGMENTS = 'segment_ids'
const POSITIONS = 'position_ids'

/**
 * Items of different lengths packed into items of one: each field [length, …], `segment_ids` int32 [length] (1, 2, … for the packed items, 0 where there is padding) and `position_ids` int32 [length] (from 0 in each
 * packed item; those of a piece go on). For `segment_ids` as attention masks of packed sequences. A view: it looks up all lengths now, and reads items when a batch needs them. The same list and options give the same rows. Rejects with
 * TypeError.
 */
export async function pack(list: ItemList, options: PackOptions): Promise<ItemList> {
  const where = 'pack'
  if (!(list instanceof ItemList)) throw new TypeError(`${where}: expected a dataset or a view, not ${show(list)}`)
  checkOptions(where, options, ['fields', 'length', 'mode', 'tooLong', 'padding', 'signal'])
  const length = number(where, 'length', options.length, { integer: true, min: 1, max: 2 ** 31 - 1 })
  const mode = choice(where, 'mode', options.mode, ['fit', 'cut'] as const, 'fit')
  const tooLong = choice(where, 'tooLong', options.tooLong, ['error', 'cut', 'drop'] as const, 'error')
  if (mode === 'cut' && options.tooLong !== undefined) throw new TypeError(`${where}: tooLong is for mode 'fit'; mode 'cut' cuts everything`)
  const fields = checkFields(where, list.fields, options.fields)
  const padding = checkPadding(where, fields, options.padding)
  const lengths = await list.lengths(fields[0]!, options.signal)
  const longest = tooLong === 'error' && mode === 'fit' ? lengths.findIndex((rows) => rows > length) : -1
  if (longest >= 0) throw new TypeError(`${where}: item ${list.id(longest)} has ${lengths[longest]} rows, more than ${length}; choose tooLong 'cut' or 'drop', or a greater length`)
  const rows = mode === 'cut' ? cutRows(lengths, length) : fittedRows(lengths, length, tooLong === 'drop')
  return new Packed(list, fields, { length, mode, tooLong, padding }, rows)
}

function checkFields(where: string, specs: FieldSpecs, named: readonly string[] | undefined): readonly string[] {
  const isRagged = ({ shape }: FieldSpec): boolean => shape[0] === null && !shape.slice(1).includes(null)
  const first = Object.keys(specs).find((name) => isRagged(specs[name]!))
  if (named === undefined && first === undefined) throw new TypeError(`${where}: no field differs in length between items; there are ${Object.keys(specs).join(', ')}`)
  const fields = named ?? [first!]
  if (!Array.isArray(fields) || fields.length === 0 || new Set(fields).size !== fields.length) throw new TypeError(`${where}: fields must be a list of different names, not ${show(fields)}`)
  for (const name of fields as string[]) {
    if (!Object.hasOwn(specs, name)) throw new TypeError(`${where}: the dataset has no field ${show(name)}; it has ${Object.keys(specs).join(', ')}`)
    if (!isRagged(specs[name]!)) throw new TypeError(`${where}: field ${name} must differ in length on axis 0, and there alone, not ${show(specs[name]!.shape)}`)
    if (name === SEGMENTS || name === POSITIONS) throw new TypeError(`${where}: makes a field ${name} itself; rename yours`)
  }
  return fields as string[]
}

function checkPadding(where: string, fields: readonly string[], given: PackOptions['padding']): Readonly<Record<string, number>> {
  const byField = typeof given === 'object' && given !== null ? given : Object.fromEntries(fields.map((name) => [name, given ?? 0]))
  checkOptions(`${where}: padding`, byField, fields)
  return Object.fromEntries(fields.map((name) => [name, number(`${where}: padding`, name, byField[name], {}, 0)]))
}

interface Layout {
  readonly length: number
  readonly mode: string
  readonly tooLong: string
  readonly padding: Readonly<Record<string, number>>
}

class Packed extends ItemList {
  readonly #of: ItemList
  readonly #layout: Layout
  readonly #rows: readonly PackedRow[]
  readonly fields: FieldSpecs

  constructor(of: ItemList, fields: readonly string[], layout: Layout, rows: readonly PackedRow[]) {
    super()
    this.#of = of
    this.#layout = layout
    this.#rows = rows
    const made = Object.fromEntries([SEGMENTS, POSITIONS].map((name) => [name, { dtype: 'int32' as const, shape: [layout.length] }]))
    this.fields = { ...Object.fromEntries(fields.map((name) => [name, { dtype: of.fields[name]!.dtype, shape: [layout.length, ...of.fields[name]!.shape.slice(1)] }])), ...made }
  }

  get length(): number {
    return this.#rows.length
  }

  get constants(): Readonly<Record<string, Tensor>> {
    return this.#of.constants
  }

  get binding(): string {
    return toHex(sha256(frame({ view: 'pack', of: this.#of.binding, fields: Object.keys(this.fields), ...this.#layout })))
  }

  get isStored(): boolean {
    return this.#of.isStored
  }

  override get isSlow(): boolean {
    return this.#of.isSlow
  }

  id(index: number): string {
    this.checkIndex(index)
    return `packed_${String(index).padStart(6, '0')}`
  }

  async item(index: number, names: readonly string[], signal: AbortSignal | undefined): Promise<Item> {
    const { fields } = await this.rows(Float64Array.of(index), names, signal)
    return { id: this.id(index), ...Object.fromEntries(names.map((name) => [name, rowOf(fields[name]!, 0)])) }
  }

  async rows(indices: Float64Array, names: readonly string[], signal: AbortSignal | undefined): Promise<ItemRows> {
    const packed = Array.from(indices, (index) => this.#rows[index]!)
    const items = Float64Array.from(new Set(packed.flatMap(({ pieces }) => pieces.map(({ item }) => item)))).sort()
    const places = new Map(Array.from(items, (item, place) => [item, place]))
    const read = names.filter((name) => name !== SEGMENTS && name !== POSITIONS)
    const { fields } = read.length === 0 ? { fields: {} } : await this.#of.rows(items, read, signal)
    const { length, padding } = this.#layout
    const made = names.map((name): [string, Tensor] => {
      const { dtype, shape } = this.fields[name]!
      const tensor = emptyTensor(dtype, [indices.length, ...shape as number[]])
      const perRow = tensor.data.length / Math.max(1, indices.length * length)
      const isMade = name === SEGMENTS || name === POSITIONS
      const pad = isMade ? 0 : padding[name]!
      if (pad !== 0) (tensor.data as Int32Array).fill((dtype === 'int64' || dtype === 'uint64' ? BigInt(pad) : pad) as number)
      packed.forEach(({ pieces }, row) => {
        let at = row * length
        pieces.forEach(({ item, start, stop }, segment) => {
          const count = stop - start
          if (name === SEGMENTS) (tensor.data as Int32Array).fill(segment + 1, at, at + count)
          else if (name === POSITIONS) for (let k = 0; k < count; k++) tensor.data[at + k] = start + k
          else {
            const whole = rowOf((fields as ItemRows['fields'])[name]!, places.get(item)!)
            if (whole.shape[0]! < stop) throw new TypeError(`pack: field ${name} of item ${this.#of.id(item)} has ${whole.shape[0]} rows, not as many as ${read[0]}`)
            ;(tensor.data as Uint8Array).set((whole.data as Uint8Array).subarray(start * perRow, stop * perRow), at * perRow)
          }
          at += count
        })
      })
      return [name, tensor]
    })
    return { count: indices.length, fields: Object.fromEntries(made) }
  }
}
