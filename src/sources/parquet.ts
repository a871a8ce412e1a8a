import { canonicalJson } from '../core/canonical.js'
import { DTYPES } from '../core/dtype.js'
import { FormatError, UnsupportedError } from '../core/errors.js'
import { badFieldName } from '../core/names.js'
import { checkOptions, nearest, show } from '../core/options.js'
import type { Rows } from '../core/rows.js'
import type { FieldSpec, FieldSpecs, Tensor } from '../core/tensor.js'
import { brief } from './brief.js'
import { columnChoices, fullPath, pathList, pathOf, type ColumnChoice, type ColumnOptions } from './columns.js'
import type { FileOptions } from './file.js'
import { checkFieldName, checkFields, checkRange } from './names.js'
import { defaultOf, withDefault, type ParquetField } from './parquet-defaults.js'
import { ParquetFile } from './parquet-reader.js'
import type { ParquetColumn } from './parquet-schema.js'
import type { ParquetValues } from './parquet-thread.js'
import { TextIds } from './row-ids.js'
import type { ItemRun, ReadOptions, Source } from './source.js'

/** Options of `parquet`. */
export interface ParquetOptions extends FileOptions {
  /** Columns by field: `{ text: 'content', label: { column: 'label', default: -1 } }`, or `['text', 'label']`. Default: every column that can be one. */
  readonly fields?: readonly string[] | Readonly<Record<string, string | Omit<ColumnOptions, 'dtype'>>>
  /** Column of the items' names, texts or integers, each different; read while opening. Default: file name without suffix, and row: `train/17`. */
  readonly id?: string
}

const OPTIONS = ['fields', 'id', 'residencyBytes']
/** Rows of one run; runs are views of the decoded row group. */
const RUN_ROWS = 8192

interface Part {
  readonly table: ParquetFile
  /** Items before this file's. */
  readonly first: number
}

/**
 * Rows of Parquet files. Opening reads the footer; of each row group only the columns that are asked for are decoded, on a thread, when one of its items is read.
 *
 * Fields: texts and binary columns are uint8 [bytes]; booleans bool []; numbers [] of the column's dtype (float16 as float32); lists of numbers [n]. A null is an error naming file, row and column unless there is a default.
 *
 * Rejects with FileError, FormatError for a damaged or hostile file, UnsupportedError for columns of other types and encrypted files.
 */
export async function parquet(paths: string | URL | readonly (string | URL)[], options: ParquetOptions = {}): Promise<Source> {
  const where = 'parquet'
  checkOptions(where, options, OPTIONS)
  const list = pathList(where, paths)
  const choices = columnChoices(where, options.fields, [])
  const idPath = options.id === undefined ? undefined : pathOf(`${where}: id`, options.id)
  const { residencyBytes } = options
  const parts: Part[] = []
  try {
    let first = 0
    for (const path of list) {
      const table = await ParquetFile.open(path, { ...(residencyBytes !== undefined && { residencyBytes }) })
      parts.push({ table, first })
      first += table.length
    }
    const id = idPath?.join('.')
    const fields = fieldsOf(parts[0]!.table, choices, id)
    for (const { table } of parts.slice(1)) for (const field of fields) requireSame(table, field, parts[0]!.table)
    const ids = new TextIds(parts.map(({ table, first: at }) => ({ path: table.file.path, first: at })))
    if (id !== undefined) await readIds(parts, id, ids)
    const description = { type: where, path: list.length === 1 ? fullPath(list[0]!) : list.map(fullPath), ...(options.fields && { fields: options.fields }), ...(id !== undefined && { id }) }
    return new ParquetSource(parts, fields, ids, id, description)
  } catch (error) {
    for (const { table } of parts) table.close()
    throw error
  }
}

class ParquetSource implements Source {
  // A change of version makes every item made from such files a miss.
  readonly reader = { name: 'parquet', version: 1 }
  readonly length: number
  readonly fields: FieldSpecs
  readonly constants = {}
  readonly description: Source['description']
  readonly selection: unknown
  readonly files: Source['files']
  readonly #parts: readonly Part[]
  readonly #fields: Readonly<Record<string, ParquetField>>
  readonly #ids: TextIds

