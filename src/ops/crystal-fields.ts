import { describe, fieldOf } from './fields.js'
import type { Fail, FieldStates } from './op.js'

/** The fields of a crystal: atomic numbers [n], fractions of the lattice vectors [n, 3], and those as rows in Å [3, 3]. */
export const CRYSTAL = { numbers: 'numbers', frac: 'frac_coords', lattice: 'lattice' } as const

const EXPECTED = {
  numbers: { dtype: 'int32', shape: [null] },
  frac_coords: { dtype: 'float64', shape: [null, 3] },
  lattice: { dtype: 'float64', shape: [3, 3] },
} as const

/** Fails unless the named fields are there as the `crystals` source gives them. */
export function expectCrystal(fields: FieldStates, names: readonly (keyof typeof EXPECTED)[], fail: Fail): void {
  for (const name of names) {
    const field = fieldOf(fields, name, fail)
    const { dtype, shape } = EXPECTED[name]
    const fits = field.dtype === dtype && field.shape.length === shape.length && shape.every((extent, axis) => extent === null || field.shape[axis] === extent)
    if (!fits) fail(`expected for field ${name} ${dtype} [${shape.map((extent) => extent ?? 'n').join(', ')}], found ${describe(field)}`)
  }
}
