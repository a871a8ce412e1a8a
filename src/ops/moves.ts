import type { ProgramBuilder } from './builder.js'
import { withFields } from './fields.js'
import { affineOf, affineTensor, affineValue, byAffine, rescaled, type Affine } from './geometry.js'
import { extentsOf } from './images.js'
import type { Fail, FieldState, FieldStates } from './op.js'

/** Where the voxels of an axis come from: new voxel i lies where voxel scale · i + shift lay. */
export interface Move {
  readonly scale: number
  readonly shift: number
}

/** Affines that an op changes; undefined while their numbers are not known. */
export type MovedAffines = ReadonlyMap<string, Affine | undefined>

const XYZ = [0, 1, 2] as const
const STAYS: Move = { scale: 1, shift: 0 }

/** Those of an op's fields whose affine it changes: it works on x, y or z, which are the first three axes. */
export function movedImages(fields: FieldStates, names: readonly string[], axesOf: (field: FieldState) => readonly number[]): string[] {
  return names.filter((name) => fields[name]!.shape.length >= XYZ.length && affineOf(fields, name) !== undefined && axesOf(fields[name]!).some((axis) => axis < XYZ.length))
}

/** What becomes of the affines of `images`. `movesOf`: by axis of an image whose extents are all known; what it leaves out stays. */
export function movedAffines(fields: FieldStates, images: readonly string[], movesOf: (field: FieldState) => readonly (Move | undefined)[], fail: Fail): MovedAffines {
  const moved = new Map<string, Affine | undefined>()
  for (const [name, group] of byAffine(fields, images, fail)) {
    const affine = affineValue(fields[name]!, name, fail)
    if (affine === undefined) {
      moved.set(name, undefined)
      continue
    }
    const [first] = group as [string]
    const all = movesOf(fields[first]!)
    const moves = XYZ.map((axis) => all[axis] ?? STAYS)
    if (moves.every(({ scale, shift }) => scale === 1 && shift === 0)) continue
    extentsOf(fields, name, group, XYZ, fail)
    for (const image of group) {
      const others = movesOf(fields[image]!)
      if (moves.some(({ scale, shift }, axis) => scale !== (others[axis] ?? STAYS).scale || shift !== (others[axis] ?? STAYS).shift)) fail(`fields ${first} and ${image} share an affine, but other axes of them are x, y and z; give the second a field ${image}_affine`)
    }
    moved.set(name, rescaled(affine, moves.map(({ scale }) => scale), moves.map(({ shift }) => shift)))
  }
  return moved
}

/** Fields after their affines have changed. */
export function withAffines(fields: FieldStates, moved: MovedAffines): FieldStates {
  return withFields(fields, [...moved.keys()], (field, name) => {
    const affine = moved.get(name)
    return affine === undefined ? field : { ...field, value: affineTensor(affine) }
  })
}

/** The same of a program. */
export function knowAffines(builder: ProgramBuilder, moved: MovedAffines): void {
  for (const [name, affine] of moved) {
    builder.know(name, affineTensor(affine ?? refuseUnknown(builder, name)))
  }
}

/** Affines are known of items as they come to the device; what was made there is not seen before the end. */
export function refuseUnknown(builder: ProgramBuilder, affine: string): never {
  return builder.refuse(`what field ${affine} holds is not known here: it says where an image lies, and no op that runs on the device may have made it`)
}
