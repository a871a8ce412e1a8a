import { basename, extname } from 'node:path'
import { sizeOf, type DType } from '../core/dtype.js'
import { FormatError, UnsupportedError } from '../core/errors.js'
import { checkOptions, nearest, show } from '../core/options.js'
import { bytesOf, type FieldSpecs, type LazyTensor, type Tensor } from '../core/tensor.js'
import { isPooled, itemTensor } from '../native/fresh.js'
import { brief } from './brief.js'
import { openArrayFile, type ArrayEntry, type ArrayFile, type ArrayFormat } from './array-file.js'
import type { FileOptions } from './file.js'
import { StoredArray } from './lazy.js'
import { checkFieldName, checkFields, checkRange } from './names.js'
import { product } from './ranges.js'
import { idsOf, type Ids } from './row-ids.js'
import type { ItemRun, ReadOptions, Source, SourceFile } from './source.js'

/** A path or a file: URL, or several, whose rows follow one another. */
export type Paths = string | URL | readonly (string | URL)[]

/** Options of `npz` and `safetensors`: which arrays are what. */
export interface ArraySourceOptions extends FileOptions {
  /**
   * Fields of an item by the arrays whose rows they are: `{ x: 'diffraction' }`. Default: every array that can be read and is not a constant
   * or the ids, under its own name.
   */
  readonly fields?: Readonly<Record<string, string>>
  /** Arrays that belong to the dataset, not to an item, by name: `{ probe: 'probe_guess' }`. Every file must hold equal ones. */
  readonly constants?: Readonly<Record<string, string>>
  /** Integer array [items] of the items' names. Default: file name without suffix, and row: `train/17`. */
  readonly ids?: string
}

/** A .npy file holds one array, so nothing is left for constants or ids. */
const OPTIONS: Readonly<Record<ArrayFormat, readonly string[]>> = {
  npy: ['fields', 'residencyBytes'], npz: ['fields', 'constants', 'ids', 'residencyBytes'], safetensors: ['fields', 'constants', 'ids', 'residencyBytes'],
}
/** Bytes of one run: bounds what is inflated, copied or resident at a time. */
const RUN_BYTES = 32 * 2 ** 20
/** Constants that must be equal in several files are compared in memory. */
const COMPARED_BYTES_MAX = 2 ** 30

interface Part {
  readonly opened: ArrayFile
  /** Items before this file's. */
  readonly first: number
  readonly length: number
  readonly arrays: Readonly<Record<string, StoredArray>>
}

/** Rows of arrays in files of one format: axis 0 is the items, files follow one another. */
export class ArraySource implements Source {
  readonly reader: { readonly name: string; readonly version: number }
  readonly length: number
  readonly fields: FieldSpecs
  readonly constants: Readonly<Record<string, LazyTensor>>
  readonly description: Source['description']
  readonly selection: unknown
  readonly files: readonly SourceFile[]
  readonly #parts: readonly Part[]
  readonly #ids: Ids

  private constructor(format: ArrayFormat, options: ArraySourceOptions, mapping: Mapping, parts: readonly Part[], constants: Readonly<Record<string, LazyTensor>>, ids: Ids) {
    // A change of version makes every item made from such files a miss.
    this.reader = { name: format, version: 1 }
    this.#parts = parts
    this.#ids = ids
    this.length = parts.reduce((sum, part) => sum + part.length, 0)
    this.fields = Object.freeze(Object.fromEntries(Object.entries(parts[0]!.arrays).map(([name, array]) => [name, { dtype: array.dtype, shape: array.shape.slice(1) }])))
    this.constants = constants
    this.files = parts.map((part) => part.opened.file.sourceFile())
    const paths = parts.map((part) => part.opened.file.path)
    const { fields, constants: constantArrays, ids: idArray } = options
    this.description = { type: format, path: paths.length === 1 ? paths[0] : paths, ...(fields && { fields }), ...(constantArrays && { constants: constantArrays }), ...(idArray !== undefined && { ids: idArray }) }
    this.selection = { fields: mapping.fields, constants: mapping.constants, ids: idArray ?? null }
  }

