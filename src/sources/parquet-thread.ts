import { isUtf8 } from 'node:buffer'
import { parentPort, workerData } from 'node:worker_threads'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import type { AsyncBuffer, Compressors, FileMetaData, SchemaTree } from 'hyparquet'
import { DTYPES, sizeOf, type DType, type TypedArray } from '../core/dtype.js'
import type { MappedFile } from '../native/addon.js'
import { native } from '../native/load.js'
import { brief } from './brief.js'
import { DECODED_BYTES_MAX, unpackPages, type PageTools } from './parquet-pages.js'
import { recordEnd } from './parquet-thrift.js'
import { chunkRange, factsOf, FOOTER_BYTES_MAX, ParquetError, type ParquetColumn, type ParquetFacts, type ParquetFault } from './parquet-schema.js'

/**
 * Decodes row groups of one file: on a thread, because that takes seconds, and in a heap of its own, because a page can ask for more memory than there is and work without end, and only a thread can be ended for it.
 */
export type ParquetRequest = { readonly id: number; readonly group: number; readonly column: string }

/** One column of a row group. */
export interface ParquetValues {
  /** Values of all rows, one after the other; 0 where there is none. */
  readonly data: TypedArray
  /** Of texts, bytes and lists: where those of each row begin, and the end. */
  readonly offsets: Float64Array | undefined
  /** 1 for each row that is null; undefined where none is. */
  readonly nulls: Uint8Array | undefined
}

export type ParquetReply =
  | { readonly id: number; readonly kind: 'facts'; readonly facts: ParquetFacts }
  | { readonly id: number; readonly kind: 'values'; readonly values: ParquetValues }
  | { readonly id: number; readonly kind: 'fault'; readonly fault: ParquetFault }
  | { readonly id: number; readonly kind: 'missing'; readonly message: string }

type Library = typeof import('hyparquet') & PageTools

interface Opened {
  readonly library: Library
  readonly mapped: MappedFile
  readonly metadata: FileMetaData
  readonly facts: ParquetFacts
}

const opening = open((workerData as { path: string }).path)
void answer(0, async () => ({ id: 0, kind: 'facts', facts: (await opening).facts }))
parentPort!.on('message', ({ id, group, column }: ParquetRequest) => {
  void answer(id, async () => ({ id, kind: 'values', values: await read(await opening, group, column) }))
})

class Missing extends Error {}

async function answer(id: number, work: () => Promise<ParquetReply>): Promise<void> {
  let reply: ParquetReply
  try {
    reply = await work()
  } catch (error) {
    if (error instanceof Missing) reply = { id, kind: 'missing', message: error.message }
    // What the package throws of its own accord is about the bytes.
    else reply = { id, kind: 'fault', fault: error instanceof ParquetError ? error.fault : { kind: 'format', place: 'file', expected: 'a Parquet file', found: brief((error as Error).message) } }
  }
  const buffers = reply.kind === 'values' ? [reply.values.data, reply.values.offsets, reply.values.nulls].flatMap((array) => array === undefined ? [] : [array.buffer as ArrayBuffer]) : []
  parentPort!.postMessage(reply, buffers)
}

async function load(): Promise<Library> {
  try {
    const [library, { parquetHeader }, { deltaBinaryUnpack }, codecs] = await Promise.all([import('hyparquet'), import('hyparquet/src/column.js'), import('hyparquet/src/delta.js'), import('hyparquet-compressors')])
    const compressors: Compressors = {
      ...codecs.compressors,
      // Node's own are faster; and into given memory, or up to a length, nothing unpacks to more than it says.
      GZIP: (input, length) => gunzipSync(input, { maxOutputLength: Math.max(1, length) }),
      BROTLI: (input, length) => brotliDecompressSync(input, { maxOutputLength: Math.max(1, length) }),
      ZSTD: (input, length) => codecs.decompressZstd(input, new Uint8Array(length)),
    }
    return { ...library, parquetHeader, deltaBinaryUnpack, compressors }
  } catch (cause) {
    throw new Missing((cause as Error).message)
  }
}

