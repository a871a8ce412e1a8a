import { DTYPES, type DType } from '../../src/core/dtype.js'
import type { AffineStep, AxisTable, CastStep, KernelStep, NormalizeStep, Program, ProgramPort, ProgramValue, Step } from '../../src/ops/program.js'
import type { Random } from './values.js'

const origin = { op: 0, opName: 'test', field: 'x' }

/** Steps one after the other on one field; each names the value it makes. */
export function chain(input: ProgramValue, ...steps: readonly { step: Omit<Step, 'in' | 'out' | 'origin'> & { kernel: string }; value: ProgramValue }[]): Program {
  return {
    values: [input, ...steps.map(({ value }) => value)],
    inputs: [{ field: 'x', value: 0 }],
    outputs: [{ field: 'x', value: steps.length }],
    steps: steps.map(({ step }, k) => ({ ...step, in: k, out: k + 1, origin }) as Step),
  }
}

/** Programs side by side as one, each with its own fields. */
export function together(...programs: readonly Program[]): Program {
  const all = { values: [] as ProgramValue[], inputs: [] as ProgramPort[], outputs: [] as ProgramPort[], steps: [] as Step[] }
  programs.forEach(({ values, inputs, outputs, steps }, k) => {
    const base = all.values.length
    const ports = (list: readonly ProgramPort[]): ProgramPort[] => list.map(({ field, value }) => ({ field: `${field}${k}`, value: base + value }))
    all.inputs.push(...ports(inputs))
    all.outputs.push(...ports(outputs))
    all.steps.push(...(steps as KernelStep[]).map((step) => ({ ...step, in: base + step.in, out: base + step.out })))
    all.values.push(...values)
  })
  return all
}

export function castTo(dtype: DType, shape: readonly number[], nonFinite: CastStep['nonFinite'] = 'error') {
  return { step: { kernel: 'cast' as const, nonFinite }, value: { dtype, shape } }
}

export function gathered(dtype: DType, shape: readonly number[], index: readonly (Int32Array | null)[], fill: Uint8Array = new Uint8Array(DTYPES[dtype].size)) {
  return { step: { kernel: 'gather' as const, index, fill }, value: { dtype, shape: index.map((axis, k) => axis?.length ?? shape[k]!) } }
}

export function permuted(dtype: DType, shape: readonly number[], order: readonly number[]) {
  return { step: { kernel: 'permute' as const, order }, value: { dtype, shape: order.map((axis) => shape[axis]!) } }
}

export function resampled(shape: readonly number[], tables: readonly AxisTable[]) {
  const out = [...shape]
  for (const table of tables) out[table.axis] = table.index.length / table.taps
  return { step: { kernel: 'resample' as const, tables }, value: { dtype: 'float32' as const, shape: out } }
}

export function affined(dtype: DType, shape: readonly number[], axis: number, lengths: readonly number[], matrix: BigInt64Array, method: AffineStep['method'], edges: AffineStep['edges'] = 'constant') {
  return { step: { kernel: 'affine' as const, axis, matrix, method, edges }, value: { dtype, shape: shape.map((extent, k) => lengths[k - axis] ?? extent) } }
}

/** A matrix of an affine step from numbers in elements: three rows of x, y, z and what is added. */
export function fixedMatrix(numbers: readonly number[]): BigInt64Array {
  return BigInt64Array.from(numbers, (value) => BigInt(Math.round(value * 2 ** 40)))
}

export function boxed(axes: readonly number[], threshold: number) {
  return { step: { kernel: 'foreground-box' as const, axes, threshold }, value: { dtype: 'int32' as const, shape: [2, 3] } }
}

export function normalized(shape: readonly number[], options: Partial<NormalizeStep>) {
  const elements = shape.reduce((a, b) => a * b, 1)
  const groups = options.groups ?? 1
  const defaults = {
    groups, members: elements / groups, statistics: 'moments', nonzero: false, eps: 1e-8, toLow: 0, toHigh: 1, quantileLow: 0, quantileHigh: 1, clip: false, affine: null,
  } as const
  return { step: { kernel: 'normalize' as const, ...defaults, ...options }, value: { dtype: 'float32' as const, shape } }
}

/** Half-pixel linear interpolation. */
export function linearTable(axis: number, extent: number, length: number): AxisTable {
  const index = new Int32Array(2 * length), weight = new Float32Array(2 * length)
  for (let o = 0; o < length; o++) {
    const position = (o + 0.5) * extent / length - 0.5
    const low = Math.floor(position)
    for (const t of [0, 1]) {
      index[2 * o + t] = Math.min(Math.max(low + t, 0), extent - 1)
      weight[2 * o + t] = t === 0 ? 1 - (position - low) : position - low
    }
  }
  return { axis, taps: 2, index, weight }
}

/** Any positions in any order, any weights: more than an op would ever make. */
export function wildTable(axis: number, extent: number, length: number, taps: number, random: Random): AxisTable {
  const index = Int32Array.from({ length: length * taps }, () => random.below(extent))
  const weight = Float32Array.from({ length: length * taps }, () => random.pick([0, -0, 1, 0.5, -0.125, 2 ** -130, 2 ** -126, random.unit() - 0.5, random.unit()]))
  return { axis, taps, index, weight }
}
