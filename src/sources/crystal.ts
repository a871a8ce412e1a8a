import { UnsupportedError } from '../core/errors.js'
import { brief } from './brief.js'
import { inverse, latticeOf, standardAxesOf } from './cell.js'
import type { CifBlock } from './cif.js'
import { fault, type Where } from './cif-tokens.js'
import { elementOf } from './elements.js'
import { expand, mergeRows, occupants, type AtomRow } from './sites.js'
import { operationsOf } from './symmetry.js'

/** The atoms of one unit cell. */
export interface Crystal {
  /** [n], atomic numbers. */
  readonly numbers: Int32Array
  /** [n, 3], from 0 to below 1. */
  readonly fracCoords: Float64Array
  /** [3, 3], rows a, b, c in Å. */
  readonly lattice: Float64Array
}

export interface CrystalOptions {
  /** What to do with a site that is not occupied by one element fully. */
  readonly occupancy: 'error' | 'majority'
  /** Positions less than this apart on each fractional axis are one site. */
  readonly siteTolerance: number
}

const LENGTHS = ['_cell_length_a', '_cell_length_b', '_cell_length_c']
const ANGLES = ['_cell_angle_alpha', '_cell_angle_beta', '_cell_angle_gamma']
const FRACTIONS = ['_atom_site_fract_x', '_atom_site_fract_y', '_atom_site_fract_z']
const CARTESIANS = ['_atom_site_cartn_x', '_atom_site_cartn_y', '_atom_site_cartn_z']
const NUMBER = /^[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?:\(\d+\)?)?$/
/** Å: ten times the longest cell known of a protein. */
const LENGTH_MAX = 100_000
const LENGTH = { expected: `a length above 0, up to ${LENGTH_MAX} Å`, isValid: (value: number): boolean => value > 0 && value <= LENGTH_MAX }
const ANGLE = { expected: 'an angle between 0 and 180 degrees', isValid: (value: number): boolean => value > 0 && value < 180 }
/** Of a fractional coordinate: larger ones have lost the digits that say where in the cell the atom is. */
const FRACTION_MAX = 10_000

/**
 * The crystal that a block describes, with its symmetry applied. Coordinates within 0.01 % of 1/3 or 2/3 are set to it first, and atoms come by
 * electronegativity, symbol, oxidation state and place in the file: both as in pymatgen's reader, so that atom i is the same atom there.
 *
 * Throws FormatError or UnsupportedError.
 */
export function crystalOf(block: CifBlock, options: CrystalOptions, where: Where): Crystal {
  const { values } = block
  if (values.has('_cell_modulation_dimension') && !['0', '?', '.'].includes(values.get('_cell_modulation_dimension')![0]!)) throw new UnsupportedError({ ...where, reason: 'a modulated structure has no unit cell' })
  const lengths = LENGTHS.map((tag) => cellNumber(block, where, tag, LENGTH))
  const angles = ANGLES.map((tag) => cellNumber(block, where, tag, ANGLE))
  const lattice = latticeOf(lengths, angles)
  if (lattice === undefined) throw fault(where, 'cell', 'angles of a cell with a volume', angles.join(', '))
  const operations = operationsOf(block, where)
  const rows = atomRows(block, { lengths, angles }, where)
  const sites = occupants(mergeRows(rows, operations, options.siteTolerance), options.occupancy, where)
  return { ...expand(sites, operations, options.siteTolerance, where), lattice }
}

function cellNumber({ values }: CifBlock, where: Where, tag: string, { expected, isValid }: typeof LENGTH): number {
  const column = values.get(tag)
  const value = column === undefined || column.length !== 1 ? NaN : numberOf(column[0]!)
  if (!isValid(value)) throw fault(where, tag, expected, column === undefined ? 'none' : column.length === 1 ? brief(column[0]) : `${column.length} values`)
  return value
}

/** NaN when it is none. A standard uncertainty in parentheses is left out: `4.279(3)` is 4.279. */
export function numberOf(text: string): number {
  if (!NUMBER.test(text)) return NaN
  const uncertainty = text.indexOf('(')
  return Number(uncertainty < 0 ? text : text.slice(0, uncertainty))
}

