import { badFieldName } from '../core/names.js'
import { brief } from './brief.js'
import type { ColumnChoice } from './columns.js'
import type { LinesFile } from './json-lines.js'
import { JsonFault, kindOf, parseRecord, tensorOf, valueAt, type JsonColumn, type JsonObject } from './json-record.js'
import { checkFieldName } from './names.js'

/** One file of several. */
export interface LinesPart {
  readonly lines: LinesFile
  /** Items before this file's. */
  readonly first: number
}

export function recordAt(part: LinesPart, line: number): JsonObject {
  return judged(part, line, undefined, () => parseRecord(part.lines.bytes(line)))
}

/** A fault becomes an error that says where, unless the file has changed under us. */
export function judged<T>({ lines }: LinesPart, line: number, path: readonly string[] | undefined, work: () => T): T {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof JsonFault)) throw error
    lines.file.assertUnchanged()
    const place = `line ${lines.number(line)}`
    throw error.at(lines.file.path, path === undefined ? place : `${place}, column ${brief(path.join('.'))}`)
  }
}

/** What each column holds, from the first line. */
export function columnsOf(parts: readonly LinesPart[], choices: readonly ColumnChoice[] | undefined, idPath: readonly string[] | undefined): JsonColumn[] {
  const part = parts.find(({ lines }) => lines.length > 0)
  const record = part === undefined ? {} : recordAt(part, 0)
  if (choices !== undefined) {
    return choices.map((choice) => {
      const value = valueAt(record, choice.path) ?? choice.default
      // Without lines there is nothing to tell by, and nothing to read.
      if (value === undefined && part === undefined) return columnOf(choice, choice.dtype === undefined ? 'text' : 'number')
      const kind = kindOf(value)
      if (kind === undefined) judged(part!, 0, choice.path, () => { throw new JsonFault('a text, a number, true, false or a list of numbers (or `default`)', value === undefined ? 'nothing' : Array.isArray(value) ? 'a list of other things' : brief(value)) })
      return columnOf(choice, kind!)
    })
  }
  const names = Object.keys(record).filter((name) => kindOf(record[name]) !== undefined && !(idPath?.length === 1 && idPath[0] === name))
  for (const name of names) if (badFieldName(name) !== undefined) checkFieldName(`${part!.lines.file.path}: column ${brief(name)} (choose its name with \`fields\`)`, name)
  return names.map((name) => columnOf({ field: name, path: [name], dtype: undefined, length: undefined, default: undefined }, kindOf(record[name])!))
}

function columnOf(choice: ColumnChoice, kind: JsonColumn['kind']): JsonColumn {
  const isNumbers = kind === 'number' || kind === 'list'
  const where = `jsonl: fields.${choice.field}`
  if (choice.dtype !== undefined && !isNumbers) throw new TypeError(`${where}.dtype is for numbers, and the first line has ${kind === 'text' ? 'a text' : 'true or false'} there`)
  if (choice.length !== undefined && kind !== 'list') throw new TypeError(`${where}.length is for lists, and the first line has none there`)
  const column: JsonColumn = { ...choice, kind, dtype: isNumbers ? choice.dtype ?? 'float64' : kind === 'text' ? 'uint8' : 'bool' }
  if (choice.default !== undefined) {
    try {
      tensorOf({ ...column, default: choice.default }, {}, ['default'])
    } catch (error) {
      if (!(error instanceof JsonFault)) throw error
      throw new TypeError(`${where}.default must be ${error.expected}, not ${error.found}`, { cause: error })
    }
  }
  return column
}
