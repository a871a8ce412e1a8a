import { DTYPES, isDType, type DType, type TypedArray } from '../core/dtype.js'
import { checkOptions, show } from '../core/options.js'
import { joinRows } from '../core/rows.js'
import { byteCount, elementCount, type FieldSpec, type FieldSpecs, type LazyTensor, type Tensor } from '../core/tensor.js'
import { MemoryTensor } from './memory.js'
import { checkFieldName, checkFields, checkRange } from './names.js'
import type { ItemRun, ReadOptions, Source } from './source.js'

/**
 * A field's value: a tensor; a typed array, which is one of rank 1 with the dtype of the same name (Uint16Array is uint16, not float16); a number
 * (float64 []), a bigint (int64 []) or a boolean (bool []).
 */
export type FieldValue = Tensor | TypedArray | number | bigint | boolean

/** One item for `items`. */
export interface ItemInput {
  /** Human name, different for every item. */
  readonly id: string
  /** Its fields by name, in snake_case; the same names for every item. */
  readonly fields: Readonly<Record<string, FieldValue>>
}

/** Options of `items`. */
export interface ItemsOptions {
  /** Arrays that belong to the dataset, not to an item. */
  readonly constants?: Readonly<Record<string, FieldValue>>
}

/** Bytes of a run that is put together from single items. */
const RUN_BYTES = 16 * 2 ** 20

/**
 * Items made by the caller. The iterable is consumed once, here. All items have the same fields with the same dtypes and ranks; extents may
 * differ from item to item. The arrays are kept, not copied: do not change them afterwards.
 *
 * Rejects with TypeError when an item is not as described, naming it.
 */
export async function items(iterable: Iterable<ItemInput> | AsyncIterable<ItemInput>, options: ItemsOptions = {}): Promise<Source> {
  checkOptions('items', options, ['constants'])
  const constants: Record<string, LazyTensor> = {}
  for (const [name, value] of Object.entries(options.constants ?? {})) {
    checkFieldName('items: constants', name)
    constants[name] = new MemoryTensor(toTensor(`items: constants.${name}`, value))
  }
  if (typeof iterable !== 'object' || iterable === null || !(Symbol.iterator in iterable || Symbol.asyncIterator in iterable)) {
    throw new TypeError(`items: an iterable of { id, fields } is expected, not ${show(iterable)}`)
  }
  const ids: string[] = []
  const rows: Record<string, Tensor>[] = []
  const positions = new Map<string, number>()
  let specs: Record<string, FieldSpec> | undefined
  for await (const item of iterable) {
    const where = `items: item ${ids.length}`
    if (typeof item?.id !== 'string' || typeof item.fields !== 'object' || item.fields === null) throw new TypeError(`${where} must be { id: string, fields: { name: value } }`)
    const before = positions.get(item.id)
    if (before !== undefined) throw new TypeError(`${where} has the id ${show(item.id)} of item ${before}`)
    positions.set(item.id, ids.length)
    const row: Record<string, Tensor> = {}
    for (const [name, value] of Object.entries(item.fields)) {
      checkFieldName(where, name)
      row[name] = toTensor(`${where} (${item.id}), field ${name}`, value)
    }
    specs = specs === undefined ? specsOf(row) : merge(specs, row, `${where} (${item.id})`)
    ids.push(item.id)
    rows.push(row)
  }
  return new ItemsSource(ids, rows, specs ?? {}, constants)
}

class ItemsSource implements Source {
  readonly reader = { name: 'items', version: 1 }
  readonly length: number
  readonly fields: FieldSpecs
  readonly constants: Readonly<Record<string, LazyTensor>>
  readonly description: Source['description']
  readonly selection = undefined
  readonly files = []
  readonly #ids: readonly string[]
  #rows: readonly Readonly<Record<string, Tensor>>[]

  constructor(ids: readonly string[], rows: readonly Record<string, Tensor>[], fields: FieldSpecs, constants: Readonly<Record<string, LazyTensor>>) {
    this.length = ids.length
    this.fields = fields
    this.constants = constants
    this.description = { type: 'items', items: ids.length }
    this.#ids = ids
    this.#rows = rows
  }

  id(index: number): string {
    const id = this.#ids[index]
    if (id === undefined) throw new TypeError(`id: index must be from 0 to ${this.length - 1}, not ${show(index)}`)
    return id
  }

  async *read(start: number, stop: number, options: ReadOptions): AsyncGenerator<ItemRun> {
    checkRange(start, stop, this.length)
    checkFields(options.fields, this.fields)
    options.signal?.throwIfAborted()
    for (let at = start; at < stop;) {
      options.signal?.throwIfAborted()
      const count = this.#runLength(at, stop, options.fields)
      const rows = this.#rows.slice(at, at + count)
      yield { start: at, count, fields: Object.fromEntries(options.fields.map((name) => [name, joinRows(rows.map((row) => row[name]!))])) }
      at += count
      // Stacking is this thread's work; let others in between.
      await new Promise((resolve) => { setImmediate(resolve) })
    }
  }

