import { axesParam, lastAxes, resolveAxes } from './axes.js'
import { chosenFields, narrowFields, type Unfit } from './fields.js'
import { affineOf, byAffine } from './geometry.js'
import type { Fail, FieldState, FieldStates, OpParams } from './op.js'

/** What ops on images that lie in space have in common. */

/** Checks an `axes` parameter: the three of x, y and z. Default: the first three. */
export function xyzParam(where: string, value: unknown): readonly number[] {
  const axes = axesParam(where, value)
  if (axes !== undefined && axes.length !== 3) throw new TypeError(`${where}: axes must be the three of x, y and z, not ${axes.length}`)
  return axes ?? [0, 1, 2]
}

/** Why a field is no image with these axes. */
export function unfitForXyz(field: FieldState, axes: readonly number[]): string | undefined {
  return lastAxes(axes, 3, field.shape.length) === undefined ? `it has ${field.shape.length} axes, which do not include x, y and z` : undefined
}

/** Fields that lie in space and that an op can work on: what ops that go by affines choose by default. */
export function imagesIn(fields: FieldStates, unfit: Unfit): string[] {
  return Object.keys(fields).filter((name) => affineOf(fields, name) !== undefined && unfit(fields[name]!, name) === undefined)
}

/** The images an op that goes by affines works on: those named, or all that it can. */
export function imagesOf(fields: FieldStates, named: readonly string[] | undefined, unfit: Unfit, fail: Fail): string[] {
  if (named !== undefined) return chosenFields(fields, named, unfit, fail)
  const images = imagesIn(fields, unfit)
  if (images.length === 0) fail(`there is no image with an affine (a field of float64 [4, 4] named affine or <image>_affine); there are ${Object.keys(fields).join(', ')}`)
  return images
}

/**
 * Extents of x, y and z, which images that share an affine must have alike. An image that lies by the same affine and is not among them would no longer lie where it says: it must be named, too, or have an
 * affine of its own. Of fields of other extents it is taken that they are no such images.
 */
export function extentsOf(fields: FieldStates, affine: string, images: readonly string[], axes: readonly number[], fail: Fail): number[] {
  const extents = (image: string): number[] | undefined => resolveAxes(axes, fields[image]!.shape.length)?.map((axis) => fields[image]!.shape[axis]!)
  const same = (a: readonly number[] | undefined, b: readonly number[]): boolean => a !== undefined && a.every((extent, k) => extent === b[k])
  const [first] = images as [string]
  const all = extents(first)!
  for (const image of images) {
    if (!same(extents(image), all)) fail(`fields ${first} and ${image} share an affine, but are [${all.join(', ')}] and [${extents(image)!.join(', ')}] voxels; give the second a field ${image}_affine`)
  }
  for (const other of Object.keys(fields)) {
    if (!images.includes(other) && affineOf(fields, other) === affine && same(extents(other), all)) fail(`field ${other} lies by ${affine}, too, which changes with ${first}: name both, or give it a field ${other}_affine`)
  }
  return all
}

/**
 * `needs` of ops that change affines: an affine is made from an image's extents, too. `byPlace`: images are made by their affines, whether those are wanted or not.
 */
export function needsOfImages(fields: FieldStates, images: readonly string[], wanted: ReadonlySet<string>, byPlace: boolean, fail: Fail): ReadonlySet<string> {
  const needed = new Set(wanted)
  for (const [affine, group] of byAffine(fields, images, fail)) {
    const isWanted = group.some((image) => wanted.has(image))
    if (byPlace && isWanted) needed.add(affine)
    // Any would do; the first by name, so that the order of fields is in no key.
    if (wanted.has(affine) && !isWanted) needed.add([...group].sort()[0]!)
  }
  return needed
}

/** `narrow` of ops that choose images by default. */
export function narrowImages(fields: FieldStates, params: OpParams, unfit: Unfit): OpParams | undefined {
  return narrowFields(fields, { ...params, fields: params.fields ?? imagesIn(fields, unfit) }, unfit)
}
