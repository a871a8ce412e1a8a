import { basename, extname } from 'node:path'
import { DTYPES } from '../core/dtype.js'
import { FormatError, UnsupportedError } from '../core/errors.js'
import { emptyTensor } from '../core/tensor.js'
import type { StoredArray } from './lazy.js'

type IdArray = Int8Array | Int16Array | Int32Array | Uint8Array | Uint16Array | Uint32Array | BigInt64Array | BigUint64Array

export interface Ids {
  id(index: number): string
}

/** Names of the rows of files that follow one another: from one integer array per file, or made of file name and row. */
export async function idsOf(files: readonly { stem: string; length: number }[], arrays: readonly StoredArray[] | undefined): Promise<Ids> {
  const firsts = files.reduce<number[]>((sums, file) => [...sums, sums.at(-1)! + file.length], [0])
  const place = (index: number): [file: number, row: number] => {
    let file = 0
    while (firsts[file + 1]! <= index) file++
    return [file, index - firsts[file]!]
  }
  if (arrays === undefined) {
    const prefixes = distinct(files.map(({ stem }) => stem))
    return { id: (index) => { const [file, row] = place(index); return `${prefixes[file]}/${row}` } }
  }
  const values: IdArray[] = []
  for (const [k, array] of arrays.entries()) values.push(await readIds(array, files[k]!.length, arrays[0]!))
  requireDistinct(values, arrays)
  return { id: (index) => { const [file, row] = place(index); return String(values[file]![row]) } }
}

async function readIds(array: StoredArray, length: number, first: StoredArray): Promise<IdArray> {
  const facts = { file: array.bytes.file.path, place: array.layout.place }
  const { kind } = DTYPES[array.dtype]
  if (kind !== 'int' && kind !== 'uint') throw new UnsupportedError({ ...facts, reason: `ids must be integers, not ${array.dtype}` })
  if (array.dtype !== first.dtype) throw new FormatError({ ...facts, expected: `${first.dtype} ids, as in the first file`, found: array.dtype })
  if (array.shape.length !== 1 || array.shape[0] !== length) throw new FormatError({ ...facts, expected: `one id for each of ${length} items`, found: `shape [${array.shape.join(', ')}]` })
  return (await array.read(undefined, { copy: true })).data as IdArray
}

/** By sorting: a Set ends at 2²⁴ values. */
function requireDistinct(values: readonly IdArray[], arrays: readonly StoredArray[]): void {
  const all = emptyTensor(arrays[0]!.dtype, [values.reduce((sum, ids) => sum + ids.length, 0)]).data as Int32Array
  let at = 0
  for (const ids of values) {
    all.set(ids as Int32Array, at)
    at += ids.length
  }
  all.sort()
  const repeated = all.find((id, k) => k > 0 && id === all[k - 1])
  if (repeated === undefined) return
  const file = values.findLastIndex((ids) => (ids as Int32Array).includes(repeated))
  throw new FormatError({ file: arrays[file]!.bytes.file.path, place: arrays[file]!.layout.place, expected: 'each id once', found: `${repeated} more than once` })
}

/** File names without suffix, different for each file. */
export function stemsOf(paths: readonly string[]): string[] {
  return distinct(paths.map((path) => basename(path, extname(path))))
}

/** Files of one name in several folders are told apart by their position. */
function distinct(stems: readonly string[]): string[] {
  return new Set(stems).size < stems.length ? stems.map((stem, k) => `${k}/${stem}`) : [...stems]
}

/** A Map ends at 2²⁴ keys. */
const IDS_MAX = 2 ** 24 - 1

/** Names of the rows of files that follow one another: file name and row, until names are added, one for each row. */
export class TextIds implements Ids {
  readonly #files: readonly { readonly path: string; readonly first: number }[]
  readonly #stems: readonly string[]
  readonly #names: string[] = []
  readonly #places = new Map<string, number>()

  constructor(files: readonly { readonly path: string; readonly first: number }[]) {
    this.#files = files
    this.#stems = stemsOf(files.map(({ path }) => path))
  }

  id(index: number): string {
    if (this.#names.length > 0) return this.#names[index]!
    const file = this.#files.findLastIndex(({ first }) => first <= index)
    return `${this.#stems[file]}/${index - this.#files[file]!.first}`
  }

  /** The name of the next row. Gives the row that has it already, if one has. */
  add(name: string): number | undefined {
    const before = this.#places.get(name)
    if (before !== undefined) return before
    if (this.#names.length === IDS_MAX) throw new UnsupportedError({ file: this.#files.at(-1)!.path, place: 'rows', reason: `ids of more than ${IDS_MAX} rows are not read; leave the option out` })
    this.#places.set(name, this.#names.length)
    this.#names.push(name)
    return undefined
  }
}
