import { extname, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { sha256, toHex } from '../core/hash.js'
import { checkOptions, choice, number, show } from '../core/options.js'
import { CrystalFiles } from './crystal-files.js'
import { isAboutContent, type CrystalEntries } from './crystal-entries.js'
import { EntryReader } from './crystal-reader.js'
import { CrystalRows } from './crystal-rows.js'
import { CrystalSource, type CrystalDescription } from './crystal-source.js'
import type { FileOptions } from './file.js'
import { checkFieldName } from './names.js'
import type { SkippedItem, Source } from './source.js'

/** Options of `crystals`. */
export interface CrystalsOptions extends FileOptions {
  /** Column of a CSV that holds the CIF text. Default: `cif`. */
  readonly cifColumn?: string
  /** Column of a CSV with the items' ids, each different. Default: file name without suffix, and row: `train/17`. */
  readonly idColumn?: string
  /** Columns of a CSV with numbers, each a float32 [] field of its name: `['heat_all']`; or by field: `{ heat: 'Heat of formation' }`. */
  readonly properties?: readonly string[] | Readonly<Record<string, string>>
  /**
   * A site that several elements share, or that is not always occupied: `error` (default), or `majority`, which takes what is there most often: of
   * elements with equal shares the first, and no atom where the site is empty more often than it holds any one element.
   */
  readonly occupancy?: 'error' | 'majority'
  /**
   * An item that cannot be read: `error` (default) when it is reached, or `skip`, which reads every item once while opening and leaves those out
   * that cannot be read; `source.skipped` lists them with the reasons.
   */
  readonly onBadItem?: 'error' | 'skip'
  /** Positions less than this apart on each fractional axis are one site. Default 1e-4, from 1e-8 to 0.01. */
  readonly siteTolerance?: number
  /** Of several data blocks with atoms, the one to read: its position among them from 0, or its name. Default: of a file all, each an item; of a CSV's row the first. */
  readonly block?: number | string
}

const OPTIONS = ['cifColumn', 'idColumn', 'properties', 'occupancy', 'onBadItem', 'siteTolerance', 'block', 'residencyBytes']
const CSV_OPTIONS = ['cifColumn', 'idColumn', 'properties'] as const

/**
 * Crystals from `.csv` files with a column of CIF text, from `.cif` files, or from folders of those (subfolders too, in order of their names). Opening finds the
 * items; each CIF is parsed when its item is read.
 *
 * Fields: `numbers` int32 [n] (atomic numbers), `frac_coords` float64 [n, 3], `lattice` float64 [3, 3] (rows a, b, c in Å: c along z, a in the xz plane),
 * and each property float32 []. Atoms come in the order that pymatgen gives them.
 *
 * Rejects with FileError when a file is not there, FormatError when it is damaged or hostile, UnsupportedError when a sound one holds something
 * that is not read here (partial occupancy, a space group without its operations).
 */
export async function crystals(paths: string | URL | readonly (string | URL)[], options: CrystalsOptions = {}): Promise<Source> {
  checkOptions('crystals', options, OPTIONS)
  const list = Array.isArray(paths) ? paths as readonly (string | URL)[] : [paths as string | URL]
  if (list.length === 0) throw new TypeError('crystals: no path given')
  for (const path of list) if (typeof path !== 'string' && !(path instanceof URL)) throw new TypeError(`crystals: path must be a string or a file: URL, not ${show(path)}`)
  const { cifColumn = 'cif', idColumn, block, residencyBytes } = options
  for (const [name, value] of Object.entries({ cifColumn, idColumn })) if (value !== undefined && typeof value !== 'string') throw new TypeError(`crystals: ${name} must be the name of a column, not ${show(value)}`)
  const isBlock = block === undefined || typeof block === 'string' || (Number.isSafeInteger(block) && block >= 0)
  if (!isBlock) throw new TypeError(`crystals: block must be a position from 0 or a name, not ${show(block)}`)
  const properties = propertiesOf(options.properties)
  const occupancy = choice('crystals', 'occupancy', options.occupancy, ['error', 'majority'], 'error')
  const onBadItem = choice('crystals', 'onBadItem', options.onBadItem, ['error', 'skip'], 'error')
  const siteTolerance = number('crystals', 'siteTolerance', options.siteTolerance, { min: 1e-8, max: 0.01 }, 1e-4)
  const isCsv = isCsvOf(list, CSV_OPTIONS.find((name) => options[name] !== undefined))

  const reasons = new Map<number, Error>()
  const bad = (place: number, error: unknown): void => {
    if (onBadItem === 'error' || !isAboutContent(error)) throw error
    reasons.set(place, error)
  }
  const entries: CrystalEntries = isCsv
    ? await CrystalRows.open(list, { cif: cifColumn, id: idColumn, properties: Object.values(properties) }, { ...(residencyBytes !== undefined && { residencyBytes }) }, bad)
    : await CrystalFiles.open(list, block === undefined, bad)
  try {
    const reader = new EntryReader(entries, { occupancy, siteTolerance, block, columns: Object.values(properties) })
    if (onBadItem === 'skip') await reader.tryAll(reasons)
    const rules = { occupancy, onBadItem, siteTolerance, ...(block !== undefined && { block }) }
    const csvRules = isCsv ? { cifColumn, ...(idColumn !== undefined && { idColumn }), properties } : {}
    const described: CrystalDescription = {
      description: { type: 'crystals', path: list.length === 1 ? pathOf(list[0]!) : list.map(pathOf), ...csvRules, ...rules },
      // The names of files are ids, and the files' content does not say them.
      selection: { ...rules, ...csvRules, ids: isCsv ? idColumn ?? null : toHex(sha256(JSON.stringify(Array.from({ length: entries.length }, (_, place) => entries.id(place))))) },
    }
    const skipped: SkippedItem[] = [...reasons].sort(([a], [b]) => a - b).map(([place, error]) => {
      const row = entries.row(place)
      return { id: entries.id(place), file: entries.where(place).file, ...(row !== undefined && { row }), reason: error.message }
    })
    return new CrystalSource(entries, reader, Object.keys(properties), described, reasons.size === 0 ? undefined : keptOf(entries.length, reasons), skipped)
  } catch (error) {
    entries.close()
    throw error
  }
}

/** Column by field. */
function propertiesOf(given: CrystalsOptions['properties'] = []): Readonly<Record<string, string>> {
  if (typeof given !== 'object' || given === null) throw new TypeError(`crystals: properties must be a list of columns or { field: column }, not ${show(given)}`)
  const pairs: (readonly [string, unknown])[] = Array.isArray(given) ? given.map((name: unknown) => [String(name), name] as const) : Object.entries(given)
  const properties: Record<string, string> = {}
  for (const [field, column] of pairs) {
    if (typeof column !== 'string') throw new TypeError(`crystals: properties: ${show(column)} is not the name of a column`)
    checkFieldName('crystals: properties', field)
    if (['numbers', 'frac_coords', 'lattice'].includes(field) || Object.hasOwn(properties, field)) throw new TypeError(`crystals: properties: there is a field ${show(field)} already`)
    properties[field] = column
  }
  return properties
}

/** A file is a CSV when it is called one, or when it is not called a CIF and an option for CSVs is given. */
function isCsvOf(paths: readonly (string | URL)[], option: string | undefined): boolean {
  const suffixes = paths.map((path) => extname(String(path)).toLowerCase())
  const cif = paths.find((_, k) => suffixes[k] === '.cif')
  if (cif === undefined) return option !== undefined || suffixes.includes('.csv')
  if (suffixes.includes('.csv')) throw new TypeError('crystals: .csv and .cif files cannot be items of one source')
  if (option !== undefined) throw new TypeError(`crystals: ${option} is for .csv files, and ${show(String(cif))} is none`)
  return false
}

function keptOf(length: number, reasons: ReadonlyMap<number, Error>): Uint32Array {
  return Uint32Array.from(Array.from({ length }, (_, place) => place).filter((place) => !reasons.has(place)))
}

function pathOf(path: string | URL): string {
  return resolve(typeof path === 'string' ? path : fileURLToPath(path))
}
