import { DTYPES, isDType, type DType } from '../core/dtype.js'
import { checkOptions, choice, nearest, show } from '../core/options.js'
import type { NonFinite } from '../core/tensor.js'
import { castFiniteness } from './builder.js'
import { chosenFields, fieldsParam, narrowFields, objectParam, withFields } from './fields.js'
import { callOf, needsSame, type DeviceOp, type FieldState, type OpCall, type OpParams } from './op.js'

/** Options of `cast`. */
export interface CastOptions {
  /** What elements become. */
  readonly dtype: DType
  /** NaN and infinity, also those that the cast makes (a float64 beyond float32): `error` (default), `zero`, or `keep`, after which no arithmetic is possible. */
  readonly nonFinite?: NonFinite
  /** Default: every field of a dtype that can be cast. */
  readonly fields?: readonly string[]
}

/**
 * Converts elements by NumPy's `astype` rules: floating to floating rounds to nearest even, to integer truncates toward zero; integers wrap. Where NumPy
 * leaves the result open it is defined: float to integer saturates and NaN becomes 0. Same shape.
 */
export const castOp: DeviceOp = {
  name: 'cast', version: 1, scope: 'item', kind: 'device', draws: false, exact: true,
  params(given) {
    const where = 'cast'
    const { dtype, nonFinite, fields } = objectParam(where, given)
    checkOptions(where, given as object, ['dtype', 'nonFinite', 'fields'])
    if (!isDType(dtype)) {
      const near = typeof dtype === 'string' ? nearest(dtype, Object.keys(DTYPES)) : undefined
      throw new TypeError(`${where}: dtype must be one of ${Object.keys(DTYPES).join(', ')}, not ${show(dtype)}${near === undefined ? '' : `; did you mean "${near}"?`}`)
    }
    return { dtype, nonFinite: choice(where, 'nonFinite', nonFinite, ['error', 'zero', 'keep'] as const, 'error'), fields: fieldsParam(where, fields) }
  },
  infer(fields, params, fail) {
    const names = chosenFields(fields, params.fields, (field) => unfit(field, params), fail)
    return withFields(fields, names, (field) => ({ ...field, dtype: params.dtype, finiteness: castFiniteness(field, params.dtype, params.nonFinite) }))
  },
  needs: needsSame,
  narrow: (fields, params) => narrowFields(fields, params, (field) => unfit(field, params)),
  lower(builder, params) {
    const names = chosenFields(builder.fields(), params.fields, (field) => unfit(field, params), never)
    for (const name of names) builder.cast(name, params.dtype, params.nonFinite)
  },
}

function unfit(field: FieldState, params: OpParams): string | undefined {
  const complex = (dtype: DType): boolean => DTYPES[dtype].kind === 'complex'
  return complex(field.dtype) === complex(params.dtype) ? undefined : 'real and complex numbers cannot be cast into each other'
}

/** infer has accepted the fields, so nothing is left to fail. */
export function never(message: string): never {
  throw new Error(message)
}

/** Converts elements to another dtype by NumPy's `astype` rules; float to integer saturates. Same shape. Throws TypeError. */
export function cast(options: CastOptions): OpCall {
  return callOf(castOp, options)
}
