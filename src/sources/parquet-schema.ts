import type { FileMetaData, SchemaElement, SchemaTree } from 'hyparquet'
import type { DType } from '../core/dtype.js'
import { brief } from './brief.js'

/** The gate of a Parquet file's footer, behind the package that parses it. Limits: */
export const FOOTER_BYTES_MAX = 32 * 2 ** 20
/** Of one column of a row group; writers make row groups of a million rows, or of 128 MB. */
const GROUP_ROWS_MAX = 2 ** 24
const VALUES_MAX = 2 ** 27
const CHUNK_BYTES_MAX = 2 ** 30

/** `text` is UTF-8, `bytes` is anything; `list` is of numbers or bools. */
export type ParquetKind = 'text' | 'bytes' | 'scalar' | 'list'

export interface ParquetColumn {
  readonly name: string
  readonly kind: ParquetKind
  readonly dtype: DType
  /** Why it cannot be a field; the rest then means nothing. */
  readonly unusable: string | undefined
}

export interface ParquetFacts {
  readonly columns: readonly ParquetColumn[]
  /** Rows of each row group. */
  readonly groups: readonly number[]
}

/** What is wrong with a file; crosses threads as data. */
export interface ParquetFault {
  readonly kind: 'format' | 'unsupported'
  readonly place: string
  readonly expected: string
  readonly found: string
}

export class ParquetError extends Error {
  readonly fault: ParquetFault
  constructor(place: string, expected: string, found: string, kind: ParquetFault['kind'] = 'format') {
    super(`${place}: expected ${expected}, found ${found}`)
    this.fault = { kind, place, expected, found }
  }
}

/** What a file of `size` bytes holds. Throws ParquetError for a footer that cannot be true of it. */
export function factsOf(metadata: FileMetaData, tree: SchemaTree, size: number): ParquetFacts {
  if (tree.children.some(({ element }) => typeof element.name !== 'string')) throw new ParquetError('footer', 'a name for each column', 'none')
  const columns = tree.children.map(columnOf)
  const groups = metadata.row_groups.map((group, g) => {
    const place = `row group ${g}`
    const rows = Number(group.num_rows)
    if (!Number.isSafeInteger(rows) || rows < 0) throw new ParquetError(place, 'a number of rows', brief(rows))
    if (rows > GROUP_ROWS_MAX) throw new ParquetError(place, `at most ${GROUP_ROWS_MAX} rows, for row groups are decoded whole; write smaller ones`, `${rows}`, 'unsupported')
    for (const { file_path, meta_data: chunk, crypto_metadata } of group.columns) {
      if (crypto_metadata !== undefined || chunk === undefined) throw new ParquetError(place, 'columns that are not encrypted', 'one that is', 'unsupported')
      const at = `${place}, column ${brief(chunk.path_in_schema.join('.'))}`
      if (file_path !== undefined && file_path !== '') throw new ParquetError(at, 'data in the file itself', `data in ${brief(file_path)}`, 'unsupported')
      const { start, stop } = chunkRange(chunk)
      if (!(start >= 4 && stop >= start && stop <= size - 8)) throw new ParquetError(at, `bytes within the file's ${size}`, `bytes ${start} to ${stop}`)
      const bytes = Math.max(stop - start, Number(chunk.total_uncompressed_size))
      if (!(bytes <= CHUNK_BYTES_MAX) || !(Number(chunk.num_values) <= VALUES_MAX)) throw new ParquetError(at, `at most ${CHUNK_BYTES_MAX} bytes and ${VALUES_MAX} values in a row group; write smaller ones`, `${bytes} and ${chunk.num_values}`, 'unsupported')
      if (Number(chunk.num_values) < 0) throw new ParquetError(at, 'a number of values', `${chunk.num_values}`)
    }
    return rows
  })
  const total = groups.reduce((sum, rows) => sum + rows, 0)
  if (BigInt(total) !== BigInt(metadata.num_rows)) throw new ParquetError('footer', `${metadata.num_rows} rows in all row groups`, `${total}`)
  return { columns, groups }
}

type ChunkFacts = NonNullable<FileMetaData['row_groups'][number]['columns'][number]['meta_data']>

