import { createCpuDevice } from '../../src/devices/cpu.js'
import { DTYPES, type DType, type TypedArray } from '../../src/core/dtype.js'
import { elementCount, typedArray, type Tensor } from '../../src/core/tensor.js'
import type { Fault } from '../../src/devices/device.js'
import { compile, checkRecipe } from '../../src/ops/compile.js'
import { isAffine } from '../../src/ops/geometry.js'
import type { OpCall } from '../../src/ops/op.js'
import { recipe } from '../../src/ops/recipe.js'
import { interpret } from '../reference/interpret.js'

export interface Field { readonly dtype: DType; readonly shape: readonly number[]; readonly data: TypedArray }

export const float32 = (shape: readonly number[], values: readonly number[]): Field => ({ dtype: 'float32', shape, data: Float32Array.from(values) })

/** Runs device ops on one item, on the reference and on the CPU; both must agree, and with what infer promised. Affines are known, as they are of items. */
export async function runOps(ops: readonly OpCall[], fields: Readonly<Record<string, Field>>): Promise<{ fields: Record<string, Field>; faults: readonly Fault[] }> {
  const specs = checkRecipe(recipe(ops), fields)
  const known = Object.fromEntries(Object.entries(fields).map(([name, field]) => [name, isAffine(name, field) ? { ...field, value: field as Tensor } : field]))
  const { program, passThrough, known: made } = compile({ ops, first: 0 }, known, new Set())
  const inputs = program.inputs.map(({ field }) => fields[field]!.data)
  const expected = interpret(program, 1, inputs)
  const outputs = program.outputs.map(({ value }) => {
    const { dtype, shape } = program.values[value]!
    const bytes = elementCount(shape)! * DTYPES[dtype].size
    return typedArray(dtype, new ArrayBuffer(bytes), 0, bytes) as TypedArray
  })
  const device = createCpuDevice({ threads: 1 })
  const faults = await (await device.prepare(program)).run({ count: 1, inputs, outputs })
  await device.close()
  if (JSON.stringify(faults) !== JSON.stringify(expected.faults)) throw new Error(`faults ${JSON.stringify(faults)}, the reference has ${JSON.stringify(expected.faults)}`)
  const found: Record<string, Field> = Object.fromEntries(made.map(({ field, tensor }) => [field, tensor as Field]))
  program.outputs.forEach(({ field, value }, k) => {
    const { dtype, shape } = program.values[value]!
    if (faults.length === 0 && Buffer.compare(bytes(outputs[k]!), bytes(expected.outputs[k]!)) !== 0) throw new Error(`${field}: the CPU and the reference differ`)
    found[field] = { dtype, shape, data: outputs[k]! }
  })
  for (const { from, to } of passThrough) found[to] = fields[from]!
  for (const [name, { dtype, shape }] of Object.entries(specs)) {
    const is = found[name]
    if (is?.dtype !== dtype || is.shape.length !== shape.length || shape.some((extent, axis) => extent !== null && extent !== is.shape[axis])) throw new Error(`${name}: promised ${dtype} [${shape}], made ${is?.dtype} [${is?.shape}]`)
  }
  return { fields: found, faults }
}

function bytes(array: TypedArray): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
}

/** Largest difference, relative to the range of the expected values. */
export function worst(actual: ArrayLike<number | bigint>, expected: readonly number[]): number {
  if (actual.length !== expected.length) return Infinity
  const range = expected.reduce((range, value) => Math.max(range, Math.abs(value)), Math.max(1e-30, expected.reduce((a, b) => Math.max(a, b), -Infinity) - expected.reduce((a, b) => Math.min(a, b), Infinity)))
  return expected.reduce((most, value, i) => Math.max(most, Math.abs(Number(actual[i]) - value) / range), 0)
}
