import { FormatError } from '../core/errors.js'
import { nearest, show } from '../core/options.js'
import { brief } from './brief.js'
import { OpenFile, type FileOptions } from './file.js'

/** The gate of RFC 4180 text: a header, rows of as many fields, `"` around fields that hold `,`, `"` or line ends. Limits: */
const ROW_BYTES_MAX = 16 * 2 ** 20
const COLUMNS_MAX = 10_000
/** Bytes that are scanned in one go on the event loop: about 5 ms. */
const STEP_BYTES = 4 * 2 ** 20

const [NEWLINE, RETURN, QUOTE, COMMA] = [10, 13, 34, 44]

/** Where the fields of a row lie, delimiters excluded. Written over by the next row. */
interface RowFields {
  readonly starts: number[]
  readonly stops: number[]
  count: number
}

/**
 * A CSV file whose rows are found once and read where they lie: eight bytes of memory per row. Rows count from 0 after the header. Empty lines are no
 * rows. A mapped file, so that any row is at hand; csv-parse, which streams, takes 15 times as long to find them.
 */
export class CsvFile {
  readonly file: OpenFile
  readonly columns: readonly string[]
  /** Byte offset of each row, and of the end. */
  readonly #offsets: Float64Array
  readonly #fields: RowFields = { starts: [], stops: [], count: 0 }

  private constructor(file: OpenFile, columns: readonly string[], offsets: Float64Array) {
    this.file = file
    this.columns = columns
    this.#offsets = offsets
  }

  /** Rejects with FileError, and with FormatError when the file is no CSV. `ragged` is told of a row with other fields than the header has. */
  static async open(path: string | URL, options: FileOptions & { ragged: (row: number, error: FormatError) => void }): Promise<CsvFile> {
    const file = OpenFile.open(path, options)
    try {
      return await CsvFile.#scan(file, options.ragged)
    } catch (error) {
      file.close()
      throw error
    }
  }

  get length(): number {
    return this.#offsets.length - 1
  }

  /** Position of a column that `option` (`crystals: cifColumn`) asks for by name. Throws TypeError when it is not there, FormatError when it is there twice. */
  column(option: string, name: string): number {
    const at = this.columns.indexOf(name)
    if (at < 0) {
      const near = nearest(name, this.columns)
      const hint = near === undefined ? `there are ${this.columns.slice(0, 20).map(brief).join(', ')}${this.columns.length > 20 ? ', …' : ''}` : `did you mean ${show(near)}?`
      throw new TypeError(`${option}: ${this.file.path} has no column ${show(name)}; ${hint}`)
    }
    if (this.columns.indexOf(name, at + 1) >= 0) throw new FormatError({ file: this.file.path, place: 'header', expected: 'each column once', found: `${brief(name)} again` })
    return at
  }

