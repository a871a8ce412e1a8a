import { DTYPES, type TypedArray } from '../core/dtype.js'
import { show } from '../core/options.js'
import { emptyTensor, type Tensor } from '../core/tensor.js'
import { normalize } from '../ops/normalize.js'
import type { OpCall } from '../ops/op.js'
import { SCALER_ID, scalerNames } from '../ops/standard-scaler.js'
import { Dataset } from './dataset.js'

/** What `standardScaler` fitted, in memory; the dataset may be closed. */
export interface Scaler {
  /** Fields it was fitted on. */
  readonly fields: readonly string[]
  /** Items it was fitted on. */
  readonly count: number
  /** Means by field; axis 0 is 1 where it was fitted over rows. */
  readonly mean: Readonly<Record<string, Tensor<'float64'>>>
  /** Standard deviations by field. 0 where a field is constant: then it is taken for 1, so that the field becomes 0 and comes back. */
  readonly std: Readonly<Record<string, Tensor<'float64'>>>
  /**
   * (x - mean) / std in float64. Of an item's field, or a batch's, or a concatenation of rows: the last axes are those of the mean; of an array without a shape, the last
   * elements run over those of the mean. float32 gives float32, all others float64. Throws TypeError.
   */
  transform(field: string, values: Tensor): Tensor
  /** The same of an array without a shape. */
  transform(field: string, values: TypedArray): Float32Array | Float64Array
  /** x · std + mean in float64: what `transform` did, undone. */
  inverse(field: string, values: Tensor): Tensor
  /** The same of an array without a shape. */
  inverse(field: string, values: TypedArray): Float32Array | Float64Array
  /** The same as an op, for recipes of other datasets: `normalize({ mode: 'zscore', mean, std, … })` of this field, in float32. */
  op(field: string): OpCall
}

/** Reads the dataset that `standardScaler` made. Rejects with TypeError when it is another one. */
export async function scalerOf(dataset: Dataset): Promise<Scaler> {
  if (!(dataset instanceof Dataset)) throw new TypeError(`scalerOf: expected a dataset, not ${show(dataset)}`)
  const fields = Object.keys(dataset.fields).filter((name) => name.endsWith('_mean')).map((name) => name.slice(0, -'_mean'.length)).filter((name) => Object.hasOwn(dataset.fields, scalerNames(name).std))
  if (dataset.length !== 1 || dataset.id(0) !== SCALER_ID || !Object.hasOwn(dataset.fields, 'count') || fields.length === 0) {
    throw new TypeError(`scalerOf: expected the dataset that standardScaler makes, one item called ${SCALER_ID}, not ${dataset.length} items with the fields ${Object.keys(dataset.fields).join(', ')}`)
  }
  const item = await dataset.get(0)
  const own = (name: string): Tensor<'float64'> => {
    const { shape, data } = item[name] as Tensor<'float64'>
    return { dtype: 'float64', shape: [...shape], data: data.slice() }
  }
  const byField = (which: 'mean' | 'std'): Record<string, Tensor<'float64'>> => Object.fromEntries(fields.map((field) => [field, own(scalerNames(field)[which])]))
  return new FittedScaler(fields, Number((item.count as Tensor<'int64'>).data[0]), byField('mean'), byField('std'))
}

class FittedScaler implements Scaler {
  readonly fields: readonly string[]
  readonly count: number
  readonly mean: Scaler['mean']
  readonly std: Scaler['std']

  constructor(fields: readonly string[], count: number, mean: Scaler['mean'], std: Scaler['std']) {
    this.fields = fields
    this.count = count
    this.mean = mean
    this.std = std
  }

  transform(field: string, values: Tensor): Tensor
  transform(field: string, values: TypedArray): Float32Array | Float64Array
  transform(field: string, values: Tensor | TypedArray): Tensor | Float32Array | Float64Array {
    return this.#mapped('transform', field, values, (x, mean, scale) => (x - mean) / scale)
  }

  inverse(field: string, values: Tensor): Tensor
  inverse(field: string, values: TypedArray): Float32Array | Float64Array
  inverse(field: string, values: Tensor | TypedArray): Tensor | Float32Array | Float64Array {
    return this.#mapped('inverse', field, values, (x, mean, scale) => x * scale + mean)
  }

  op(field: string): OpCall {
    const { mean, scale } = this.#of('op', field)
    const { shape } = this.mean[field]!
    const given = { mode: 'zscore', fields: [field] } as const
    if (mean.length === 1) return normalize({ ...given, mean: mean[0]!, std: scale[0]! })
    return normalize({ ...given, mean: [...mean], std: [...scale], axes: shape.flatMap((extent, axis) => extent === 1 ? [axis] : []) })
  }

  #of(where: string, field: string): { mean: Float64Array; scale: Float64Array } {
    if (!Object.hasOwn(this.mean, field)) throw new TypeError(`${where}: the scaler has no field ${show(field)}; it has ${this.fields.join(', ')}`)
    return { mean: this.mean[field]!.data, scale: this.std[field]!.data.map((std) => std === 0 ? 1 : std) }
  }

  #mapped(where: string, field: string, values: Tensor | TypedArray, map: (x: number, mean: number, scale: number) => number): Tensor | Float32Array | Float64Array {
    const { mean, scale } = this.#of(where, field)
    if (ArrayBuffer.isView(values)) {
      if (mean.length === 0 ? values.length > 0 : values.length % mean.length !== 0) throw new TypeError(`${where}: expected a multiple of ${mean.length} numbers of field ${field}, found ${values.length}`)
      return spread(values, values instanceof Float32Array ? new Float32Array(values.length) : new Float64Array(values.length), mean, scale, map)
    }
    const { dtype, shape, data } = values
    if (dtype.startsWith('complex') || dtype === 'float16' || dtype === 'bfloat16') throw new TypeError(`${where}: expected field ${field} as float32, float64 or integers, found ${dtype} (array ${DTYPES[dtype].array.name}); cast it first`)
    // Over rows axis 0 is 1 and may be any here, or be gone in a concatenation.
    const own = this.mean[field]!.shape
    const last = own[0] === 1 ? own.slice(1) : own
    if (shape.length < last.length || !last.every((extent, k) => extent === shape[shape.length - last.length + k])) {
      throw new TypeError(`${where}: expected field ${field} with the last axes [${last.join(', ')}], found [${shape.join(', ')}]`)
    }
    const made = emptyTensor(dtype === 'float32' ? 'float32' : 'float64', shape)
    spread(data, made.data, mean, scale, map)
    return made
  }
}

function spread<T extends Float32Array | Float64Array>(values: TypedArray, out: T, mean: Float64Array, scale: Float64Array, map: (x: number, mean: number, scale: number) => number): T {
  for (let i = 0, k = 0; i < out.length; i++) {
    out[i] = map(Number(values[i]), mean[k]!, scale[k]!)
    if (++k === mean.length) k = 0
  }
  return out
}