  constructor(parts: readonly Part[], fields: readonly ParquetField[], ids: TextIds, id: string | undefined, description: Source['description']) {
    this.#parts = parts
    this.#ids = ids
    this.#fields = Object.fromEntries(fields.map((field) => [field.field, field]))
    this.length = parts.reduce((sum, { table }) => sum + table.length, 0)
    this.fields = Object.freeze(Object.fromEntries(fields.map((field) => [field.field, specOf(field)])))
    this.description = JSON.parse(canonicalJson(description)) as Source['description']
    this.selection = { columns: fields.map(({ field, name, length, default: otherwise }) => [field, name, length ?? null, otherwise ?? null]), id: id ?? null }
    this.files = parts.map(({ table }) => table.file.sourceFile())
  }

  id(index: number): string {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.length) throw new TypeError(`id: index must be from 0 to ${this.length - 1}, not ${show(index)}`)
    return this.#ids.id(index)
  }

  async * read(start: number, stop: number, { fields, signal }: ReadOptions): AsyncGenerator<ItemRun> {
    checkRange(start, stop, this.length)
    checkFields(fields, this.fields)
    signal?.throwIfAborted()
    for (const { table, first } of this.#parts) {
      const { starts } = table
      for (let group = 0; group < starts.length - 1; group++) {
        const from = Math.max(start - first, starts[group]!)
        const to = Math.min(stop - first, starts[group + 1]!)
        if (from >= to) continue
        const columns: ParquetValues[] = []
        for (const name of fields) {
          columns.push(await table.values(group, this.#fields[name]!.name))
          signal?.throwIfAborted()
        }
        for (let at = from; at < to; at += RUN_ROWS) {
          const end = Math.min(to, at + RUN_ROWS)
          signal?.throwIfAborted()
          table.file.assertUnchanged()
          const rows = fields.map((name, k): [string, Rows] => [name, rowsOf(table, this.#fields[name]!, columns[k]!, starts[group]!, at, end)])
          yield { start: first + at, count: end - at, fields: Object.fromEntries(rows) }
        }
      }
    }
  }

  release(start: number, stop: number): void {
    for (const { table, first } of this.#parts) {
      // Before the end the next range may be of the same row group.
      if (start - first < table.length && stop - first >= table.length) table.release()
    }
  }

  assertUnchanged(): void {
    for (const { table } of this.#parts) table.file.assertUnchanged()
  }

  close(): void {
    for (const { table } of this.#parts) table.close()
  }
}

function fieldsOf(table: ParquetFile, choices: readonly ColumnChoice[] | undefined, id: string | undefined): ParquetField[] {
  const { path } = table.file
  if (choices !== undefined) {
    return choices.map((choice) => {
      const name = choice.path.join('.')
      const column = usable(table, `fields.${choice.field}`, name)
      if (choice.length !== undefined && column.kind !== 'list') throw new TypeError(`parquet: fields.${choice.field}.length is for lists, and ${path} has none in column ${show(name)}`)
      const field: ParquetField = { ...choice, name, column }
      if (choice.default !== undefined) defaultOf(field)
      return field
    })
  }
  const fields: ParquetField[] = []
  for (const column of table.facts.columns) {
    const { name } = column
    if (name === id || column.unusable !== undefined) continue
    if (badFieldName(name) !== undefined) checkFieldName(`${path}: column ${brief(name)} (choose its name with \`fields\`)`, name)
    fields.push({ field: name, path: [name], name, column, dtype: undefined, length: undefined, default: undefined })
  }
  if (fields.length === 0) throw new UnsupportedError({ file: path, place: 'columns', reason: table.facts.columns.length === 0 ? 'there are none' : `none of ${namesOf(table)} can be a field` })
  return fields
}

/** A column that is asked for by name. */
function usable(table: ParquetFile, option: string, name: string): ParquetColumn {
  const found = table.facts.columns.filter((column) => column.name === name)
  const { path } = table.file
  if (found.length === 0) {
    const near = nearest(name, table.facts.columns.map((column) => column.name))
    throw new TypeError(`parquet: ${option}: ${path} has no column ${show(name)}; ${near === undefined ? `there are ${namesOf(table)}` : `did you mean ${show(near)}?`}`)
  }
  if (found.length > 1) throw new FormatError({ file: path, place: 'footer', expected: 'each column once', found: `${brief(name)} again` })
  const [column] = found
  if (column!.unusable !== undefined) throw new UnsupportedError({ file: path, place: `column ${brief(name)}`, reason: `it is ${column!.unusable}` })
  return column!
}

function requireSame(table: ParquetFile, { field, name, column }: ParquetField, first: ParquetFile): void {
  const other = usable(table, `fields.${field}`, name)
  if (other.kind === column.kind && other.dtype === column.dtype) return
  const typeOf = ({ kind, dtype }: ParquetColumn): string => kind === 'list' ? `a list of ${dtype}` : kind === 'scalar' ? dtype : kind
  throw new FormatError({ file: table.file.path, place: `column ${brief(name)}`, expected: `${typeOf(column)}, as in ${first.file.path}`, found: typeOf(other) })
}

function namesOf(table: ParquetFile): string {
  const names = table.facts.columns.map(({ name }) => brief(name))
  return `${names.slice(0, 20).join(', ')}${names.length > 20 ? ', …' : ''}`
}

function specOf({ column: { kind, dtype }, length }: ParquetField): FieldSpec {
  return { dtype, shape: kind === 'scalar' ? [] : [length ?? null] }
}

/** Rows `from … to` of the file, of which `values` begins at row `base`. */
function rowsOf(table: ParquetFile, field: ParquetField, values: ParquetValues, base: number, from: number, to: number): Rows {
  const { column: { dtype }, length } = field
  const { data, offsets, nulls } = field.default === undefined ? values : withDefault(values, field)
  const fault = (row: number, expected: string, found: string): FormatError => new FormatError({ file: table.file.path, place: `row ${row}, column ${brief(field.name)}`, expected, found })
  if (field.default === undefined && nulls !== undefined) {
    const at = nulls.subarray(from - base, to - base).indexOf(1)
    if (at >= 0) throw fault(from + at, 'a value (or `default`)', 'null')
  }
  if (offsets === undefined) return { dtype, shape: [to - from], data: data.subarray(from - base, to - base) } as Tensor
  const rows = offsets.subarray(from - base, to - base + 1)
  if (length === undefined) return { dtype, tail: [], offsets: rows, data }
  for (let k = 0; k + 1 < rows.length; k++) if (rows[k + 1]! - rows[k]! !== length) throw fault(from + k, `a list of ${length} numbers`, `one of ${rows[k + 1]! - rows[k]!}`)
  return { dtype, shape: [to - from, length], data: data.subarray(rows[0], rows.at(-1)) } as Tensor
}

async function readIds(parts: readonly Part[], name: string, ids: TextIds): Promise<void> {
  for (const { table } of parts) {
    const { path } = table.file
    const { kind, dtype } = usable(table, 'id', name)
    if (!(kind === 'text' || kind === 'scalar' && DTYPES[dtype].kind !== 'float' && dtype !== 'bool')) throw new UnsupportedError({ file: path, place: `column ${brief(name)}`, reason: `ids must be texts or integers, not ${kind === 'scalar' ? dtype : kind}` })
    for (let group = 0; group + 1 < table.starts.length; group++) {
      const { data, offsets, nulls } = await table.values(group, name)
      const rows = table.starts[group + 1]! - table.starts[group]!
      for (let row = 0; row < rows; row++) {
        const id = offsets === undefined ? String(data[row]) : Buffer.from(data.buffer, offsets[row], offsets[row + 1]! - offsets[row]!).toString()
        const place = `row ${table.starts[group]! + row}, column ${brief(name)}`
        if (nulls?.[row] === 1 || id === '') throw new FormatError({ file: path, place, expected: 'an id', found: nulls?.[row] === 1 ? 'null' : 'none' })
        const before = ids.add(id)
        if (before !== undefined) throw new FormatError({ file: path, place, expected: 'each id once', found: `${brief(id)} of item ${before} again` })
      }
    }
    table.release()
  }
}