  /** Reads the bytes of rows in, on a thread. */
  populate(start: number, stop: number): Promise<void> {
    return this.file.populate(this.#offsets[start]!, this.#offsets[stop]! - this.#offsets[start]!)
  }

  release(start: number, stop: number): void {
    this.file.release(this.#offsets[start]!, this.#offsets[stop]! - this.#offsets[start]!)
  }

  /** A row as it is written. */
  bytes(row: number): Uint8Array {
    const start = this.#offsets[row]!
    return this.file.bytes(start, this.#offsets[row + 1]! - start)
  }

  /** Fields of a row, at these columns. */
  read(row: number, columns: readonly number[]): string[] {
    const bytes = this.bytes(row)
    scanRow(bytes, 0, true, this.#fields)
    return columns.map((column) => textOf(bytes, this.#fields, column))
  }

  static async #scan(file: OpenFile, ragged: (row: number, error: FormatError) => void): Promise<CsvFile> {
    const fields: RowFields = { starts: [], stops: [], count: 0 }
    const fault = (row: number, expected: string, found: string): FormatError => new FormatError({ file: file.path, place: row < 0 ? 'header' : `row ${row}`, expected, found })
    let offsets = new Float64Array(1024)
    let rows = -1
    let columns: string[] = []
    let at = 0
    let step = STEP_BYTES
    while (at < file.size) {
      const length = Math.min(step, file.size - at)
      const isLast = at + length === file.size
      await file.populate(at, length)
      const bytes = file.bytes(at, length)
      // A byte order mark.
      let from = at === 0 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0
      const before = from
      while (from < length) {
        const next = scanRow(bytes, from, isLast, fields)
        if (typeof next !== 'number') throw fault(rows, next.expected, next.found)
        if (next === UNFINISHED) break
        if (fields.count > 0) {
          if (rows < 0) {
            columns = fields.starts.slice(0, fields.count).map((_, column) => textOf(bytes, fields, column))
          } else {
            if (rows + 2 > offsets.length) offsets = grown(offsets)
            offsets[rows] = at + from
            if (fields.count !== columns.length) ragged(rows, fault(rows, `${columns.length} fields, as the header has`, `${fields.count}`))
          }
          rows++
        }
        from = next
      }
      at += from
      // A row that is longer than a step is given more room.
      if (from === before && step >= ROW_BYTES_MAX) throw fault(rows, `at most ${ROW_BYTES_MAX} bytes`, 'more (a quote that nothing closes?)')
      step = from === before ? Math.min(ROW_BYTES_MAX, 4 * step) : STEP_BYTES
    }
    if (rows < 0) throw fault(-1, 'names of columns', 'an empty file')
    file.assertUnchanged()
    offsets[rows] = file.size
    return new CsvFile(file, columns, offsets.slice(0, rows + 1))
  }
}

const UNFINISHED = -1

/**
 * Finds the fields of the row at `from` and returns where the next begins, `UNFINISHED` when the bytes end within the row and more are to come, or what is
 * wrong with it. An empty line has no fields.
 */
function scanRow(bytes: Uint8Array, from: number, isLast: boolean, fields: RowFields): number | { expected: string; found: string } {
  const end = bytes.length
  fields.count = 0
  let at = from
  for (;;) {
    if (fields.count === COLUMNS_MAX) return { expected: `at most ${COLUMNS_MAX} columns`, found: 'more' }
    if (bytes[at] === QUOTE) {
      fields.starts[fields.count] = at
      for (at++; ; at += 2) {
        while (at < end && bytes[at] !== QUOTE) at++
        if (at >= end) return isLast ? { expected: 'a quote that ends the field', found: 'the end of the file' } : UNFINISHED
        if (bytes[at + 1] !== QUOTE) break
      }
      fields.stops[fields.count++] = ++at
      if (bytes[at] === RETURN && (bytes[at + 1] === NEWLINE || at + 1 === end)) at++
      if (at < end && bytes[at] !== COMMA && bytes[at] !== NEWLINE) return { expected: 'a comma or the end of the line after a quoted field', found: brief(text(bytes, at, Math.min(end, at + 20))) }
    } else {
      fields.starts[fields.count] = at
      while (at < end && bytes[at] !== COMMA && bytes[at] !== NEWLINE && bytes[at] !== QUOTE) at++
      if (bytes[at] === QUOTE) return { expected: 'quotes around a whole field', found: `a quote in ${brief(text(bytes, fields.starts[fields.count]!, Math.min(end, at + 20)))}` }
      fields.stops[fields.count++] = at > fields.starts[fields.count - 1]! && bytes[at - 1] === RETURN && bytes[at] !== COMMA ? at - 1 : at
    }
    if (at >= end) {
      if (!isLast) return UNFINISHED
      break
    }
    if (bytes[at++] === NEWLINE) break
  }
  if (fields.count === 1 && fields.starts[0] === fields.stops[0]) fields.count = 0
  return at
}

function textOf(bytes: Uint8Array, { starts, stops }: RowFields, column: number): string {
  const start = starts[column]!
  const stop = stops[column]!
  if (bytes[start] !== QUOTE || stop - start < 2) return text(bytes, start, stop)
  const inside = text(bytes, start + 1, stop - 1)
  return inside.includes('""') ? inside.replaceAll('""', '"') : inside
}

function text(bytes: Uint8Array, start: number, stop: number): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, stop - start).toString('utf8')
}

function grown(array: Float64Array<ArrayBuffer>): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(2 * array.length)
  larger.set(array)
  return larger
}
