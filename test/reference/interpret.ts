/**
 * The reference: what src/ops/program.ts says, element by element, in the plainest way. Everything fast is compared with it; it shares no code with
 * what it judges but the types.
 */
import { DTYPES, type DType, type TypedArray } from '../../src/core/dtype.js'
import type { Fault } from '../../src/devices/device.js'
import type { AffineStep, CastStep, ForegroundBoxStep, GatherStep, KernelStep, NormalizeStep, PermuteStep, Program, ResampleStep } from '../../src/ops/program.js'
import { normalizeGroup } from './normalize.js'
import { add, bitsAt, decode, encode, guard, isGreater, isNonFinite, multiply, putBits, subtract } from './numbers.js'

/** One tensor as bytes. */
interface Value { readonly dtype: DType; readonly shape: readonly number[]; readonly view: DataView }

interface Found { readonly count: number; readonly index: number }

export function interpret(program: Program, count: number, inputs: readonly TypedArray[]): { outputs: TypedArray[]; faults: Fault[] } {
  const outputs = program.outputs.map(({ value }) => {
    const { dtype, shape } = program.values[value]!
    return newArray(dtype, count * sizeOf(dtype, shape))
  })
  const faults: Fault[] = []
  for (let item = 0; item < count; item++) {
    const values = program.values.map(({ dtype, shape }): Value => ({ dtype, shape, view: new DataView(new ArrayBuffer(sizeOf(dtype, shape))) }))
    program.inputs.forEach(({ value }, k) => {
      const bytes = values[value]!.view.byteLength
      const all = new Uint8Array(inputs[k]!.buffer, inputs[k]!.byteOffset, inputs[k]!.byteLength)
      new Uint8Array(values[value]!.view.buffer).set(all.subarray(item * bytes, (item + 1) * bytes))
    })
    for (const [number, step] of program.steps.entries()) {
      if (step.kernel === 'wgsl') throw new TypeError('the reference knows nothing of a user\'s kernels')
      const found = run(step, values[step.in]!, values[step.out]!)
      if (found === undefined) continue
      faults.push({ step: number, item, ...found })
      break
    }
    program.outputs.forEach(({ value }, k) => {
      const bytes = new Uint8Array(values[value]!.view.buffer)
      new Uint8Array(outputs[k]!.buffer, outputs[k]!.byteOffset).set(bytes, item * bytes.length)
    })
  }
  return { outputs, faults }
}

function run(step: KernelStep, from: Value, to: Value): Found | undefined {
  switch (step.kernel) {
    case 'cast': return castStep(step, from, to)
    case 'gather': return gatherStep(step, from, to)
    case 'permute': return permuteStep(step, from, to)
    case 'resample': return resampleStep(step, from, to)
    case 'affine': return affineStep(step, from, to)
    case 'foreground-box': return foregroundBoxStep(step, from, to)
    case 'normalize': return normalizeStep(step, from, to)
  }
}

function castStep(step: CastStep, from: Value, to: Value): Found | undefined {
  // Complex numbers are pairs of their real type.
  const parts = DTYPES[from.dtype].kind === 'complex' ? 2 : 1
  const real = (dtype: DType): DType => dtype === 'complex64' ? 'float32' : dtype === 'complex128' ? 'float64' : dtype
  const [a, b] = [real(from.dtype), real(to.dtype)]
  const [sizeA, sizeB] = [DTYPES[a].size, DTYPES[b].size]
  const judged = DTYPES[b].kind === 'float'
  let count = 0
  let index = -1
  for (let i = 0; i < product(from.shape); i++) {
    const bits = Array.from({ length: parts }, (_, k) => bitsAt(from.view, sizeA, i * parts + k))
    const results = bits.map((value) => a === b && a !== 'bool' ? value : convert(a, b, value))
    const bad = judged ? results.some((value) => isNonFinite(b, value)) : bits.some((value) => isNonFinite(a, value))
    if (bad) {
      count++
      if (index < 0) index = i
    }
    results.forEach((value, k) => putBits(to.view, sizeB, i * parts + k, bad && step.nonFinite === 'zero' ? 0n : value))
  }
  return count > 0 && step.nonFinite === 'error' ? { count, index } : undefined
}