  static async open(format: ArrayFormat, paths: Paths, options: ArraySourceOptions = {}): Promise<ArraySource> {
    checkOptions(format, options, OPTIONS[format])
    checkMapping(format, 'fields', options.fields)
    checkMapping(format, 'constants', options.constants)
    if (options.ids !== undefined && typeof options.ids !== 'string') throw new TypeError(`${format}: ids must be the name of an array, not ${show(options.ids)}`)
    for (const name of Object.keys(options.constants ?? {})) {
      if (options.fields !== undefined && Object.hasOwn(options.fields, name)) throw new TypeError(`${format}: ${name} is both a field and a constant`)
    }
    const list = Array.isArray(paths) ? paths as readonly (string | URL)[] : [paths as string | URL]
    if (list.length === 0) throw new TypeError(`${format}: no path given`)

    const opened: ArrayFile[] = []
    try {
      for (const path of list) opened.push(await openArrayFile(path, format, { residencyBytes: options.residencyBytes }))
      const mapping = await mappingOf(opened[0]!, options)
      const parts: Part[] = []
      let first = 0
      for (const file of opened) {
        const part = await openPart(file, mapping, options, first, parts[0])
        parts.push(part)
        first += part.length
      }
      const constants = await openConstants(opened, mapping)
      const ids = await idsOf(opened.map((file, k) => ({ stem: stemOf(file.file.path), length: parts[k]!.length })), options.ids === undefined ? undefined : await Promise.all(opened.map((file) => usable(file, options.ids!))))
      return new ArraySource(format, options, mapping, parts, constants, ids)
    } catch (error) {
      for (const file of opened) file.file.close()
      throw error
    }
  }

