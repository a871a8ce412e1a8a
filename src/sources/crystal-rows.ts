import { FormatError, UnsupportedError } from '../core/errors.js'
import { brief } from './brief.js'
import type { Where } from './cif-tokens.js'
import { CsvFile } from './csv.js'
import type { BadEntry, CrystalEntries, LoadedEntries } from './crystal-entries.js'
import type { FileOptions } from './file.js'
import { stemsOf } from './row-ids.js'
import type { SourceFile } from './source.js'

/** Rows whose pages are read in together. */
const ROWS_LOADED = 1024
/** A Map ends at 2²⁴ keys. */
const IDS_MAX = 2 ** 24 - 1

export interface CrystalColumns {
  readonly cif: string
  readonly id: string | undefined
  readonly properties: readonly string[]
}

interface Part {
  readonly csv: CsvFile
  readonly first: number
  /** Positions of the CIF's column and the properties'. */
  readonly columns: readonly number[]
}

/** Rows of CSV files that follow one another. Only the ids are kept in memory. */
export class CrystalRows implements CrystalEntries {
  readonly length: number
  readonly files: readonly SourceFile[]
  readonly #parts: readonly Part[]
  readonly #stems: readonly string[]
  #ids: readonly string[] | undefined

  private constructor(parts: readonly Part[]) {
    this.#parts = parts
    this.length = parts.reduce((sum, { csv }) => sum + csv.length, 0)
    this.files = parts.map(({ csv }) => csv.file.sourceFile())
    this.#stems = stemsOf(parts.map(({ csv }) => csv.file.path))
  }

  static async open(paths: readonly (string | URL)[], columns: CrystalColumns, options: FileOptions, bad: BadEntry): Promise<CrystalRows> {
    const parts: Part[] = []
    const ragged: [place: number, error: FormatError][] = []
    try {
      let first = 0
      for (const path of paths) {
        const csv = await CsvFile.open(path, { ...options, ragged: (row, error) => { ragged.push([first + row, error]) } })
        parts.push({ csv, first, columns: [csv.column('crystals: cifColumn', columns.cif), ...columns.properties.map((name) => csv.column('crystals: properties', name))] })
        first += csv.length
      }
      const rows = new CrystalRows(parts)
      if (columns.id !== undefined) rows.#ids = await rows.#readIds(columns.id, new Map(ragged), bad)
      for (const [place, error] of ragged) bad(place, error)
      return rows
    } catch (error) {
      for (const { csv } of parts) csv.file.close()
      throw error
    }
  }

  id(place: number): string {
    if (this.#ids !== undefined) return this.#ids[place]!
    const part = this.#partOf(place)
    return `${this.#stems[this.#parts.indexOf(part)]}/${place - part.first}`
  }

  row(place: number): number {
    return place - this.#partOf(place).first
  }

  where(place: number): Where {
    const { csv, first } = this.#partOf(place)
    return { file: csv.file.path, place: this.#ids === undefined ? `row ${place - first}` : `row ${place - first} (${brief(this.#ids[place])})` }
  }

  async load(places: readonly number[], signal: AbortSignal | undefined): Promise<LoadedEntries> {
    const { csv, first, columns } = this.#partOf(places[0]!)
    const beyond = places.findIndex((place, k) => k >= ROWS_LOADED || place >= first + csv.length)
    const count = beyond < 0 ? places.length : beyond
    await csv.populate(places[0]! - first, places[count - 1]! - first + 1)
    signal?.throwIfAborted()
    csv.file.assertUnchanged()
    const fields = (k: number, from: number, to: number): string[] => csv.read(places[k]! - first, columns.slice(from, to))
    return { count, raw: (k) => csv.bytes(places[k]! - first), meaning: `columns ${columns.join()} of ${csv.columns.length}`, cif: (k) => fields(k, 0, 1)[0]!, properties: (k) => fields(k, 1, columns.length) }
  }

  release(start: number, stop: number): void {
    for (const { csv, first } of this.#parts) {
      const from = Math.max(start, first) - first
      const to = Math.min(stop, first + csv.length) - first
      if (from < to) csv.release(from, to)
    }
  }

  assertUnchanged(): void {
    for (const { csv } of this.#parts) csv.file.assertUnchanged()
  }

  close(): void {
    for (const { csv } of this.#parts) csv.file.close()
  }

  #partOf(place: number): Part {
    return this.#parts.findLast(({ first }) => first <= place)!
  }

  async #readIds(name: string, ragged: ReadonlyMap<number, FormatError>, bad: BadEntry): Promise<string[]> {
    if (this.length > IDS_MAX) throw new UnsupportedError({ file: this.files[0]!.path, place: 'rows', reason: `ids of more than ${IDS_MAX} rows are not read; leave idColumn out` })
    const ids: string[] = []
    const places = new Map<string, number>()
    for (const { csv, first } of this.#parts) {
      const column = [csv.column('crystals: idColumn', name)]
      for (let row = 0; row < csv.length; row++) {
        if (row % ROWS_LOADED === 0) await csv.populate(row, Math.min(csv.length, row + ROWS_LOADED))
        const place = first + row
        const id = ragged.has(place) ? '' : csv.read(row, column)[0]!
        ids.push(id === '' ? `row ${row}` : id)
        if (id === '') {
          if (!ragged.has(place)) bad(place, new FormatError({ file: csv.file.path, place: `row ${row}, column ${brief(name)}`, expected: 'an id', found: 'none' }))
          continue
        }
        const before = places.get(id)
        if (before !== undefined) throw new FormatError({ file: csv.file.path, place: `row ${row}, column ${brief(name)}`, expected: 'each id once', found: `${brief(id)} of row ${this.row(before)} again` })
        places.set(id, place)
      }
    }
    return ids
  }
}
