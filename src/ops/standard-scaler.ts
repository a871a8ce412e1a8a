import { setImmediate } from 'node:timers/promises'
import type { TypedArray } from '../core/dtype.js'
import { ItemError, NonFiniteError } from '../core/errors.js'
import { checkOptions, choice } from '../core/options.js'
import { dataOf, rowOf, shapeOf, type Rows } from '../core/rows.js'
import type { FieldSpec, Tensor } from '../core/tensor.js'
import { chosenFields, describe, fieldsParam, objectParam, unfitForArithmetic } from './fields.js'
import { Moments } from './moments.js'
import { callOf, runsOf, type DatasetOp, type Fail, type FieldState, type FieldStates, type ItemSequence, type OpCall, type OpParams } from './op.js'

/** Options of `standardScaler`. */
export interface StandardScalerOptions {
  /** Default: every real field it can work on. */
  readonly fields?: readonly string[]
  /**
   * The standard deviation divides by n - ddof: 0 (default) as scikit-learn, NumPy and CDVAE do, of the numbers as they are; 1 as `torch.std` and pandas do by default, an
   * estimate for those they were drawn from.
   */
  readonly ddof?: 0 | 1
}

/** The one item it makes. */
export const SCALER_ID = 'scaler'
export const scalerNames = (field: string): { mean: string; std: string } => ({ mean: `${field}_mean`, std: `${field}_std` })

/** Numbers that are summed in one go on the event loop, some milliseconds. */
const STEP_NUMBERS = 2 ** 17

export const standardScalerOp: DatasetOp = {
  name: 'standardScaler', version: 1, scope: 'dataset', kind: 'dataset', draws: false, exact: true,
  params(given) {
    const where = 'standardScaler'
    const options = objectParam(where, given)
    checkOptions(where, options, ['fields', 'ddof'])
    return { fields: fieldsParam(where, options.fields), ddof: Number(choice(where, 'ddof', options.ddof === undefined ? undefined : String(options.ddof), ['0', '1'], '0')) }
  },
  infer(fields, params, fail) {
    const made: Record<string, FieldState> = { count: { dtype: 'int64', shape: [], finiteness: 'finite' } }
    for (const field of chosen(fields, params, fail)) {
      const { mean, std } = scalerNames(field)
      const state: FieldState = { dtype: 'float64', shape: statisticShape(fields[field]!), finiteness: 'finite' }
      made[mean] = state
      made[std] = state
    }
    return made
  },
  // The number of items, too, is had by reading something of each.
  needs: (fields, params) => new Set(chosen(fields, params, never)),
  async arrange(items, params) {
    if (items.length <= params.ddof) never(`there is nothing to fit on: needed are ${params.ddof + 1} items or more, there are ${items.length}`)
    const fields = standardScalerOp.infer(items.fields, params, never)
    // Fitted when it is asked for, which it is not when the item is in the cache.
    let fitted: Promise<Record<string, Tensor>> | undefined
    return {
      length: 1,
      fields,
      id: () => SCALER_ID,
      async read(_index, names, signal) {
        fitted ??= fit(items, chosen(items.fields, params, never), params.ddof as number, signal)
        fitted.catch(() => { fitted = undefined })
        const all = await fitted
        return Object.fromEntries(names.map((name) => [name, all[name]!]))
      },
    }
  },
}

/**
 * Fits mean and standard deviation of fields over all items of a dataset, and makes one item of them, `scaler`: for each field `<field>_mean` and `<field>_std` float64, and
 * `count` int64 [], the number of items. Fields of one shape are fitted element by element, over items; those that differ in axis 0 over all rows of all items, and the
 * statistics' axis 0 is 1: a field [n, 3] has the mean [1, 3]. `scalerOf` reads it.
 *
 * Exact to some units in the last place, in the order of the items: the same bytes everywhere. A field that is constant has the standard deviation 0. NaN and infinity are a
 * NonFiniteError naming item and field; a dataset without items is a TypeError.
 */
export function standardScaler(options: StandardScalerOptions = {}): OpCall {
  return callOf(standardScalerOp, options)
}

function chosen(fields: FieldStates, params: OpParams, fail: Fail): string[] {
  const names = chosenFields(fields, params.fields as readonly string[] | undefined, unfit, fail)
  for (const name of names) {
    const { shape } = fields[name]!
    if (shape.lastIndexOf(null) > 0) fail(`expected for field ${name} one shape, or one but for axis 0, found ${describe(fields[name]!)}`)
  }
  return names
}

function unfit(field: FieldState): string | undefined {
  return field.dtype === 'float16' || field.dtype === 'bfloat16' ? 'cast it to float32 first' : unfitForArithmetic(field)
}

const never: Fail = (message) => { throw new TypeError(`standardScaler: ${message}`) }

function statisticShape({ shape }: FieldSpec): number[] {
  return shape.map((extent) => extent ?? 1)
}

async function fit(items: ItemSequence, names: readonly string[], ddof: number, signal: AbortSignal | undefined): Promise<Record<string, Tensor>> {
  const columns = names.map((name) => {
    const shape = statisticShape(items.fields[name]!)
    return { name, shape, ragged: items.fields[name]!.shape[0] === null, moments: new Moments(shape.reduce((product, extent) => product * extent, 1)), rows: 0 }
  })
  const scratch = new Float64Array(STEP_NUMBERS)
  let at = 0
  for await (const { count, fields } of runsOf(items, names, signal)) {
    for (const column of columns) {
      const rows = fields[column.name]!
      const data = dataOf(rows)
      for (let from = 0; from < data.length; from += STEP_NUMBERS) {
        signal?.throwIfAborted()
        const part = scratch.subarray(0, Math.min(STEP_NUMBERS, data.length - from))
        toNumbers(data, from, part)
        if (column.moments.add(part) >= 0) throw nonFinite(items, at, count, column.name, rows)
        if (part.length === STEP_NUMBERS) await setImmediate()
      }
      for (let i = 0; i < count; i++) column.rows += column.ragged ? shapeOf(rows, i)[0]! : 1
    }
    at += count
    await setImmediate()
  }
  const made: Record<string, Tensor> = { count: { dtype: 'int64', shape: [], data: BigInt64Array.of(BigInt(items.length)) } }
  for (const { name, shape, moments, rows } of columns) {
    if (rows <= ddof) throw new TypeError(`standardScaler: field ${name} has ${rows} rows in all, needed are more than ${ddof}`)
    const { mean, std } = moments.finish(rows, ddof)
    if (![...mean, ...std].every(Number.isFinite)) throw new ItemError(SCALER_ID, `the values of field ${name} are too large, or too far apart, for their squares to be float64`)
    const named = scalerNames(name)
    made[named.mean] = { dtype: 'float64', shape, data: mean }
    made[named.std] = { dtype: 'float64', shape, data: std }
  }
  return made
}

/** Elements from `from` on, as float64. */
function toNumbers(data: TypedArray, from: number, out: Float64Array): void {
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) for (let i = 0; i < out.length; i++) out[i] = Number(data[from + i])
  else out.set(data.subarray(from, from + out.length))
}

function nonFinite(items: ItemSequence, first: number, count: number, field: string, rows: Rows): NonFiniteError {
  for (let i = 0; i < count; i++) {
    const data = rowOf(rows, i).data as Float64Array
    const index = data.findIndex((x) => !Number.isFinite(x))
    if (index >= 0) return new NonFiniteError({ where: 'standardScaler', item: items.id(first + i), field, count: data.filter((x) => !Number.isFinite(x)).length, index })
  }
  throw new RangeError(`field ${field} changed while it was read`)
}
