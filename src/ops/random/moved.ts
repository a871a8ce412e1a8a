import { DTYPES } from '../../core/dtype.js'
import type { FieldSpecs, Tensor } from '../../core/tensor.js'
import { resolveAxes } from '../axes.js'
import { chosenFields } from '../fields.js'
import { affineOf, affineTensor, affineValue, rescaled } from '../geometry.js'
import type { Fail } from '../op.js'
import { statesOf, type ItemFields, type MakeField } from './random-op.js'

/** Where the elements of one axis of the result come from: position i lies on axis `from` of the old array at `scale · i + shift`. */
export interface AxisMove {
  readonly from: number
  readonly extent: number
  readonly scale: 1 | -1
  readonly shift: number
}

/** Fields that have these axes. Of an image and others that share its affine all or none are moved: the affine could not be right for both. */
export function movedFields(specs: FieldSpecs, named: readonly string[] | undefined, axes: readonly number[], fail: Fail): string[] {
  const fields = statesOf(specs)
  const names = chosenFields(fields, named, ({ shape }) => resolveAxes(axes, shape.length) === undefined ? `it has no axes ${axes.join(', ')}` : undefined, fail)
  for (const name of names) {
    const affine = affineOf(fields, name)
    const other = affine && Object.keys(fields).find((field) => field !== affine && fields[field]!.shape.length >= 3 && affineOf(fields, field) === affine && !names.includes(field))
    if (other !== undefined) fail(`fields ${name} and ${other} share the affine ${affine}; name both, or give one an affine of its own`)
  }
  return names
}

/** The item with these fields moved alike, and their affines with them. `movesOf`: for every axis of the result. */
export function moveFields(item: ItemFields, names: readonly string[], movesOf: (shape: readonly number[]) => readonly AxisMove[], make: MakeField): ItemFields {
  const moved: Record<string, Tensor> = { ...item }
  const affines = new Map<string, readonly AxisMove[]>()
  for (const name of names) {
    const tensor = item[name]!
    const moves = movesOf(tensor.shape)
    const target = make(name, tensor.dtype, moves.map(({ extent }) => extent))
    copyMoved(tensor, target, moves)
    moved[name] = target
    const affine = tensor.shape.length >= 3 ? affineOf(statesOf(item), name) : undefined
    if (affine !== undefined) affines.set(affine, moves)
  }
  for (const [name, moves] of affines) moved[name] = affineAfter(name, item[name]!, moves, make)
  return moved
}

function affineAfter(name: string, tensor: Tensor, moves: readonly AxisMove[], make: MakeField): Tensor {
  const spatial = moves.slice(0, 3)
  if (spatial.some(({ from }) => from > 2)) throw new TypeError(`field ${name} says where x, y and z lie; one of them cannot be turned into another axis`)
  const affine = affineValue({ dtype: 'float64', shape: [4, 4], finiteness: 'unchecked', value: tensor }, name, (message) => { throw new TypeError(message) })!
  // Along the old axes first, then in the new order.
  const byOld = [0, 1, 2].map((old) => spatial.find(({ from }) => from === old)!)
  const along = rescaled(affine, byOld.map(({ scale }) => scale), byOld.map(({ shift }) => shift))
  const turned = Float64Array.from(along)
  spatial.forEach(({ from }, axis) => { for (let row = 0; row < 3; row++) turned[4 * row + axis] = along[4 * row + from]! })
  const target = make(name, 'float64', [4, 4])
  ;(target.data as Float64Array).set(affineTensor(turned).data as Float64Array)
  return target
}

/** Copies row by row along the last axis: whole where its elements lie side by side. */
function copyMoved(source: Tensor, target: Tensor, moves: readonly AxisMove[]): void {
  if (target.data.length === 0) return
  // A complex number is two numbers that stay together.
  const unit = DTYPES[source.dtype].kind === 'complex' ? 2 : 1
  const strides = source.shape.map((_, axis) => source.shape.slice(axis + 1).reduce((product, extent) => product * extent, unit))
  const steps = moves.map(({ from, scale }) => strides[from]! * scale)
  const start = moves.reduce((sum, { from, shift }) => sum + strides[from]! * shift, 0)
  const from = source.data as Uint8Array
  const into = target.data as Uint8Array
  const outer = moves.slice(0, -1)
  const { extent } = moves.at(-1) ?? { extent: 1 }
  const step = steps.at(-1) ?? unit
  const at = outer.map(() => 0)
  let base = start
  for (let out = 0; out < into.length; out += extent * unit) {
    if (step === unit) into.set(from.subarray(base, base + extent * unit), out)
    else if (unit === 1) for (let k = 0, i = base; k < extent; k++, i += step) into[out + k] = from[i]!
    else for (let k = 0, i = base; k < extent; k++, i += step) for (let part = 0; part < unit; part++) into[out + k * unit + part] = from[i + part]!
    // The next row, as an odometer counts.
    for (let axis = outer.length - 1; axis >= 0; axis--) {
      base += steps[axis]!
      if (++at[axis]! < outer[axis]!.extent) break
      base -= steps[axis]! * outer[axis]!.extent
      at[axis] = 0
    }
  }
}