  release(): void {}

  assertUnchanged(): void {}

  close(): void {
    this.#rows = []
  }

  /** Items that can be given together: of shapes that differ in axis 0 at most. */
  #runLength(start: number, stop: number, fields: readonly string[]): number {
    const first = this.#rows[start]
    if (first === undefined) throw new TypeError('read: the source has been closed')
    let bytes = 0
    let at = start
    while (at < stop && fields.every((name) => sameTail(first[name]!, this.#rows[at]![name]!))) {
      bytes += fields.reduce((sum, name) => sum + this.#rows[at]![name]!.data.byteLength, 0)
      if (at > start && bytes > RUN_BYTES) break
      at++
    }
    return at - start
  }
}

function toTensor(where: string, value: unknown): Tensor {
  if (typeof value === 'number') return { dtype: 'float64', shape: [], data: new Float64Array([value]) }
  if (typeof value === 'boolean') return { dtype: 'bool', shape: [], data: new Uint8Array([value ? 1 : 0]) }
  if (typeof value === 'bigint') {
    if (BigInt.asIntN(64, value) !== value) throw new TypeError(`${where}: ${value} does not fit int64`)
    return { dtype: 'int64', shape: [], data: new BigInt64Array([value]) }
  }
  if (ArrayBuffer.isView(value)) {
    const dtype = dtypeOfArray(value)
    if (dtype === undefined) throw new TypeError(`${where}: a ${value.constructor.name} has no dtype; give { dtype, shape, data }`)
    return { dtype, shape: [(value as TypedArray).length], data: value as TypedArray } as Tensor
  }
  if (typeof value !== 'object' || value === null) throw new TypeError(`${where}: a tensor, typed array, number, bigint or boolean is expected, not ${show(value)}`)
  const { dtype, shape, data } = value as Partial<Tensor>
  if (!isDType(dtype)) throw new TypeError(`${where}: ${show(dtype)} is not a dtype; known are ${Object.keys(DTYPES).join(', ')}`)
  if (!Array.isArray(shape) || elementCount(shape) === undefined) throw new TypeError(`${where}: shape must be an array of integers from 0, not ${show(shape)}`)
  const { array } = DTYPES[dtype]
  if (!(data instanceof array)) throw new TypeError(`${where}: the data of ${dtype} must be a ${array.name}, not ${show(data)}`)
  if (data.byteLength !== byteCount(dtype, shape)) throw new TypeError(`${where}: shape [${shape.join(', ')}] of ${dtype} needs ${byteCount(dtype, shape)} bytes, the data has ${data.byteLength}`)
  return { dtype, shape: Object.freeze([...shape]), data } as Tensor
}

/** The dtype of the same name as the array; bool, the 16-bit floats and complex numbers share arrays with others and must be named. */
function dtypeOfArray(value: ArrayBufferView): DType | undefined {
  if (value instanceof Uint8ClampedArray) return 'uint8'
  const named = (['int8', 'uint8', 'int16', 'uint16', 'int32', 'uint32', 'int64', 'uint64', 'float32', 'float64'] as const)
  return named.find((dtype) => value instanceof DTYPES[dtype].array)
}

function specsOf(row: Readonly<Record<string, Tensor>>): Record<string, FieldSpec> {
  return Object.fromEntries(Object.entries(row).map(([name, { dtype, shape }]) => [name, { dtype, shape }]))
}

function merge(specs: Readonly<Record<string, FieldSpec>>, row: Readonly<Record<string, Tensor>>, where: string): Record<string, FieldSpec> {
  const names = Object.keys(specs)
  const given = Object.keys(row)
  if (given.length !== names.length || !given.every((name) => Object.hasOwn(specs, name))) {
    throw new TypeError(`${where} has the fields ${given.join(', ')}; those before it have ${names.join(', ')}`)
  }
  return Object.fromEntries(names.map((name) => {
    const { dtype, shape } = row[name]!
    const spec = specs[name]!
    if (dtype !== spec.dtype || shape.length !== spec.shape.length) {
      throw new TypeError(`${where}, field ${name}: ${dtype} of rank ${shape.length} is not the ${spec.dtype} of rank ${spec.shape.length} of the items before it`)
    }
    return [name, { dtype, shape: spec.shape.map((extent, axis) => extent === shape[axis] ? extent : null) }]
  }))
}

function sameTail(a: Tensor, b: Tensor): boolean {
  return a.shape.every((extent, axis) => axis === 0 || extent === b.shape[axis])
}