async function open(path: string): Promise<Opened> {
  const library = await load()
  const mapped = new (native().MappedFile)(path)
  const { size } = mapped
  const ends = size < 12 ? undefined : Buffer.from(await bytesOf(mapped, size - 8, size))
  const magic = ends?.toString('latin1', 4, 8)
  if (magic === 'PARE') throw new ParquetError('footer', 'one that is not encrypted', 'PARE', 'unsupported')
  if (magic !== 'PAR1') throw new ParquetError('file', 'PAR1 at its end', magic === undefined ? `${size} bytes` : brief(magic))
  const footer = ends!.readUInt32LE(0)
  if (footer > Math.min(size - 12, FOOTER_BYTES_MAX)) throw new ParquetError('footer', `at most ${Math.min(size - 12, FOOTER_BYTES_MAX)} bytes`, `${footer}`)
  const record = await bytesOf(mapped, size - 8 - footer, size)
  recordEnd(new DataView(record, 0, footer), 0)
  const metadata = library.parquetMetadata(record, { geoparquet: false })
  return { library, mapped, metadata, facts: factsOf(metadata, library.parquetSchema(metadata), size) }
}

/** A copy, so that nothing that is decoded lies in the mapping. */
async function bytesOf(mapped: MappedFile, start: number, stop: number): Promise<ArrayBuffer> {
  if (start === stop) return new ArrayBuffer(0)
  await mapped.populate(start, stop - start)
  const copy = mapped.view(start, stop - start).slice(0)
  mapped.drop(start, stop - start)
  return copy
}

async function read({ library, mapped, metadata, facts }: Opened, group: number, name: string): Promise<ParquetValues> {
  const column = facts.columns.find((each) => each.name === name)!
  const place = `row group ${group}, column ${brief(name)}`
  const rows = facts.groups[group]!
  const rowStart = facts.groups.slice(0, group).reduce((sum, count) => sum + count, 0)
  if (rows === 0) return valuesOf(column, [], 0, rowStart)
  const chunks = metadata.row_groups[group]!.columns.filter(({ meta_data: each }) => each!.path_in_schema[0] === name)
  if (chunks.length !== 1) throw new ParquetError(place, 'pages of one column', `of ${chunks.length}`)
  const chunk = chunks[0]!.meta_data!
  const { start, stop } = chunkRange(chunk)
  const pages = await bytesOf(mapped, start, stop)
  if (column.kind !== 'list' && Number(chunk.num_values) !== rows) throw new ParquetError(place, `${rows} values`, `${chunk.num_values}`)
  const unpacked = packed(place, () => unpackPages(library, pages, {
    values: Number(chunk.num_values), bytes: Number(chunk.total_uncompressed_size), codec: chunk.codec, path: pathTo(library.parquetSchema(metadata), chunk.path_in_schema), place,
  }))
  const next = (): Uint8Array => unpacked.shift()!
  const file: AsyncBuffer = {
    byteLength: mapped.size,
    slice(from, to) {
      if (from !== start || to !== stop) throw new ParquetError(place, `pages at bytes ${start} to ${stop}`, `${from} to ${to}`)
      return pages
    },
  }
  const parts: { at: number; data: ArrayLike<unknown> }[] = []
  try {
    await library.parquetRead({
      file, metadata, columns: [name], rowStart, rowEnd: rowStart + rows, compressors: { [chunk.codec]: next }, utf8: false,
      // Texts stay the bytes they are.
      parsers: { stringFromBytes: (bytes: Uint8Array) => bytes, jsonFromBytes: (bytes: Uint8Array) => bytes } as never,
      onChunk: ({ columnData, rowStart: at }) => { parts.push({ at, data: columnData }) },
    })
  } catch (cause) {
    throw cause instanceof ParquetError ? cause : new ParquetError(place, 'sound pages', brief((cause as Error).message))
  }
  const values: unknown[] = []
  for (const { data } of parts.sort((a, b) => a.at - b.at)) for (let k = 0; k < data.length && values.length < rows; k++) values.push(data[k])
  if (values.length !== rows) throw new ParquetError(place, `${rows} rows`, `${values.length}`)
  return valuesOf(column, values, rows, rowStart)
}