/** Where the pages of a column of a row group lie. */
export function chunkRange({ dictionary_page_offset: dictionary, data_page_offset: data, total_compressed_size: bytes }: ChunkFacts): { start: number; stop: number } {
  // Some writers leave a dictionary offset of 0 where there is none.
  const start = Number(dictionary !== undefined && dictionary !== 0n ? dictionary : data)
  return { start, stop: start + Number(bytes) }
}

function columnOf(node: SchemaTree): ParquetColumn {
  const { element, children } = node
  const { name } = element
  if (children.length === 0) {
    const leaf = leafOf(element)
    if (typeof leaf === 'string') return unusable(name, leaf)
    if (element.repetition_type !== 'REPEATED') return { name, ...leaf, unusable: undefined }
    return leaf.kind === 'scalar' ? { name, kind: 'list', dtype: leaf.dtype, unusable: undefined } : unusable(name, 'a list of texts')
  }
  if (element.converted_type !== 'LIST' && element.logical_type?.type !== 'LIST') return unusable(name, 'a structure; only its columns could be fields, and those are not read')
  const item = listItem(node)
  const leaf = item === undefined ? 'a list of structures or lists' : leafOf(item)
  if (typeof leaf === 'string') return unusable(name, leaf)
  return leaf.kind === 'scalar' ? { name, kind: 'list', dtype: leaf.dtype, unusable: undefined } : unusable(name, 'a list of texts')
}

/** The element of a list in three levels, or in two as older writers have it. */
function listItem({ element, children }: SchemaTree): SchemaElement | undefined {
  const [repeated] = children
  if (element.repetition_type === 'REPEATED' || children.length !== 1 || repeated!.element.repetition_type !== 'REPEATED') return undefined
  if (repeated!.children.length === 0) return repeated!.element
  const [item] = repeated!.children
  return repeated!.children.length === 1 && item!.children.length === 0 && item!.element.repetition_type !== 'REPEATED' ? item!.element : undefined
}

function unusable(name: string, reason: string): ParquetColumn {
  return { name, kind: 'bytes', dtype: 'uint8', unusable: reason }
}

const WIDTHS: Readonly<Record<string, DType>> = {
  INT_8: 'int8', INT_16: 'int16', INT_32: 'int32', INT_64: 'int64', UINT_8: 'uint8', UINT_16: 'uint16', UINT_32: 'uint32', UINT_64: 'uint64',
}

/** Kind and dtype, or why there is none. */
function leafOf({ type, converted_type: converted, logical_type: logical }: SchemaElement): { readonly kind: ParquetKind; readonly dtype: DType } | string {
  const scalar = (dtype: DType): { kind: 'scalar'; dtype: DType } => ({ kind: 'scalar', dtype })
  if (type === 'INT32' || type === 'INT64') {
    if (logical?.type === 'INTEGER') return scalar(`${logical.isSigned ? '' : 'u'}int${logical.bitWidth}` as DType)
    if (converted !== undefined) return Object.hasOwn(WIDTHS, converted) ? scalar(WIDTHS[converted]!) : `a column of type ${converted}; write it as a number`
    return logical === undefined ? scalar(type === 'INT32' ? 'int32' : 'int64') : `a column of type ${String(logical.type)}; write it as a number`
  }
  if (type === 'BOOLEAN') return scalar('bool')
  if (type === 'FLOAT') return scalar('float32')
  if (type === 'DOUBLE') return scalar('float64')
  // Every half is a float32; as its bits it would have to be told from uint16.
  if (type === 'FIXED_LEN_BYTE_ARRAY' && logical?.type === 'FLOAT16') return scalar('float32')
  if (type === 'BYTE_ARRAY') {
    if (converted === 'UTF8' || converted === 'ENUM' || converted === 'JSON' || logical?.type === 'STRING' || logical?.type === 'ENUM' || logical?.type === 'JSON') return { kind: 'text', dtype: 'uint8' }
    if (converted === undefined && logical === undefined) return { kind: 'bytes', dtype: 'uint8' }
  }
  return `a column of type ${converted ?? (logical === undefined ? undefined : String(logical.type)) ?? type ?? 'none'}`
}
