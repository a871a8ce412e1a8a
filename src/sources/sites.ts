import { UnsupportedError } from '../core/errors.js'
import { brief } from './brief.js'
import { fault, type Where } from './cif-tokens.js'
import { ELECTRONEGATIVITIES, SYMBOLS } from './elements.js'
import { Points } from './points.js'
import type { Operation } from './symmetry.js'

/** A row of a CIF's atom sites. */
export interface AtomRow {
  /** For messages. */
  readonly name: string
  readonly element: number
  readonly oxidation: number | undefined
  readonly occupancy: number
  readonly x: number
  readonly y: number
  readonly z: number
}

/** A position with every row that lies on it, the first giving the coordinates. */
type MergedSite = readonly [AtomRow, ...AtomRow[]]

/** Atoms of a unit cell after symmetry. */
const ATOMS_MAX = 100_000
/** Rows × operations: bounds the time of a hostile file to about a second; 10,000 atoms in P1 and 5,000 with 192 operations stay below. */
const IMAGES_MAX = 2 ** 20
/** Occupancies are sums of decimal fractions. */
const EXACT = 1e-8
/** With `majority`, rounded occupancies may exceed 1 together by this much. */
const ROUNDED = 0.05

/** Rows on the same position, or on one that an operation makes of it, are one site. */
export function mergeRows(rows: readonly AtomRow[], operations: readonly Operation[], tolerance: number): MergedSite[] {
  const points = new Points(tolerance)
  const sites: [AtomRow, ...AtomRow[]][] = []
  // Too many to be looked at: `expand` refuses them.
  if (rows.length * operations.length > IMAGES_MAX) return rows.map((row) => [row])
  for (const row of rows) {
    let found = -1
    for (let k = 0; k < operations.length && found < 0; k++) {
      const [x, y, z] = applied(operations[k]!, row)
      found = points.find(x, y, z)
    }
    if (found >= 0) sites[found]!.push(row)
    else {
      points.add(row.x, row.y, row.z)
      sites.push([row])
    }
  }
  return sites
}

/** One atom for each site, or with `majority` for each that is more often occupied by it than by others or nothing. */
export function occupants(sites: readonly MergedSite[], occupancy: 'error' | 'majority', where: Where): AtomRow[] {
  const atoms: AtomRow[] = []
  for (const site of sites) {
    const [first] = site
    if (site.length === 1 && Math.abs(first.occupancy - 1) <= EXACT) {
      atoms.push(first)
      continue
    }
    const shares = new Map<number, number>()
    for (const { element, occupancy: share } of site) shares.set(element, (shares.get(element) ?? 0) + share)
    const total = [...shares.values()].reduce((sum, share) => sum + share, 0)
    if (total > 1 + (occupancy === 'majority' ? ROUNDED : EXACT)) {
      throw fault(where, 'atom sites', 'at most one atom in a place', `${described(site)} in the same`)
    }
    if (occupancy === 'error' && !(shares.size === 1 && Math.abs(total - 1) <= EXACT)) {
      throw new UnsupportedError({ ...where, reason: `site ${described(site)} is occupied partially (occupancy: 'majority' takes what is there most often)` })
    }
    // Of equal shares the first of the file wins; nothing wins only with more than the largest.
    const [element, share] = [...shares].reduce((best, next) => next[1] > best[1] + EXACT ? next : best)
    if (1 - total > share + EXACT) continue
    atoms.push({ ...first, element, oxidation: site.find((row) => row.element === element)!.oxidation })
  }
  if (atoms.length === 0) throw fault(where, 'atom sites', 'a site that is occupied more often than not', `none of ${sites.length}`)
  return atoms
}

/** All atoms of the cell: images of each atom under the operations, those that coincide once, sorted. */
export function expand(atoms: readonly AtomRow[], operations: readonly Operation[], tolerance: number, where: Where): { numbers: Int32Array; fracCoords: Float64Array } {
  if (atoms.length * operations.length > IMAGES_MAX) throw fault(where, 'atom sites', `at most ${IMAGES_MAX} images of atoms`, `${atoms.length} atoms and ${operations.length} operations`)
  const all = new Points(tolerance)
  const rows: AtomRow[] = []
  const numbers: number[] = []
  const coordinates: number[] = []
  for (const group of bySpecies(atoms)) {
    const before = rows.length
    for (const atom of group) {
      for (const operation of operations) {
        const [x, y, z] = applied(operation, atom).map(wrapped) as [number, number, number]
        const found = all.find(x, y, z)
        if (found >= before) continue
        if (found >= 0) throw fault(where, 'atom sites', 'at most one atom in a place', `${brief(rows[found]!.name)} and ${brief(atom.name)} in the same`)
        if (rows.length === ATOMS_MAX) throw fault(where, 'atom sites', `at most ${ATOMS_MAX} atoms in the cell`, 'more')
        all.add(x, y, z)
        rows.push(atom)
        numbers.push(atom.element)
        coordinates.push(x, y, z)
      }
    }
  }
  return { numbers: Int32Array.from(numbers), fracCoords: Float64Array.from(coordinates) }
}

function bySpecies(atoms: readonly AtomRow[]): readonly AtomRow[][] {
  const groups = new Map<string, AtomRow[]>()
  for (const atom of atoms) {
    const key = speciesName(atom)
    const group = groups.get(key)
    if (group === undefined) groups.set(key, [atom])
    else group.push(atom)
  }
  const electronegativity = (group: readonly AtomRow[]): number => ELECTRONEGATIVITIES[group[0]!.element]!
  return [...groups].sort(([a, group], [b, other]) => {
    const [x, y] = [electronegativity(group), electronegativity(other)]
    return x < y ? -1 : x > y ? 1 : a < b ? -1 : 1
  }).map(([, group]) => group)
}

/** `Fe`, `Fe3+`, `O2-`, as species are compared where electronegativities are equal. */
function speciesName({ element, oxidation }: AtomRow): string {
  if (oxidation === undefined) return SYMBOLS[element]!
  return `${SYMBOLS[element]}${Math.abs(oxidation) === 1 ? '' : Math.abs(oxidation)}${oxidation < 0 ? '-' : '+'}`
}

function applied(operation: Operation, { x, y, z }: AtomRow): [number, number, number] {
  const [a, b, c, t, d, e, f, u, g, h, i, v] = operation as [number, number, number, number, number, number, number, number, number, number, number, number]
  return [a * x + b * y + c * z + t, d * x + e * y + f * z + u, g * x + h * y + i * z + v]
}

/** Into the cell; a tiny negative number would round up to 1. */
function wrapped(x: number): number {
  const inside = x - Math.floor(x)
  return inside < 1 ? inside : 0
}

function described(site: MergedSite): string {
  return site.slice(0, 4).map(({ name, occupancy }) => `${brief(name)} (${occupancy})`).join(', ') + (site.length > 4 ? ` and ${site.length - 4} more` : '')
}
