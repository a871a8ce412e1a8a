import type { DType } from '../core/dtype.js'
import { boolean, checkOptions } from '../core/options.js'
import type { BatchStep } from './batch.js'
import { CRYSTAL, expectCrystal, needsAdded, withAdded } from './crystal-fields.js'
import { objectParam } from './fields.js'
import { callOf, type BatchOp, type OpCall, type OpParams } from './op.js'

/** Options of `latticeParameters`. */
export interface LatticeParametersOptions {
  /** Also `scaled_lengths`, the lengths divided by the cube root of the number of atoms. Default: false. */
  readonly scaled?: boolean
}

export const latticeParametersOp: BatchOp = {
  name: 'latticeParameters', version: 1, scope: 'item', kind: 'batch', draws: false, exact: true,
  params(given) {
    const where = 'latticeParameters'
    const options = objectParam(where, given)
    checkOptions(where, options, ['scaled'])
    return { scaled: boolean(where, 'scaled', options.scaled, false) }
  },
  infer(fields, params, fail) {
    expectCrystal(fields, reads(params), fail)
    return withAdded(fields, written(params), { lengths: [3], angles: [3], scaled_lengths: [3] }, fail)
  },
  needs: (_fields, params, wanted) => needsAdded(written(params), reads(params), wanted),
  step: (params) => ({ kernel: 'lattice-parameters', reads: reads(params), writes: written(params), params: { scaled: params.scaled } }),
}

/**
 * The cell as six numbers beside the fields that are there: `lengths` float64 [3], a, b, c in Å, and `angles` float64 [3], alpha, beta, gamma in degrees; with `scaled`
 * also `scaled_lengths` float64 [3], lengths / num_atoms^(1/3) in Å, which does not grow with the number of atoms. From + - * / and square roots alone, so that the bytes
 * are the same everywhere: angles within 5 units in the last place of what their cosine says, lengths and cube roots within one.
 *
 * An item whose cell is flat or not finite, or that has no atoms to scale by, is an ItemError.
 */
export function latticeParameters(options: LatticeParametersOptions = {}): OpCall {
  return callOf(latticeParametersOp, options)
}

function reads({ scaled }: OpParams): ('numbers' | 'lattice')[] {
  return scaled === true ? [CRYSTAL.numbers, CRYSTAL.lattice] : [CRYSTAL.lattice]
}

function written({ scaled }: OpParams): BatchStep['writes'] {
  return ['lengths', 'angles', ...(scaled === true ? ['scaled_lengths'] : [])].map((field) => ({ field, dtype: 'float64' satisfies DType }))
}