/** What the package throws while it reads pages is about them. */
function packed<T>(place: string, work: () => T): T {
  try {
    return work()
  } catch (cause) {
    throw cause instanceof ParquetError ? cause : new ParquetError(place, 'sound pages', brief((cause as Error).message))
  }
}

function pathTo(root: SchemaTree, names: readonly string[]): SchemaTree[] {
  const path = [root]
  for (const name of names) {
    const child = path.at(-1)!.children.find(({ element }) => element.name === name)
    if (child === undefined) throw new ParquetError('footer', `a column ${brief(names.join('.'))}`, 'none')
    path.push(child)
  }
  return path
}

function valuesOf({ kind, dtype, name }: ParquetColumn, values: readonly unknown[], rows: number, rowStart: number): ParquetValues {
  const at = (row: number): string => `row ${rowStart + row}, column ${brief(name)}`
  let nulls: Uint8Array | undefined
  const isNull = (row: number): boolean => {
    // Lists that are null come as undefined.
    if (values[row] === undefined && kind !== 'list') throw new ParquetError(at(row), 'a place in the dictionary', 'one beyond its end')
    if (values[row] !== null && values[row] !== undefined) return false
    nulls ??= new Uint8Array(rows)
    nulls[row] = 1
    return true
  }
  if (kind === 'scalar') {
    const data = newArray(dtype, rows)
    for (let row = 0; row < rows; row++) if (!isNull(row)) data[row] = numberOf(values[row], dtype, at(row)) as never
    return { data, offsets: undefined, nulls }
  }
  const offsets = new Float64Array(rows + 1)
  for (let row = 0; row < rows; row++) {
    const length = isNull(row) ? 0 : (values[row] as { length?: unknown }).length
    if (typeof length !== 'number') throw new ParquetError(at(row), kind === 'list' ? 'a list' : 'bytes', brief(values[row]))
    offsets[row + 1] = offsets[row]! + length
  }
  // A dictionary says a long text in a bit.
  const bytes = offsets[rows]! * (kind === 'list' ? sizeOf(dtype) : 1)
  if (bytes > DECODED_BYTES_MAX) throw new ParquetError(at(0), `at most ${DECODED_BYTES_MAX} bytes in a row group; write smaller ones`, `${bytes}`, 'unsupported')
  const data = newArray(kind === 'list' ? dtype : 'uint8', offsets[rows]!)
  for (let row = 0; row < rows; row++) {
    if (nulls?.[row] === 1) continue
    if (kind === 'list') {
      const list = values[row] as ArrayLike<unknown>
      for (let k = 0; k < list.length; k++) data[offsets[row]! + k] = numberOf(list[k], dtype, at(row)) as never
    } else {
      const bytes = values[row]
      if (!(bytes instanceof Uint8Array)) throw new ParquetError(at(row), 'bytes', brief(bytes))
      if (kind === 'text' && !isUtf8(bytes)) throw new ParquetError(at(row), 'UTF-8', 'bytes that are none')
      ;(data as Uint8Array).set(bytes, offsets[row])
    }
  }
  return { data, offsets, nulls }
}

function newArray(dtype: DType, length: number): TypedArray {
  const { array } = DTYPES[dtype]
  return new array(new ArrayBuffer(length * array.BYTES_PER_ELEMENT))
}

function numberOf(value: unknown, dtype: DType, place: string): number | bigint {
  const wide = dtype === 'int64' || dtype === 'uint64'
  if (typeof value === 'boolean' && dtype === 'bool') return value ? 1 : 0
  if (typeof value === (wide ? 'bigint' : 'number') && dtype !== 'bool') return value as number | bigint
  throw new ParquetError(place, dtype === 'bool' ? 'true or false' : `a number in every place of a list`, brief(value))
}