  id(index: number): string {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.length) throw new TypeError(`id: index must be from 0 to ${this.length - 1}, not ${show(index)}`)
    return this.#ids.id(index)
  }

  async *read(start: number, stop: number, options: ReadOptions): AsyncGenerator<ItemRun> {
    const { signal } = options
    checkRange(start, stop, this.length)
    checkFields(options.fields, this.fields)
    signal?.throwIfAborted()
    const bytesPerItem = Math.max(1, options.fields.reduce((sum, name) => sum + itemBytes(this.#parts[0]!.arrays[name]!), 0))
    const rows = Math.max(1, Math.floor(RUN_BYTES / bytesPerItem))
    for (const { first, length, arrays } of this.#parts) {
      const end = Math.min(stop, first + length)
      for (let at = Math.max(start, first); at < end; at += rows) {
        const range = { start: at - first, stop: Math.min(at + rows, end) - first }
        const tensors = await Promise.all(options.fields.map((name) => arrays[name]!.read(range, { signal })))
        const fields: Record<string, Tensor> = {}
        options.fields.forEach((name, k) => { fields[name] = tensors[k]! })
        yield { start: at, count: range.stop - range.start, fields }
      }
    }
  }

  async gather(indices: Float64Array, { fields: names, signal }: ReadOptions): Promise<Omit<ItemRun, 'start'>> {
    checkFields(names, this.fields)
    signal?.throwIfAborted()
    const parts = this.#parts.map((part) => ({ ...part, rows: [] as number[], places: [] as number[] }))
    indices.forEach((index, place) => {
      const part = parts.find(({ first, length }) => index >= first && index < first + length)
      if (part === undefined) throw new TypeError(`gather: index ${show(index)} is outside 0 to ${this.length - 1}`)
      part.rows.push(index - part.first)
      part.places.push(place)
    })
    const fields: Record<string, Tensor> = {}
    await Promise.all(names.map(async (name) => {
      const { dtype, shape } = this.fields[name]!
      const tensor = itemTensor(dtype, [indices.length, ...shape as number[]])
      fields[name] = tensor
      for (const { rows, places, arrays } of parts) if (rows.length > 0) await arrays[name]!.gather(Float64Array.from(rows), Float64Array.from(places), tensor.data, signal)
    }))
    return { count: indices.length, fields, own: Object.values(fields).filter(isPooled).map(({ data }) => data.buffer as ArrayBuffer) }
  }

  place(index: number): string | undefined {
    const part = this.#parts.find(({ first, length }) => index >= first && index < first + length)
    return part === undefined ? undefined : `${part.opened.file.path}, row ${index - part.first}`
  }

  release(start: number, stop: number): void {
    for (const { first, length, arrays } of this.#parts) {
      const from = Math.max(start, first) - first
      const to = Math.min(stop, first + length) - first
      if (from < to) for (const array of Object.values(arrays)) array.release(from, to)
    }
  }

  assertUnchanged(): void {
    for (const { opened } of this.#parts) opened.file.assertUnchanged()
  }

  close(): void {
    for (const { opened } of this.#parts) opened.file.close()
  }
}

interface Mapping { readonly fields: Readonly<Record<string, string>>; readonly constants: Readonly<Record<string, string>> }

function checkMapping(format: string, option: string, mapping: unknown): void {
  if (mapping === undefined) return
  if (typeof mapping !== 'object' || mapping === null || Array.isArray(mapping)) throw new TypeError(`${format}: ${option} must be { name: array }, not ${show(mapping)}`)
  for (const [name, array] of Object.entries(mapping)) {
    checkFieldName(`${format}: ${option}`, name)
    if (typeof array !== 'string') throw new TypeError(`${format}: ${option}.${name} must be the name of an array, not ${show(array)}`)
  }
}

/** Which arrays are fields: as asked, or every array of the first file that can be. */
async function mappingOf(file: ArrayFile, options: ArraySourceOptions): Promise<Mapping> {
  const constants = { ...options.constants }
  if (options.fields !== undefined) return { fields: { ...options.fields }, constants }
  const taken = new Set([...Object.values(constants), options.ids])
  const fields: Record<string, string> = {}
  for (const name of file.names) {
    if (taken.has(name) || !((await file.entry(name)).array instanceof StoredArray)) continue
    checkFieldName(`${file.file.path}: array ${brief(name)} (choose its name with \`fields\`)`, name)
    fields[name] = name
  }
  return { fields, constants }
}

async function openPart(opened: ArrayFile, mapping: Mapping, options: ArraySourceOptions, first: number, like: Part | undefined): Promise<Part> {
  const { path } = opened.file
  const hint = options.fields === undefined ? ' (`fields` says which arrays are fields of the items, `constants` which belong to the dataset)' : ''
  const arrays: Record<string, StoredArray> = {}
  let length: number | undefined
  for (const [field, name] of Object.entries(mapping.fields)) {
    const array = await usable(opened, name)
    const place = `array ${brief(name)}`
    if (array.shape.length === 0) throw new FormatError({ file: path, place, expected: `an axis of items${hint}`, found: 'a 0-d array' })
    if (length !== undefined && array.shape[0] !== length) throw new FormatError({ file: path, place, expected: `${length} rows, as the arrays before it have${hint}`, found: `shape [${array.shape.join(', ')}]` })
    length = array.shape[0]!
    const other = like?.arrays[field]
    if (other !== undefined && (other.dtype !== array.dtype || other.shape.slice(1).join() !== array.shape.slice(1).join())) {
      throw new FormatError({ file: path, place, expected: `rows like those of ${like!.opened.file.path}: ${typeOf(other)}`, found: typeOf(array) })
    }
    arrays[field] = array
  }
  if (length === undefined) throw new UnsupportedError({ file: path, place: 'arrays', reason: opened.names.length === 0 ? 'it holds none' : `none of ${namesOf(opened)} can be a field` })
  return { opened, first, length, arrays }
}

async function openConstants(files: readonly ArrayFile[], mapping: Mapping): Promise<Record<string, LazyTensor>> {
  const constants: Record<string, LazyTensor> = {}
  for (const [constant, name] of Object.entries(mapping.constants)) {
    const array = await usable(files[0]!, name)
    constants[constant] = array
    for (const file of files.slice(1)) await requireEqual(file, name, array)
  }
  return constants
}

async function requireEqual(file: ArrayFile, name: string, first: StoredArray): Promise<void> {
  const other = await usable(file, name)
  const fail = (found: string): never => { throw new FormatError({ file: file.file.path, place: `array ${brief(name)}`, expected: `the constant of ${first.where}`, found }) }
  if (other.dtype !== first.dtype || other.shape.join() !== first.shape.join()) fail(`${other.dtype} [${other.shape.join(', ')}]`)
  if (product(first.shape) * sizeOf(first.dtype) > COMPARED_BYTES_MAX) throw new UnsupportedError({ file: file.file.path, place: `array ${brief(name)}`, reason: `constants of several files must be equal, and are compared up to ${COMPARED_BYTES_MAX} bytes` })
  const [a, b] = await Promise.all([first.read(), other.read()])
  if (Buffer.compare(bytesOf(a.data), bytesOf(b.data)) !== 0) fail('other values')
}

/** An array that is asked for by name: it must be there, and be of a kind that is read. */
async function usable(file: ArrayFile, name: string): Promise<StoredArray> {
  if (!file.names.includes(name)) {
    const near = nearest(name, file.names)
    const known = file.names.length === 0 ? 'it holds none' : near !== undefined ? `did you mean ${show(near)}?` : `it holds ${namesOf(file)}`
    throw new TypeError(`${file.file.path}: there is no array ${brief(name)}; ${known}`)
  }
  const { array }: ArrayEntry = await file.entry(name)
  if (array instanceof StoredArray) return array
  throw array.error
}

/** Some names, for a message. */
function namesOf(file: ArrayFile): string {
  return `${file.names.slice(0, 20).map(brief).join(', ')}${file.names.length > 20 ? ', …' : ''}`
}

function itemBytes(array: StoredArray): number {
  return product(array.shape.slice(1)) * sizeOf(array.dtype)
}

function typeOf(array: { dtype: DType; shape: readonly number[] }): string {
  return `${array.dtype} [${array.shape.slice(1).join(', ')}]`
}

function stemOf(path: string): string {
  return basename(path, extname(path))
}