function convert(a: DType, b: DType, bits: bigint): bigint {
  const whole = (dtype: DType): boolean => DTYPES[dtype].kind === 'int' || DTYPES[dtype].kind === 'uint' || dtype === 'bool'
  if (whole(a) && whole(b) && b !== 'bool') {
    const { negative, m } = decode(a, bits) as { negative: boolean; m: bigint }
    return BigInt.asUintN(DTYPES[b].size * 8, negative ? -m : m)
  }
  return encode(b, decode(a, bits))
}

function gatherStep(step: GatherStep, from: Value, to: Value): undefined {
  const { size } = DTYPES[from.dtype]
  each(to.shape, (position, i) => {
    const source = position.map((at, axis) => step.index[axis]?.[at] ?? (step.index[axis] === null ? at : -1))
    for (let k = 0; k < size; k++) {
      const byte = source.includes(-1) ? step.fill[k]! : from.view.getUint8(offset(from.shape, source) * size + k)
      to.view.setUint8(i * size + k, byte)
    }
  })
}

function permuteStep(step: PermuteStep, from: Value, to: Value): undefined {
  const { size } = DTYPES[from.dtype]
  each(to.shape, (position, i) => {
    const source = from.shape.map((_, axis) => position[step.order.indexOf(axis)]!)
    for (let k = 0; k < size; k++) to.view.setUint8(i * size + k, from.view.getUint8(offset(from.shape, source) * size + k))
  })
}

function resampleStep(step: ResampleStep, from: Value, to: Value): Found | undefined {
  let shape = [...from.shape]
  let values = Array.from({ length: product(shape) }, (_, i) => guard(from.view.getFloat32(i * 4, true)))
  for (const { axis, taps, index, weight } of step.tables) {
    const next = [...shape]
    next[axis] = index.length / taps
    const made: number[] = []
    each(next, (position) => {
      let sum = 0
      for (let t = 0; t < taps; t++) {
        const at = [...position]
        at[axis] = index[position[axis]! * taps + t]!
        const term = multiply(guard(weight[position[axis]! * taps + t]!), values[offset(shape, at)]!)
        sum = t === 0 ? term : add(sum, term)
      }
      made.push(sum)
    })
    shape = next
    values = made
  }
  return storeFloats(values, to)
}

function affineStep(step: AffineStep, from: Value, to: Value): Found | undefined {
  const { size } = DTYPES[from.dtype]
  const { axis } = step
  const extents = from.shape.slice(axis, axis + 3).map(BigInt)
  const made: number[] = []
  each(to.shape, (position, i) => {
    // In steps of 2^-24 elements: the nearest one, halves up.
    const coordinates = [0, 1, 2].map((row) => {
      const exact = [0, 1, 2].reduce((sum, k) => sum + step.matrix[4 * row + k]! * BigInt(position[axis + k]!), step.matrix[4 * row + 3]!)
      return floorDivide(2n * exact + 2n ** 16n, 2n ** 17n)
    })
    const cells = coordinates.map((c) => floorDivide(2n * c + 2n ** 24n, 2n ** 25n))
    const outside = step.edges === 'constant' && cells.some((cell, k) => cell < 0n || cell >= extents[k]!)
    const at = (places: readonly bigint[]): number => {
      const source = [...position]
      places.forEach((place, k) => { source[axis + k] = Number(place < 0n ? 0n : place >= extents[k]! ? extents[k]! - 1n : place) })
      return offset(from.shape, source)
    }
    if (step.method === 'nearest') {
      for (let k = 0; k < size; k++) to.view.setUint8(i * size + k, outside ? 0 : from.view.getUint8(at(cells) * size + k))
      return
    }
    const whole = coordinates.map((c) => floorDivide(c, 2n ** 24n))
    const fractions = coordinates.map((c, k) => Number(c - whole[k]! * 2n ** 24n) / 2 ** 24)
    // Of the axes from k on, those before being settled.
    const mixed = (places: readonly bigint[], k: number): number => {
      if (k === 3) return guard(from.view.getFloat32(at(places) * 4, true))
      const [a, b] = [0n, 1n].map((more) => mixed([...places, whole[k]! + more], k + 1)) as [number, number]
      return add(a, multiply(subtract(b, a), fractions[k]!))
    }
    made.push(outside ? 0 : mixed([], 0))
  })
  return step.method === 'nearest' ? undefined : storeFloats(made, to)
}

