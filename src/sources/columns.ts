import { fileURLToPath } from 'node:url'
import { resolve } from 'node:path'
import { isDType, type DType } from '../core/dtype.js'
import { checkOptions, number, show } from '../core/options.js'
import { checkFieldName } from './names.js'

/** Where a field's values stand in a row, and what they must be. */
export interface ColumnOptions {
  /** Name of the column; in JSON names within names too, `meta.label`. A list of names where they hold dots: `['meta', 'v1.0']`. */
  readonly column: string | readonly string[]
  /** Of numbers: every number must fit. Default: float64 in JSON lines, the column's own in Parquet. */
  readonly dtype?: DType
  /** Of lists: each must have so many numbers. Default: they may differ. */
  readonly length?: number
  /** Where the column is missing or null. Default: that is an error. */
  readonly default?: ColumnDefault
}

/** What stands in a column where a value is missing. */
export type ColumnDefault = string | boolean | number | bigint | readonly number[]

/** Columns by field: `{ text: 'text', label: 'meta.label' }`, or `['text', 'label']` where the names are the same. */
export type FieldColumns = readonly string[] | Readonly<Record<string, string | ColumnOptions>>

/** One column that is read, checked. */
export interface ColumnChoice {
  readonly field: string
  /** Steps from the row to the value; one, except in JSON. */
  readonly path: readonly string[]
  readonly dtype: DType | undefined
  readonly length: number | undefined
  readonly default: ColumnDefault | undefined
}

/** A list's numbers at most: an axis of a tensor. */
const LENGTH_MAX = 2 ** 31 - 1

/** Undefined when nothing was chosen. `dtypes` are those that values can be given as. Throws TypeError. */
export function columnChoices(where: string, given: unknown, dtypes: readonly DType[]): ColumnChoice[] | undefined {
  if (given === undefined) return undefined
  if (typeof given !== 'object' || given === null) throw new TypeError(`${where}: fields must be { field: column } or a list of columns, not ${show(given)}`)
  const pairs: (readonly [string, unknown])[] = Array.isArray(given) ? given.map((name: unknown) => [String(name), name] as const) : Object.entries(given)
  if (pairs.length === 0) throw new TypeError(`${where}: fields names no column`)
  const seen = new Set<string>()
  return pairs.map(([field, value]) => {
    checkFieldName(`${where}: fields`, field)
    if (seen.has(field)) throw new TypeError(`${where}: fields names ${show(field)} twice`)
    seen.add(field)
    if (typeof value === 'string') return { field, path: pathOf(`${where}: fields.${field}`, value), dtype: undefined, length: undefined, default: undefined }
    return columnOf(`${where}: fields.${field}`, field, value, dtypes)
  })
}

function columnOf(where: string, field: string, value: unknown, dtypes: readonly DType[]): ColumnChoice {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new TypeError(`${where} must be the name of a column or { column, … }, not ${show(value)}`)
  checkOptions(where, value, ['column', 'dtype', 'length', 'default'])
  const { column, dtype, length, default: otherwise } = value as Partial<ColumnOptions>
  if (dtype !== undefined && dtypes.length === 0) throw new TypeError(`${where}.dtype: these columns have dtypes of their own; the op cast gives another`)
  if (dtype !== undefined && !(isDType(dtype) && dtypes.includes(dtype))) throw new TypeError(`${where}.dtype must be one of ${dtypes.join(', ')}, not ${show(dtype)}`)
  const isList = Array.isArray(otherwise) && otherwise.every((element) => typeof element === 'number')
  if (otherwise !== undefined && !isList && !['string', 'boolean', 'number', 'bigint'].includes(typeof otherwise)) throw new TypeError(`${where}.default must be a text, a number, true, false or a list of numbers, not ${show(otherwise)}`)
  return { field, path: pathOf(`${where}.column`, column), dtype, length: length === undefined ? undefined : number(where, 'length', length, { integer: true, min: 0, max: LENGTH_MAX }), default: otherwise }
}

/** Steps to a column that is named by an option. */
export function pathOf(where: string, column: unknown): readonly string[] {
  const path = typeof column === 'string' ? column.split('.') : column
  if (!Array.isArray(path) || path.length === 0 || path.some((step) => typeof step !== 'string' || step === '')) throw new TypeError(`${where} must be the name of a column, not ${show(column)}`)
  return path as string[]
}

/** A list of paths from one path or several, for functions that take either. */
export function pathList(where: string, paths: unknown): readonly (string | URL)[] {
  const list: readonly unknown[] = Array.isArray(paths) ? paths : [paths]
  if (list.length === 0) throw new TypeError(`${where}: no path given`)
  for (const path of list) if (typeof path !== 'string' && !(path instanceof URL)) throw new TypeError(`${where}: path must be a string or a file: URL, not ${show(path)}`)
  return list as readonly (string | URL)[]
}

/** Absolute, as descriptions have them. */
export function fullPath(path: string | URL): string {
  return resolve(typeof path === 'string' ? path : fileURLToPath(path))
}
