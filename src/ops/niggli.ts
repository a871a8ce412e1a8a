import { checkOptions } from '../core/options.js'
import { CRYSTAL, expectCrystal } from './crystal-fields.js'
import { objectParam } from './fields.js'
import { callOf, type BatchOp, type OpCall } from './op.js'

const CHANGED: readonly string[] = [CRYSTAL.frac, CRYSTAL.lattice]

export const niggliOp: BatchOp = {
  name: 'niggli', version: 1, scope: 'item', kind: 'batch', draws: false, exact: true,
  params(given) {
    const options = objectParam('niggli', given)
    checkOptions('niggli', options, [])
    return {}
  },
  infer(fields, _params, fail) {
    expectCrystal(fields, [CRYSTAL.frac, CRYSTAL.lattice], fail)
    return fields
  },
  needs(_fields, _params, wanted) {
    return CHANGED.some((name) => wanted.has(name)) ? new Set([...wanted, ...CHANGED]) : wanted
  },
  step: () => ({
    kernel: 'niggli', reads: CHANGED, params: {},
    writes: [{ field: CRYSTAL.frac, dtype: 'float64' }, { field: CRYSTAL.lattice, dtype: 'float64' }],
  }),
}

/**
 * The Niggli cell: of all cells of a lattice the one with the shortest vectors, made unique. `lattice` [3, 3] in Å and `frac_coords` [n, 3] become those of the
 * reduced cell, with c along z and a in the xz plane; atoms keep their order. Equal to pymatgen's `get_reduced_structure()`, rebuilt from its lattice parameters.
 *
 * An item whose cell is flat or not finite is an ItemError.
 *
 * Source: R. W. Grosse-Kunstleve, N. K. Sauter, P. D. Adams, Acta Cryst. A60 (2004) 1-6, after an LLL reduction, with a tolerance of 1e-5 of the volume's cube root.
 */
export function niggli(): OpCall {
  return callOf(niggliOp, {})
}