function foregroundBoxStep({ axes, threshold }: ForegroundBoxStep, from: Value, to: Value): undefined {
  const { size } = DTYPES[from.dtype]
  const limit = new DataView(new ArrayBuffer(8))
  limit.setFloat64(0, threshold, true)
  const found: number[][] = []
  each(from.shape, (position, i) => {
    if (isGreater(decode(from.dtype, bitsAt(from.view, size, i)), decode('float64', bitsAt(limit, 8, 0)))) found.push(axes.map((axis) => position[axis]!))
  })
  for (let k = 0; k < 3; k++) {
    const at = found.map((position) => position[k]!)
    to.view.setInt32(4 * k, at.reduce((a, b) => Math.min(a, b), found.length === 0 ? 0 : Infinity), true)
    to.view.setInt32(4 * (3 + k), at.reduce((a, b) => Math.max(a, b + 1), 0), true)
  }
  return undefined
}

function floorDivide(a: bigint, b: bigint): bigint {
  const quotient = a / b
  return quotient * b > a ? quotient - 1n : quotient
}

function normalizeStep(step: NormalizeStep, from: Value, to: Value): Found | undefined {
  const read = (i: number): number => {
    if (from.dtype === 'float32') return from.view.getFloat32(i * 4, true)
    const { negative, m } = decode(from.dtype, bitsAt(from.view, DTYPES[from.dtype].size, i)) as { negative: boolean; m: bigint }
    return negative ? -Number(m) : Number(m)
  }
  const all: number[] = []
  for (let group = 0; group < step.groups; group++) {
    const members = Array.from({ length: step.members }, (_, k) => read(group * step.members + k))
    for (const y of normalizeGroup(step, from.dtype, members, group)) all.push(y)
  }
  return storeFloats(all, to)
}

function storeFloats(values: readonly number[], to: Value): Found | undefined {
  let count = 0
  let index = -1
  values.forEach((value, i) => {
    to.view.setFloat32(i * 4, value, true)
    if (Number.isFinite(value)) return
    count++
    if (index < 0) index = i
  })
  return count > 0 ? { count, index } : undefined
}

/** Calls `visit` for every position of a shape in C order. */
function each(shape: readonly number[], visit: (position: number[], index: number) => void): void {
  const count = product(shape)
  for (let i = 0; i < count; i++) {
    const position: number[] = []
    let rest = i
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      position.unshift(rest % shape[axis]!)
      rest = Math.floor(rest / shape[axis]!)
    }
    visit(position, i)
  }
}

function offset(shape: readonly number[], position: readonly number[]): number {
  return position.reduce((sum, at, axis) => sum * shape[axis]! + at, 0)
}

function product(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1)
}

function sizeOf(dtype: DType, shape: readonly number[]): number {
  return product(shape) * DTYPES[dtype].size
}

function newArray(dtype: DType, bytes: number): TypedArray {
  const { array } = DTYPES[dtype]
  return new array(new ArrayBuffer(bytes), 0, bytes / array.BYTES_PER_ELEMENT)
}
