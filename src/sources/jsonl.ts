import { setImmediate } from 'node:timers/promises'
import { canonicalJson } from '../core/canonical.js'
import { sha256 } from '../core/hash.js'
import { checkOptions, show } from '../core/options.js'
import { joinRows } from '../core/rows.js'
import type { FieldSpecs, Tensor } from '../core/tensor.js'
import { native } from '../native/load.js'
import { brief } from './brief.js'
import { columnChoices, fullPath, pathList, pathOf, type FieldColumns } from './columns.js'
import type { FileOptions } from './file.js'
import { columnsOf, judged, recordAt, type LinesPart } from './json-columns.js'
import { LinesFile } from './json-lines.js'
import { JSON_DTYPES, JsonFault, specOf, tensorOf, valueAt, type JsonColumn } from './json-record.js'
import { checkFields, checkRange } from './names.js'
import { TextIds } from './row-ids.js'
import type { ItemRun, ReadOptions, Source } from './source.js'

/** Options of `jsonl`. */
export interface JsonlOptions extends FileOptions {
  /**
   * Columns by field: `{ text: 'text', label: 'meta.label', score: { column: 'score', dtype: 'float32', default: 0 } }`. Default: every column of the first line that can be one.
   * What a column holds, the first line says.
   */
  readonly fields?: FieldColumns
  /** Column of the items' names, texts or integers, each different: all lines are read while opening. Default: file name without suffix, and item: `train/17`. */
  readonly id?: string | readonly string[]
}

const OPTIONS = ['fields', 'id', 'residencyBytes']
/** Of one run: bounds what is parsed at a time. */
const RUN_LINES = 1024
const RUN_BYTES = 16 * 2 ** 20
/** Time on the event loop before others have their turn. */
const TURN_MS = 8

/**
 * Lines of JSON (`.jsonl`, `.ndjson`), one object and item each; empty lines are none. Opening finds the lines; each is parsed when its item is read, where it lies in the mapped file.
 *
 * Fields: texts are uint8 [bytes], UTF-8; numbers float64 [], or the dtype that is asked for; true and false bool []; lists of numbers [n]. A value that is missing or of another kind is an error naming file and line.
 *
 * Rejects with FileError, FormatError for a damaged or hostile file, UnsupportedError for a compressed one.
 */
export async function jsonl(paths: string | URL | readonly (string | URL)[], options: JsonlOptions = {}): Promise<Source> {
  const where = 'jsonl'
  checkOptions(where, options, OPTIONS)
  const list = pathList(where, paths)
  const choices = columnChoices(where, options.fields, JSON_DTYPES)
  const idPath = options.id === undefined ? undefined : pathOf(`${where}: id`, options.id)
  const { residencyBytes } = options
  const parts: LinesPart[] = []
  try {
    let first = 0
    for (const path of list) {
      const lines = await LinesFile.open(path, { ...(residencyBytes !== undefined && { residencyBytes }) })
      parts.push({ lines, first })
      first += lines.length
    }
    const columns = columnsOf(parts, choices, idPath)
    const ids = new TextIds(parts.map(({ lines, first: at }) => ({ path: lines.file.path, first: at })))
    if (idPath !== undefined) await readIds(parts, idPath, ids)
    const { fields, id } = options
    const description = { type: where, path: list.length === 1 ? fullPath(list[0]!) : list.map(fullPath), ...(fields && { fields }), ...(id !== undefined && { id }) }
    return new JsonlSource(parts, columns, ids, idPath, description)
  } catch (error) {
    for (const { lines } of parts) lines.file.close()
    throw error
  }
}

class JsonlSource implements Source {
  // A change of version makes every item made from such files a miss.
  readonly reader = { name: 'jsonl', version: 1 }
  readonly length: number
  readonly fields: FieldSpecs
  readonly constants = {}
  readonly description: Source['description']
  readonly selection: unknown
  readonly files: Source['files']
  readonly #parts: readonly LinesPart[]
  readonly #columns: Readonly<Record<string, JsonColumn>>
  readonly #ids: TextIds

  constructor(parts: readonly LinesPart[], columns: readonly JsonColumn[], ids: TextIds, idPath: readonly string[] | undefined, description: Source['description']) {
    this.#parts = parts
    this.#ids = ids
    this.#columns = Object.fromEntries(columns.map((column) => [column.field, column]))
    this.length = parts.reduce((sum, { lines }) => sum + lines.length, 0)
    this.fields = Object.freeze(Object.fromEntries(columns.map((column) => [column.field, specOf(column)])))
    this.description = JSON.parse(canonicalJson(description)) as Source['description']
    this.selection = { columns: columns.map(meaningOf), id: idPath ?? null }
    this.files = parts.map(({ lines }) => lines.file.sourceFile())
  }

