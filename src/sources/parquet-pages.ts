import type { Compressors, SchemaTree } from 'hyparquet'
import { brief } from './brief.js'
import { ParquetError } from './parquet-schema.js'
import { recordEnd } from './parquet-thrift.js'

/**
 * The gate of a column's pages. hyparquet trusts them: a run of a billion values is written into an array that grows, which ends not the thread but the process. So every page's header, runs and lengths are
 * walked through before it decodes any, and nothing may claim more than the column as a whole.
 */
export interface PageTools {
  readonly parquetHeader: typeof import('hyparquet/src/column.js').parquetHeader
  readonly deltaBinaryUnpack: typeof import('hyparquet/src/delta.js').deltaBinaryUnpack
  readonly compressors: Compressors
}

/** Of one page: the arrays for its levels and values are allocated in one piece, 8 bytes each. */
const PAGE_VALUES_MAX = 2 ** 24
/** Of one column of a row group, decoded. */
export const DECODED_BYTES_MAX = 2 ** 31

export interface ChunkFacts {
  readonly values: number
  /** Unpacked. */
  readonly bytes: number
  readonly codec: keyof Compressors | 'UNCOMPRESSED'
  /** From the root to the column. */
  readonly path: readonly SchemaTree[]
  readonly place: string
}

/** Unpacks the pages and walks through them. Gives them in order, as a decompressor is asked for them. */
export function unpackPages(tools: PageTools, chunk: ArrayBuffer, facts: ChunkFacts): Uint8Array[] {
  const { values, bytes, place } = facts
  const reader = { view: new DataView(chunk), offset: 0 }
  const fault = (expected: string, found: string): ParquetError => new ParquetError(place, expected, found)
  const pages: Uint8Array[] = []
  let counted = 0
  let total = 0
  let dictionaryValues: number | undefined
  // As hyparquet, which leaves a byte at the end alone.
  while (reader.offset < chunk.byteLength - 1) {
    const at = reader.offset
    recordEnd(reader.view, at)
    const { compressed_page_size: stored, uncompressed_page_size: size, dictionary_page_header: dictionary, data_page_header: v1, data_page_header_v2: v2, type } = tools.parquetHeader(reader)
    const data = v1 ?? v2
    const count = (data ?? dictionary)?.num_values
    const isSound = isCount(stored) && isCount(size) && reader.offset + stored <= chunk.byteLength && isCount(count) && (type === 'DICTIONARY_PAGE') === (data === undefined) && (type === 'DATA_PAGE_V2') === (v2 !== undefined)
    if (!isSound) throw fault('the header of a page', `sizes ${stored} and ${size}, ${count} values at byte ${at}`)
    // Writers count headers in, or not.
    total += size
    if (total > bytes + reader.offset) throw fault(`pages of ${bytes} bytes together`, 'more')
    // A dictionary has no more values than the column that uses it.
    if (count! > Math.min(values - (data === undefined ? 0 : counted), PAGE_VALUES_MAX)) throw fault(`at most ${values} values, and ${PAGE_VALUES_MAX} in a page`, `${count} in a page`)
    const packed = new Uint8Array(chunk, reader.offset, stored)
    reader.offset += stored
    const levels = v2 === undefined ? 0 : v2.repetition_levels_byte_length + v2.definition_levels_byte_length
    if (v2 !== undefined && !(isCount(v2.num_nulls) && v2.num_nulls <= count! && isCount(v2.num_rows) && v2.num_rows <= count! && isCount(v2.repetition_levels_byte_length) && isCount(v2.definition_levels_byte_length) && levels <= Math.min(stored, size))) {
      throw fault('the header of a page', `${v2.num_nulls} nulls, ${v2.num_rows} rows and ${levels} bytes of levels in ${count} values`)
    }
    const isPacked = facts.codec !== 'UNCOMPRESSED' && v2?.is_compressed !== false
    const body = isPacked ? unpack(tools, facts, packed.subarray(levels), size - levels) : packed.subarray(levels)
    if (isPacked) pages.push(body)
    const walk = new Walk(body, fault)
    if (data === undefined) {
      dictionaryValues = count
      continue
    }
    counted += count!
    const { maxDefinition, maxRepetition } = maxLevels(facts.path)
    let filled = count!
    if (v2 !== undefined) {
      const levelWalk = new Walk(packed.subarray(0, levels), fault)
      if (maxRepetition > 0) levelWalk.runs(bitWidth(maxRepetition), count!, v2.repetition_levels_byte_length)
      if (maxDefinition > 0) levelWalk.runs(bitWidth(maxDefinition), count!, v2.definition_levels_byte_length)
      filled -= v2.num_nulls
    } else {
      if (maxRepetition > 0) walk.runs(bitWidth(maxRepetition), count!, walk.uint32())
      if (maxDefinition > 0) filled = walk.runs(bitWidth(maxDefinition), count!, walk.uint32(), maxDefinition)
    }
    walk.values(data.encoding, filled, dictionaryValues, facts.path.at(-1)!.element.type === 'BOOLEAN', tools)
  }
  if (counted !== values) throw fault(`${values} values`, `${counted}`)
  return pages
}

function unpack({ compressors }: PageTools, { codec, place }: ChunkFacts, packed: Uint8Array, size: number): Uint8Array {
  const decompress = compressors[codec as keyof Compressors]
  if (decompress === undefined) throw new ParquetError(place, `pages packed with one of ${Object.keys(compressors).join(', ')}`, brief(codec), 'unsupported')
  const body = size === 0 ? new Uint8Array(0) : decompress(packed, size)
  if (body.length !== size) throw new ParquetError(place, `a page of ${size} bytes`, `${body.length}`)
  return body
}