function atomRows(block: CifBlock, cell: { lengths: readonly number[]; angles: readonly number[] }, where: Where): AtomRow[] {
  const { values } = block
  const cartesian = !values.has('_atom_site_fract_x')
  const tags = cartesian ? CARTESIANS : FRACTIONS
  const columns = tags.map((tag) => values.get(tag) ?? missing(where, tag))
  const labels = values.get('_atom_site_label')
  const types = values.get('_atom_site_type_symbol')
  if (types === undefined && labels === undefined) missing(where, '_atom_site_type_symbol or _atom_site_label')
  const occupancies = values.get('_atom_site_occupancy')
  const flags = values.get('_atom_site_calc_flag')
  const count = columns[0]!.length
  if (count === 0) throw fault(where, tags[0]!, 'atoms', 'none')
  for (const column of [...columns, labels, types, occupancies, flags]) {
    if (column !== undefined && column.length !== count) throw fault(where, 'atom sites', `${count} values in each column, as of ${tags[0]}`, `${column.length}`)
  }
  const toFraction = cartesian ? fractionOfCartesian(block, cell, where) : snapped
  const known = types === undefined ? knownElements(block) : undefined
  const oxidation = oxidationStates(block)
  const rows: AtomRow[] = []
  const xyz = [0, 0, 0]
  for (let row = 0; row < count; row++) {
    // A dummy: it marks a place, and is no atom.
    if (flags?.[row] === 'dum') continue
    const name = labels?.[row] ?? `${types![row]} ${row}`
    const symbol = (types ?? labels!)[row]!
    const element = elementOf(symbol, known)
    if (element === undefined) throw fault(where, `atom ${brief(name)}`, 'the symbol of an element', brief(symbol))
    const occupancy = occupancies === undefined ? 1 : occupancyOf(occupancies[row]!)
    if (!(occupancy >= 0 && occupancy <= 1 + 1e-8)) throw fault(where, `atom ${brief(name)}`, 'an occupancy from 0 to 1', brief(occupancies![row]))
    if (occupancy === 0) continue
    for (let axis = 0; axis < 3; axis++) {
      xyz[axis] = numberOf(columns[axis]![row]!)
      if (!Number.isFinite(xyz[axis])) throw fault(where, `atom ${brief(name)}, ${tags[axis]}`, 'a number', brief(columns[axis]![row]))
    }
    toFraction(xyz)
    if (!xyz.every((x) => Math.abs(x) <= FRACTION_MAX)) throw fault(where, `atom ${brief(name)}`, `fractional coordinates within ±${FRACTION_MAX}`, xyz.join(', '))
    rows.push({ name, element, oxidation: oxidation?.(symbol, element), occupancy, x: xyz[0]!, y: xyz[1]!, z: xyz[2]! })
  }
  if (rows.length === 0) throw fault(where, 'atom sites', 'an atom', `${count} rows that are none`)
  return rows
}

/** Left open means fully occupied. */
function occupancyOf(text: string): number {
  return text === '?' || text === '.' ? 1 : numberOf(text)
}

/** Few digits of 1/3 and 2/3 would make two atoms of one after a rotation. */
function snapped(xyz: number[]): void {
  for (let axis = 0; axis < 3; axis++) {
    for (const ideal of [1 / 3, 2 / 3]) if (Math.abs(1 - xyz[axis]! / ideal) < 1e-4) xyz[axis] = ideal
  }
}

/** By the transformation that the file gives, or by the standard axes: a along x, b in the xy plane. */
function fractionOfCartesian({ values }: CifBlock, { lengths, angles }: { lengths: readonly number[]; angles: readonly number[] }, where: Where): (xyz: number[]) => void {
  const number = (tag: string): number => numberOf(values.get(tag)?.[0] ?? '')
  const tag = '_atom_sites_cartn_tran_matrix_'
  // Given for columns of fractions: row i makes the i-th Cartesian coordinate.
  const given = [11, 21, 31, 12, 22, 32, 13, 23, 33].map((place) => number(`${tag}${place}`))
  const origin = [1, 2, 3].map((place) => values.has(`_atom_sites_cartn_tran_vector_${place}`) ? number(`_atom_sites_cartn_tran_vector_${place}`) : 0)
  const matrix = inverse(values.has(`${tag}11`) ? given : standardAxesOf(lengths, angles))
  if (![...matrix, ...origin].every(Number.isFinite)) throw fault(where, tag, 'a matrix that has an inverse', 'none')
  return (xyz) => {
    const [x, y, z] = xyz.map((value, axis) => value - origin[axis]!) as [number, number, number]
    for (let axis = 0; axis < 3; axis++) xyz[axis] = x * matrix[axis]! + y * matrix[3 + axis]! + z * matrix[6 + axis]!
  }
}

/** Elements of `_atom_type_symbol` or of the formula: they decide what an ambiguous label means. */
function knownElements({ values }: CifBlock): ReadonlySet<number> | undefined {
  const symbols = values.get('_atom_type_symbol') ?? values.get('_chemical_formula_sum')?.[0]?.match(/[A-Z][a-z]?/g)
  return symbols === undefined || symbols === null ? undefined : new Set(symbols.map((symbol) => elementOf(symbol)).filter((element) => element !== undefined))
}

/** Oxidation states that the file lists by atom type: they count for the order of atoms only. */
function oxidationStates({ values }: CifBlock): ((type: string, element: number) => number) | undefined {
  const types = values.get('_atom_type_symbol')
  const states = values.get('_atom_type_oxidation_number')?.map(numberOf)
  if (types === undefined || states === undefined || types.length !== states.length || states.some(Number.isNaN)) return undefined
  const byType = new Map(types.map((type, k) => [type, states[k]!]))
  const byElement = new Map(types.map((type, k) => [elementOf(type.replace(/\d?[+,-]?$/, '')), states[k]!]))
  return (type, element) => byType.get(type) ?? byElement.get(element) ?? 0
}

function missing(where: Where, tag: string): never {
  throw fault(where, 'atom sites', tag, 'none')
}