  id(index: number): string {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.length) throw new TypeError(`id: index must be from 0 to ${this.length - 1}, not ${show(index)}`)
    return this.#ids.id(index)
  }

  async * read(start: number, stop: number, { fields, signal }: ReadOptions): AsyncGenerator<ItemRun> {
    checkRange(start, stop, this.length)
    checkFields(fields, this.fields)
    signal?.throwIfAborted()
    const columns = fields.map((name) => this.#columns[name]!)
    let began = performance.now()
    for (const { part, from, to } of this.#runs(start, stop)) {
      await arrive(part, from, to, signal)
      const rows: Tensor[][] = columns.map(() => [])
      for (let line = from; line < to; line++) {
        if (performance.now() - began > TURN_MS) {
          await setImmediate()
          signal?.throwIfAborted()
          began = performance.now()
        }
        const record = recordAt(part, line)
        columns.forEach((column, k) => rows[k]!.push(judged(part, line, column.path, () => tensorOf(column, record, column.path))))
      }
      part.lines.touched(from, to)
      yield { start: part.first + from, count: to - from, fields: Object.fromEntries(fields.map((name, k) => [name, joinRows(rows[k]!)])) }
    }
  }

  async witnesses(start: number, stop: number, { fields, signal }: ReadOptions): Promise<Uint8Array> {
    checkRange(start, stop, this.length)
    const { name, version } = this.reader
    const head = sha256(canonicalJson([name, version, [...fields].sort().map((field) => meaningOf(this.#columns[field]!))]))
    const all: Uint8Array[] = []
    for (const { part, from, to } of this.#runs(start, stop)) {
      await arrive(part, from, to, signal)
      const { bytes, offsets } = part.lines.range(from, to)
      all.push(await native().sha256Rows(to - from, [{ data: head, stride: 0 }, { data: bytes, offsets }], 1))
    }
    return Buffer.concat(all)
  }

  release(start: number, stop: number): void {
    for (const { lines, first } of this.#parts) {
      const from = Math.max(start, first) - first
      const to = Math.min(stop, first + lines.length) - first
      if (from < to) lines.release(from, to)
    }
  }

  assertUnchanged(): void {
    for (const { lines } of this.#parts) lines.file.assertUnchanged()
  }

  close(): void {
    for (const { lines } of this.#parts) lines.file.close()
  }

  * #runs(start: number, stop: number): Generator<{ part: LinesPart; from: number; to: number }> {
    for (const part of this.#parts) {
      const end = Math.min(stop - part.first, part.lines.length)
      for (let from = Math.max(start - part.first, 0); from < end;) {
        const to = part.lines.runEnd(from, end, RUN_LINES, RUN_BYTES)
        yield { part, from, to }
        from = to
      }
    }
  }
}

/** What says, with the bytes of a line, which bytes the field has. */
function meaningOf({ field, path, kind, dtype, length, default: otherwise }: JsonColumn): unknown[] {
  return [field, path, kind, dtype, length ?? null, otherwise ?? null]
}

/** Lines are there, and are those of the file that was opened. */
async function arrive({ lines }: LinesPart, from: number, to: number, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted()
  lines.file.assertUnchanged()
  await lines.populate(from, to)
}

async function readIds(parts: readonly LinesPart[], path: readonly string[], ids: TextIds): Promise<void> {
  let began = performance.now()
  for (const part of parts) {
    const { lines } = part
    for (let from = 0; from < lines.length;) {
      const to = lines.runEnd(from, lines.length, RUN_LINES, RUN_BYTES)
      await arrive(part, from, to, undefined)
      for (let line = from; line < to; line++) {
        if (performance.now() - began > TURN_MS) {
          await setImmediate()
          began = performance.now()
        }
        const id = valueAt(recordAt(part, line), path)
        judged(part, line, path, () => {
          if (!(typeof id === 'string' && id !== '') && !Number.isSafeInteger(id)) throw new JsonFault('an id: a text or an integer', id === undefined ? 'nothing' : brief(id))
          const before = ids.add(String(id))
          if (before !== undefined) throw new JsonFault('each id once', `${brief(String(id))} of line ${placeOf(parts, before)} again`)
        })
      }
      from = to
    }
  }
}

function placeOf(parts: readonly LinesPart[], item: number): string {
  const { lines, first } = parts.findLast((part) => part.first <= item)!
  return `${lines.number(item - first)}${parts.length === 1 ? '' : ` of ${lines.file.path}`}`
}
