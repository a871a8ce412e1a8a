import { checkOptions, number, show } from '../core/options.js'
import type { Tensor } from '../core/tensor.js'
import { expectCrystal } from './crystal-fields.js'
import { objectParam } from './fields.js'
import { callOf, type FieldStates, type HostOp, type OpCall } from './op.js'
import { determinant, matrixOf, type Cell } from './primitive-cell.js'
import { findPrimitive } from './primitive-threads.js'

const SYMPREC = 0.01
const CRYSTAL_FIELDS = ['numbers', 'frac_coords', 'lattice'] as const
/** Atoms and lattice of a crystal become those of a primitive cell. */
export const primitiveOp: HostOp = {
  name: 'primitive', version: 1, scope: 'item', kind: 'host', draws: false, exact: true,
  params(given) {
    const options = objectParam('primitive', given)
    checkOptions('primitive', options, ['symprec'])
    return { symprec: number('primitive', 'symprec', options.symprec, { min: 1e-6, max: 1 }, SYMPREC) }
  },
  infer(fields, _params, fail) {
    expectCrystal(fields, CRYSTAL_FIELDS, fail)
    // How many atoms are left is only known when it is done.
    return { ...fields, numbers: { dtype: 'int32', shape: [null], finiteness: 'finite' }, frac_coords: { dtype: 'float64', shape: [null, 3], finiteness: 'finite' } }
  },
  needs(_fields: FieldStates, _params, wanted) {
    return CRYSTAL_FIELDS.some((name) => wanted.has(name)) ? new Set([...wanted, ...CRYSTAL_FIELDS]) : wanted
  },
  async run(item, { symprec }, { signal }) {
    // Of what it makes nothing is wanted.
    if (CRYSTAL_FIELDS.some((name) => item[name] === undefined)) return item
    const cell = cellOf(item)
    const found = await findPrimitive({ cell, symprec }, signal)
    if (found === undefined) return item
    return {
      ...item,
      numbers: { dtype: 'int32', shape: [found.numbers.length], data: found.numbers },
      frac_coords: { dtype: 'float64', shape: [found.numbers.length, 3], data: found.fracCoords },
      lattice: { dtype: 'float64', shape: [3, 3], data: found.lattice },
    }
  },
}

/** The item's own copy, checked. */
function cellOf(item: Readonly<Record<string, Tensor>>): Cell {
  const [numbers, fracCoords, lattice] = [item.numbers!.data.slice() as Int32Array, item.frac_coords!.data.slice() as Float64Array, item.lattice!.data.slice() as Float64Array]
  if (numbers.length === 0) throw new Error('there are no atoms')
  if (fracCoords.length !== 3 * numbers.length || lattice.length !== 9) throw new Error(`numbers [${numbers.length}], frac_coords [${item.frac_coords!.shape.join(', ')}] and lattice [${item.lattice!.shape.join(', ')}] are no crystal`)
  for (const [name, values] of [['lattice', lattice], ['frac_coords', fracCoords]] as const) {
    const place = values.findIndex((value) => !Number.isFinite(value))
    if (place >= 0) throw new Error(`${name} [${Math.floor(place / 3)}, ${place % 3}] is ${show(values[place])}`)
  }
  const rows = matrixOf(lattice)
  const box = rows.reduce((product, row) => product * Math.hypot(...row), 1)
  if (!(Math.abs(determinant(rows)) > 1e-5 * box) || box === Infinity) throw new Error('the lattice has no volume')
  return { numbers, fracCoords, lattice }
}

/**
 * Reduces crystals (fields `numbers` int32 [n], `frac_coords` float64 [n, 3], `lattice` float64 [3, 3], rows a, b, c in Å) to a primitive cell, which repeats itself
 * by no shorter translation. `symprec` (Å): how far an atom may lie from where a translation puts it; default 0.01, as pymatgen's SpacegroupAnalyzer has it.
 *
 * A crystal that is primitive stays as it is, to the bit. Otherwise: nothing is moved, symmetrised or turned in space; the vectors are the shortest there are, and each
 * site is where the first of its copies is. Other fields pass through. Symmetry is found by moyo (spglib's successor) on threads of its own.
 *
 * Items fail with an ItemError when the lattice is not finite or has no volume, when atoms are less than `symprec` apart, or when no symmetry is found;
 * the build with MissingDependencyError when @spglib/moyo-wasm is not installed.
 */
export function primitive(options: { readonly symprec?: number } = {}): OpCall {
  return callOf(primitiveOp, options)
}
