import type { Tensor } from '../core/tensor.js'
import { show } from '../core/options.js'
import type { Fail, FieldState, FieldStates } from './op.js'

/**
 * Where voxels lie. An image's affine is the field `<image>_affine`, or `affine`: float64 [4, 4], which takes (x, y, z, 1) of a voxel's centre to millimetres, x, y and z being the image's first
 * three axes. Its numbers decide about tables and shapes, so they are known when the program is made: `FieldState.value`.
 */
const AFFINE = 'affine'
const SUFFIX = `_${AFFINE}`

/** True for fields that say where images lie. Ops that are not told which fields to work on leave them alone. */
export function isAffine(name: string, { dtype, shape }: Pick<FieldState, 'dtype' | 'shape'>): boolean {
  return (name === AFFINE || name.endsWith(SUFFIX)) && dtype === 'float64' && shape.length === 2 && shape[0] === 4 && shape[1] === 4
}

/** A box of voxels that was found: int32 [2, 3], first positions and those after the last, along x, y and z. */
export const FOREGROUND_BOX = 'foreground_box'

/** True for fields whose values ops decide by: they are known when programs are made. */
export function isKnown(name: string, field: Pick<FieldState, 'dtype' | 'shape'>): boolean {
  return isAffine(name, field) || (name === FOREGROUND_BOX && field.dtype === 'int32' && field.shape.length === 2)
}

/** The field that says where an image lies; undefined when there is none. */
export function affineOf(fields: FieldStates, image: string): string | undefined {
  return [`${image}${SUFFIX}`, AFFINE].find((name) => name !== image && Object.hasOwn(fields, name) && isAffine(name, fields[name]!))
}

/** The same, which must be there. */
export function requireAffine(fields: FieldStates, image: string, fail: Fail): string {
  return affineOf(fields, image) ?? fail(`field ${image} has no affine: there must be a field ${image}${SUFFIX} or ${AFFINE}, float64 [4, 4]`)
}

/** Images by the field of their affine, so that one that several share is changed once. */
export function byAffine(fields: FieldStates, images: readonly string[], fail: Fail): Map<string, string[]> {
  const groups = new Map<string, string[]>()
  for (const image of images) {
    const affine = requireAffine(fields, image, fail)
    groups.set(affine, [...groups.get(affine) ?? [], image])
  }
  return groups
}

/** 4 × 4 in C order, the last row 0 0 0 1. */
export type Affine = Float64Array

/** The affine's numbers, once they are known. Refuses what is no affine. */
export function affineValue({ value }: FieldState, name: string, fail: Fail): Affine | undefined {
  if (value === undefined) return undefined
  const affine = value.data as Float64Array
  const last = [...affine.subarray(12)]
  if (!affine.every(Number.isFinite) || last.some((entry, k) => entry !== (k === 3 ? 1 : 0))) fail(`field ${name} is no affine: expected finite numbers and a last row of 0 0 0 1, found ${show([...affine])}`)
  return affine
}

/** An affine as a field's value. */
export function affineTensor(affine: Affine): Tensor {
  return { dtype: 'float64', shape: [4, 4], data: affine }
}

/** The voxels' size along each of the three axes, mm. The square root is the same everywhere, which Math.hypot need not be; along the world's axes it gives the entry itself. */
export function spacingOf(affine: Affine): [number, number, number] {
  const square = (entry: number): number => entry * entry
  return [0, 1, 2].map((axis) => Math.sqrt(square(affine[axis]!) + square(affine[4 + axis]!) + square(affine[8 + axis]!))) as [number, number, number]
}

/**
 * The affine of an image whose voxel (x, y, z) is voxel (scale · (x, y, z) + shift) of this one: `affine · [diag(scale) shift]`, each number by plain IEEE double arithmetic in this order.
 */
export function rescaled(affine: Affine, scale: readonly number[], shift: readonly number[]): Affine {
  const made = Float64Array.from(affine)
  for (let row = 0; row < 3; row++) {
    let origin = affine[4 * row + 3]!
    for (let axis = 0; axis < 3; axis++) {
      const entry = affine[4 * row + axis]!
      made[4 * row + axis] = entry * scale[axis]!
      origin += entry * shift[axis]!
    }
    made[4 * row + 3] = origin
  }
  return made
}
