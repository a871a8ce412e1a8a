import { stat } from 'node:fs/promises'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { FileError, FormatError } from '../core/errors.js'
import { brief } from './brief.js'
import { CsvFile } from './csv.js'
import { commonFolder, glob, isPattern, splitPattern } from './glob.js'
import { numberIn } from './properties.js'

/** Where the images of one item are. */
export interface VolumeItem {
  readonly id: string
  /** Path of the image of each field. */
  readonly paths: Readonly<Record<string, string>>
  /** In the order of the options. */
  readonly properties: readonly number[]
}

export interface VolumeItems {
  readonly items: readonly VolumeItem[]
  /** Tables the items were found in; mapped. */
  readonly tables: readonly CsvFile[]
}

export interface TableColumns {
  /** Column of the paths by field. */
  readonly fields: Readonly<Record<string, string>>
  readonly id: string | undefined
  /** Column by field. */
  readonly properties: Readonly<Record<string, string>>
  /** What the paths are relative to; left out, the table's folder. */
  readonly root: string | undefined
}

/** Rows read before others have their turn. */
const ROWS_AT_ONCE = 1024
const SUFFIX = /\.(nii|hdr|img)(\.gz)?$/i
/** Of a pair the header stands for both. */
const FOUND = /\.(nii|hdr)(\.gz)?$/i

/** Images of one field: files, folders with their subfolders, patterns. Ids are names relative to what was given. */
export async function itemsOfFiles(paths: readonly (string | URL)[], field: string): Promise<VolumeItem[]> {
  const named: string[] = []
  const items: VolumeItem[] = []
  const add = (root: string, path: string): void => { items.push({ id: nameUnder(root, path), paths: { [field]: path }, properties: [] }) }
  for (const given of paths) {
    const path = pathOf(given)
    const stats = await stat(path).catch(() => undefined)
    if (stats === undefined && isPattern(path)) {
      for (const match of await matches(path)) add(splitPattern(path).base, match.path)
    } else if (stats?.isDirectory() === true) {
      for (const match of await matches(join(path, '**'))) add(path, match.path)
    } else {
      named.push(path)
      items.push({ id: '', paths: { [field]: path }, properties: [] })
    }
  }
  const root = commonFolder(named)
  return distinct(items.map((item) => item.id === '' ? { ...item, id: nameUnder(root, item.paths[field]!) } : item))
}

/** Images of several fields below a folder, by a folder or pattern each: those belong together whose wildcards stand for the same, or that have the same name in their folders. */
export async function itemsOfPatterns(folder: string, patterns: Readonly<Record<string, string>>): Promise<VolumeItem[]> {
  const found = new Map<string, Record<string, string>>()
  for (const [field, pattern] of Object.entries(patterns)) {
    for (const [key, path] of await byKey(resolve(folder, pattern))) {
      const paths = found.get(key) ?? {}
      if (paths[field] !== undefined) throw new FileError(path, `is ${brief(key)} of ${field}, as ${paths[field]} is`)
      paths[field] = path
      found.set(key, paths)
    }
  }
  const fields = Object.keys(patterns)
  for (const [key, paths] of found) {
    const missing = fields.find((field) => paths[field] === undefined)
    if (missing !== undefined) throw new FileError(Object.values(paths)[0]!, `has no partner: no file of ${missing} (${patterns[missing]}) is called ${brief(key)}`)
  }
  const sorted = [...found].sort(([a], [b]) => a < b ? -1 : 1)
  return distinct(sorted.map(([key, paths]) => ({ id: key === '' ? basename(paths[fields[0]!]!).replace(SUFFIX, '') : key, paths, properties: [] })))
}

/** One item per row, in the order of the tables. */
export async function itemsOfTables(paths: readonly (string | URL)[], columns: TableColumns): Promise<VolumeItems> {
  const tables: CsvFile[] = []
  try {
    const items: VolumeItem[] = []
    for (const given of paths) {
      const table = await CsvFile.open(given, { ragged: (_, error) => { throw error } })
      tables.push(table)
      items.push(...await rowsOf(table, columns))
    }
    return { items: distinct(items), tables }
  } catch (error) {
    for (const { file } of tables) file.close()
    throw error
  }
}

async function rowsOf(table: CsvFile, { fields, id, properties, root }: TableColumns): Promise<VolumeItem[]> {
  const names = Object.keys(fields)
  const column = (option: string, name: string): number => table.column(`nifti: ${option}`, name)
  const all = [...Object.values(fields).map((name) => column('column', name)), ...Object.values(properties).map((name) => column('properties', name)), ...(id === undefined ? [] : [column('idColumn', id)])]
  const folder = root ?? dirname(table.file.path)
  const items: VolumeItem[] = []
  for (let row = 0; row < table.length; row++) {
    if (row % ROWS_AT_ONCE === 0) await table.populate(row, Math.min(table.length, row + ROWS_AT_ONCE))
    const fail = (name: string, expected: string, text: string): never => { throw new FormatError({ file: table.file.path, place: `row ${row}, column ${brief(name)}`, expected, found: text === '' ? 'nothing' : brief(text) }) }
    const values = table.read(row, all)
    const paths = Object.fromEntries(names.map((field, k) => [field, resolve(folder, values[k] === '' ? fail(fields[field]!, 'the path of an image', '') : values[k]!)]))
    const numbers = Object.values(properties).map((name, k) => {
      const text = values[names.length + k]!
      return numberIn(text) ?? fail(name, 'a number', text.trim())
    })
    const given = id === undefined ? nameUnder(folder, paths[names[0]!]!) : values.at(-1)!
    items.push({ id: given === '' ? fail(id!, 'an id', '') : given, paths, properties: numbers })
  }
  return items
}

/** Images that a pattern, folder or file names, by what the wildcards stand for, or by name in the folder. */
async function byKey(path: string): Promise<[key: string, path: string][]> {
  const stats = await stat(path).catch(() => undefined)
  if (stats === undefined && isPattern(path)) return (await matches(path)).map((match) => [match.wildcards.filter((text) => text !== '').join('/').replace(SUFFIX, ''), match.path])
  if (stats?.isDirectory() === true) return (await matches(join(path, '**'))).map((match) => [nameUnder(path, match.path), match.path])
  return [['', path]]
}

async function matches(pattern: string): Promise<{ path: string; wildcards: readonly string[] }[]> {
  const found = (await glob(pattern)).filter(({ path }) => FOUND.test(path))
  if (found.length === 0) throw new FileError(pattern, 'there is no .nii, .nii.gz or .hdr file')
  return found
}

function nameUnder(root: string, path: string): string {
  return relative(root, path).replace(SUFFIX, '')
}

function distinct(items: readonly VolumeItem[]): VolumeItem[] {
  const before = new Map<string, VolumeItem>()
  for (const item of items) {
    const other = before.get(item.id)
    const path = Object.values(item.paths)[0]!
    if (other !== undefined) throw new FileError(path, `is ${brief(item.id)}, as ${Object.values(other.paths)[0]!} is: ids are names without suffix, each different`)
    before.set(item.id, item)
  }
  return [...items]
}

export function isImageName(path: string): boolean {
  return SUFFIX.test(path)
}

export function pathOf(path: string | URL): string {
  return resolve(typeof path === 'string' ? path : fileURLToPath(path))
}
