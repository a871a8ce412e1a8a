import type { FileOptions } from './file.js'
import { LinesFile } from './json-lines.js'
import { kindOf, parseRecord, JsonFault } from './json-record.js'
import { ParquetFile } from './parquet-reader.js'

export interface TableInfo {
  readonly path: string
  readonly format: 'jsonl' | 'parquet'
  readonly bytes: number
  readonly rows: number
  readonly columns: readonly TableColumnInfo[]
}

export interface TableColumnInfo {
  readonly name: string
  /** What a field of it would hold: `text`, `bytes`, `int32`, `float64 list`; or what it is that cannot be one. */
  readonly type: string
  readonly usable: boolean
}

/** What a .jsonl file holds, for people: its columns as the first line has them. */
export async function inspectJsonl(path: string | URL, options: FileOptions = {}): Promise<TableInfo> {
  const lines = await LinesFile.open(path, options)
  try {
    const record = lines.length === 0 ? {} : parseRecord(lines.bytes(0))
    const columns = Object.entries(record).map(([name, value]): TableColumnInfo => {
      const kind = kindOf(value)
      return { name, type: kind === undefined ? value === null ? 'null' : Array.isArray(value) ? 'a list of other things' : 'an object' : kind === 'number' ? 'float64' : kind === 'list' ? 'float64 list' : kind, usable: kind !== undefined }
    })
    return { path: lines.file.path, format: 'jsonl', bytes: lines.file.size, rows: lines.length, columns }
  } catch (error) {
    throw error instanceof JsonFault ? error.at(lines.file.path, `line ${lines.number(0)}`) : error
  } finally {
    lines.file.close()
  }
}

/** What a .parquet file holds, for people; from its footer. */
export async function inspectParquet(path: string | URL, options: FileOptions = {}): Promise<TableInfo> {
  const table = await ParquetFile.open(path, options)
  try {
    const columns = table.facts.columns.map(({ name, kind, dtype, unusable }): TableColumnInfo => ({ name, type: unusable ?? (kind === 'scalar' ? dtype : kind === 'list' ? `${dtype} list` : kind), usable: unusable === undefined }))
    return { path: table.file.path, format: 'parquet', bytes: table.file.size, rows: table.length, columns }
  } finally {
    table.close()
  }
}
