import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { CIF_BYTES_MAX, cifBlocks, holdsAtoms } from './cif.js'
import { isAboutContent } from './crystal-entries.js'
import { crystalOf, type Crystal } from './crystal.js'
import { CsvFile } from './csv.js'
import { SYMBOLS } from './elements.js'
import { LooseFile } from './loose-file.js'

export interface CifInfo {
  readonly path: string
  readonly format: 'cif'
  readonly bytes: number
  /** Data blocks with atoms. */
  readonly blocks: readonly CifBlockInfo[]
}

export interface CifBlockInfo {
  readonly name: string
  /** Of the unit cell, by symbol: `Cl4 Na4`. */
  readonly formula?: string
  readonly atoms?: number
  /** Lattice rows a, b, c in Å. */
  readonly lattice?: readonly number[]
  /** Why the block cannot be read. */
  readonly unusable?: string
}

export interface CsvInfo {
  readonly path: string
  readonly format: 'csv'
  readonly bytes: number
  readonly rows: number
  readonly columns: readonly string[]
  /** Rows that have another number of fields than the header. */
  readonly raggedRows: number
}

/** What a .cif file holds, for people: each block with its symmetry applied. Sites that elements share count as the most frequent. */
export async function inspectCif(path: string | URL): Promise<CifInfo> {
  const file = await LooseFile.open(resolve(typeof path === 'string' ? path : fileURLToPath(path)))
  const blocks: CifBlockInfo[] = []
  for (const block of cifBlocks(await file.text(CIF_BYTES_MAX), { file: file.path, place: 'CIF' })) {
    if (!holdsAtoms(block)) continue
    try {
      const crystal = crystalOf(block, { occupancy: 'majority', siteTolerance: 1e-4 }, { file: file.path, place: `block ${block.name}` })
      blocks.push({ name: block.name, formula: formulaOf(crystal), atoms: crystal.numbers.length, lattice: [...crystal.lattice] })
    } catch (error) {
      if (!isAboutContent(error)) throw error
      blocks.push({ name: block.name, unusable: error.message.slice(file.path.length + 2) })
    }
  }
  return { path: file.path, format: 'cif', bytes: file.size, blocks }
}

/** What a .csv file holds, for people. */
export async function inspectCsv(path: string | URL): Promise<CsvInfo> {
  let raggedRows = 0
  const csv = await CsvFile.open(path, { ragged: () => { raggedRows++ } })
  try {
    return { path: csv.file.path, format: 'csv', bytes: csv.file.size, rows: csv.length, columns: csv.columns, raggedRows }
  } finally {
    csv.file.close()
  }
}

function formulaOf({ numbers }: Crystal): string {
  const counts = new Map<string, number>()
  for (const z of numbers) counts.set(SYMBOLS[z]!, (counts.get(SYMBOLS[z]!) ?? 0) + 1)
  return [...counts].sort(([a], [b]) => a < b ? -1 : 1).map(([symbol, count]) => `${symbol}${count}`).join(' ')
}