/** Goes through a page as hyparquet does, and keeps nothing. */
class Walk {
  readonly #view: DataView
  readonly #fault: (expected: string, found: string) => ParquetError
  #offset = 0

  constructor(bytes: Uint8Array, fault: (expected: string, found: string) => ParquetError) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.#fault = fault
  }

  uint32(): number {
    this.#offset += 4
    return this.#view.getUint32(this.#offset - 4, true)
  }

  /** Runs of `count` small numbers that take `length` bytes. Gives how many of them are `wanted`. */
  runs(width: number, count: number, length: number, wanted = -1): number {
    const start = this.#offset
    if (width > 32 || start + length > this.#view.byteLength) throw this.#fault(`runs within the page`, `${length} bytes of numbers of ${width} bits`)
    let found = 0
    for (let seen = 0; seen < count;) {
      const header = this.#varint()
      const many = header >>> 1
      if ((header & 1) === 1) {
        // Groups of eight; the last may be longer than what is left.
        const room = (this.#view.byteLength - this.#offset) * 8
        if (many > 2 ** 27 || many === 0 || many * width > room + 8 * 8 || width === 0 && many > count) throw this.#fault('runs within the page', `one of ${8 * many} numbers`)
        if (wanted >= 0) for (let k = 0; k < Math.min(8 * many, count - seen); k++) if (this.#bits(k * width, width) === wanted) found++
        this.#offset += many * width
        seen += 8 * many
      } else {
        if (many > count - seen) throw this.#fault(`runs of ${count} numbers`, `one of ${many}`)
        let value = 0
        for (let k = 0; k < (width + 7) >> 3; k++) value |= this.#view.getUint8(this.#offset++) << 8 * k
        if (value === wanted) found += many
        seen += many
      }
    }
    this.#offset = start + length
    return found
  }

  /** `count` values of an encoding. */
  values(encoding: string, count: number, dictionary: number | undefined, isBoolean: boolean, { deltaBinaryUnpack }: PageTools): void {
    if (encoding === 'PLAIN_DICTIONARY' || encoding === 'RLE_DICTIONARY') {
      if (dictionary === undefined || dictionary === 0 && count > 0) throw this.#fault('a dictionary', 'none')
      const width = this.#view.getUint8(this.#offset++)
      // Without bits all are the first; hyparquet reads no runs then.
      if (width > 0) this.runs(width, count, this.#view.byteLength - this.#offset)
      else if (this.#offset < this.#view.byteLength && this.#view.byteLength - this.#offset > 16) throw this.#fault('no runs of numbers of 0 bits', `${this.#view.byteLength - this.#offset} bytes`)
    } else if (encoding === 'RLE') {
      if (!isBoolean) throw this.#fault('another encoding than RLE', 'RLE')
      this.runs(1, count, this.uint32())
    } else if (encoding === 'DELTA_BINARY_PACKED') {
      this.#delta(count)
    } else if (encoding === 'DELTA_LENGTH_BYTE_ARRAY') {
      this.#delta(count)
    } else if (encoding === 'DELTA_BYTE_ARRAY') {
      // Each is so much of the one before, and so much of its own.
      this.#delta(count)
      const reader = { view: this.#view, offset: this.#offset }
      const [prefixes, suffixes] = [new Int32Array(count), new Int32Array(count)]
      deltaBinaryUnpack(reader, count, prefixes)
      deltaBinaryUnpack(reader, count, suffixes)
      const bytes = prefixes.reduce((sum, length, k) => sum + length + suffixes[k]!, 0)
      if (bytes > DECODED_BYTES_MAX || prefixes.some((length) => length < 0) || suffixes.some((length) => length < 0)) throw this.#fault(`at most ${DECODED_BYTES_MAX} bytes of texts in a page`, `${bytes}`)
    } else if (encoding !== 'PLAIN' && encoding !== 'BYTE_STREAM_SPLIT') {
      throw this.#fault('a known encoding', brief(encoding))
    }
  }

  /** The sizes of blocks, which hyparquet divides by, and jumps by. */
  #delta(count: number): void {
    if (count === 0) return
    const start = this.#offset
    const [block, minis] = [this.#varint(), this.#varint()]
    if (!(block > 0 && block <= 2 ** 20 && minis > 0 && minis <= 4096 && block % minis === 0 && block / minis % 8 === 0)) throw this.#fault('blocks of numbers', `${block} in ${minis} parts`)
    this.#offset = start
  }

  #varint(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#view.getUint8(this.#offset++)
      value += (byte & 0x7f) * 2 ** shift
      // Bit operations here and there see 32 bits.
      if (byte < 0x80) return value < 2 ** 31 ? value : Number(this.#refuseVarint())
    }
    return this.#refuseVarint()
  }

  #refuseVarint(): never {
    throw this.#fault('runs within the page', 'one without end')
  }

  #bits(bit: number, width: number): number {
    let value = 0
    for (let k = 0; k < width; k++) {
      const at = this.#offset + ((bit + k) >> 3)
      if (at < this.#view.byteLength) value |= (this.#view.getUint8(at) >> ((bit + k) & 7) & 1) << k
    }
    return value
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function bitWidth(value: number): number {
  return 32 - Math.clz32(value)
}

function maxLevels(path: readonly SchemaTree[]): { maxDefinition: number; maxRepetition: number } {
  const types = path.slice(1).map(({ element }) => element.repetition_type)
  return { maxDefinition: types.filter((type) => type !== 'REQUIRED').length, maxRepetition: types.filter((type) => type === 'REPEATED').length }
}
