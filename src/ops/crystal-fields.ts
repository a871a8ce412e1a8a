import type { BatchStep } from './batch.js'
import { describe, fieldOf } from './fields.js'
import type { Fail, FieldState, FieldStates } from './op.js'

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

/** `fields` and those that a step adds, finite and of these shapes. Fails where there is one of the name already. */
export function withAdded(fields: FieldStates, written: BatchStep['writes'], shapes: Readonly<Record<string, FieldState['shape']>>, fail: Fail): FieldStates {
  const added: Record<string, FieldState> = {}
  for (const { field, dtype } of written) {
    if (Object.hasOwn(fields, field)) fail(`makes a field ${field}, but there is one already`)
    added[field] = { dtype, shape: shapes[field]!, finiteness: 'finite' }
  }
  return { ...fields, ...added }
}

/** `needs` of an op that adds fields made from those it reads. */
export function needsAdded(written: BatchStep['writes'], reads: readonly string[], wanted: ReadonlySet<string>): ReadonlySet<string> {
  const passed = [...wanted].filter((name) => written.every(({ field }) => field !== name))
  return passed.length === wanted.size ? wanted : new Set([...passed, ...reads])
}
