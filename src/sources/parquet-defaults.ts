import { DTYPES, type DType, type TypedArray } from '../core/dtype.js'
import { show } from '../core/options.js'
import type { ColumnChoice } from './columns.js'
import type { ParquetColumn } from './parquet-schema.js'
import type { ParquetValues } from './parquet-thread.js'

export interface ParquetField extends ColumnChoice {
  readonly name: string
  readonly column: ParquetColumn
}

/** The default as a column's values. Throws TypeError when it cannot be one. */
export function defaultOf({ field, column: { kind, dtype }, length, default: otherwise }: ParquetField): TypedArray {
  const refuse = (expected: string): never => { throw new TypeError(`parquet: fields.${field}.default must be ${expected}, not ${show(otherwise)}`) }
  if (kind === 'text' || kind === 'bytes') return typeof otherwise === 'string' && otherwise.isWellFormed() ? new TextEncoder().encode(otherwise) : refuse('a text')
  if (kind === 'list' && !Array.isArray(otherwise)) refuse('a list of numbers')
  const given = (kind === 'list' ? otherwise : [otherwise]) as readonly unknown[]
  if (length !== undefined && given.length !== length) refuse(`a list of ${length} numbers`)
  const { array } = DTYPES[dtype]
  const made = new array(new ArrayBuffer(given.length * array.BYTES_PER_ELEMENT))
  given.forEach((value, k) => {
    const isNumber = dtype === 'bool' ? typeof value === 'boolean' : typeof value === 'number' || typeof value === 'bigint'
    if (!isNumber) refuse(dtype === 'bool' ? 'true or false' : 'a number')
    const whole = DTYPES[dtype].kind === 'float' ? Number(value) : exact(value as number, dtype)
    if (whole === undefined) return refuse(`an integer that ${dtype} can hold`)
    made[k] = whole as never
  })
  return made
}

function exact(value: number | bigint | boolean, dtype: DType): number | bigint | undefined {
  const { kind, size } = DTYPES[dtype]
  if (typeof value === 'boolean') return Number(value)
  if (typeof value === 'number' && !Number.isSafeInteger(value)) return undefined
  const whole = BigInt(value)
  if ((kind === 'int' ? BigInt.asIntN(8 * size, whole) : BigInt.asUintN(8 * size, whole)) !== whole) return undefined
  return size === 8 ? whole : Number(whole)
}

/** By values of a row group, then by field: made once, for all its ranges. */
const filled = new WeakMap<ParquetValues, Map<string, ParquetValues>>()

/** The values with the field's default where there were none. */
export function withDefault(values: ParquetValues, field: ParquetField): ParquetValues {
  if (values.nulls === undefined) return values
  let byField = filled.get(values)
  if (byField === undefined) filled.set(values, byField = new Map())
  let made = byField.get(field.field)
  if (made === undefined) byField.set(field.field, made = fill(values, values.nulls, defaultOf(field)))
  return made
}

function fill({ data, offsets }: ParquetValues, nulls: Uint8Array, otherwise: TypedArray): ParquetValues {
  if (offsets === undefined) {
    const copy = data.slice()
    nulls.forEach((isNull, row) => { if (isNull === 1) copy[row] = otherwise[0] as never })
    return { data: copy, offsets, nulls: undefined }
  }
  const moved = new Float64Array(offsets.length)
  nulls.forEach((isNull, row) => { moved[row + 1] = moved[row]! + (isNull === 1 ? otherwise.length : offsets[row + 1]! - offsets[row]!) })
  const copy = new (data.constructor as new (length: number) => Uint8Array)(moved.at(-1)!)
  nulls.forEach((isNull, row) => copy.set((isNull === 1 ? otherwise : data.subarray(offsets[row], offsets[row + 1])) as Uint8Array, moved[row]))
  return { data: copy, offsets: moved, nulls: undefined }
}
