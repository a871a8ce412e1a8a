import { axesParam, lastAxes, resolveAxes } from './axes.js'
import { never } from './cast.js'
import { chosenFields, narrowFields } from './fields.js'
import { affineOf, byAffine } from './geometry.js'
import type { Fail, FieldState, FieldStates, OpParams } from './op.js'

/** What ops on images that lie in space have in common. Their parameters have `axes`, the three of x, y and z, and `fields`, the images or undefined. */

/** Checks the `axes` parameter. Default: the first three. */
export function imageAxesParam(where: string, value: unknown): readonly number[] {
  const axes = axesParam(where, value)
  if (axes !== undefined && axes.length !== 3) throw new TypeError(`${where}: axes must be the three of x, y and z, not ${axes.length}`)
  return axes ?? [0, 1, 2]
}

/** The images an op works on: those named, or every field that has the axes and an affine. */
export function imagesOf(fields: FieldStates, params: OpParams, fail: Fail): string[] {
  if (params.fields === undefined) {
    const images = imagesIn(fields, params)
    if (images.length === 0) fail(`there is no image with an affine (a field of float64 [4, 4] named affine or <image>_affine); there are ${Object.keys(fields).join(', ')}`)
    return images
  }
  return chosenFields(fields, params.fields, (field) => unfit(field, params), fail)
}

/** Every field that has the axes and an affine. */
export function imagesIn(fields: FieldStates, params: OpParams): string[] {
  return Object.keys(fields).filter((name) => unfit(fields[name]!, params) === undefined && affineOf(fields, name) !== undefined && affineOf(fields, name) !== name)
}

/** Extents of x, y and z; images that share an affine must have the same. */
export function extentsOf(fields: FieldStates, images: readonly string[], params: OpParams, fail: Fail): number[] {
  const all = images.map((image) => resolveAxes(params.axes, fields[image]!.shape.length)!.map((axis) => fields[image]!.shape[axis]!))
  const other = all.findIndex((extents) => extents.some((extent, k) => extent !== all[0]![k]))
  if (other > 0) fail(`fields ${images[0]} and ${images[other]} share an affine, but are [${all[0]!.join(', ')}] and [${all[other]!.join(', ')}] voxels; give the second a field ${images[other]}_affine`)
  return all[0]!
}

/** `needs` of ops whose images depend on their affine, and the affine that they leave on an image's extents. */
export function needsImages(fields: FieldStates, params: OpParams, wanted: ReadonlySet<string>): ReadonlySet<string> {
  const needed = new Set(wanted)
  for (const [affine, images] of byAffine(fields, imagesOf(fields, params, never), never)) {
    if (![affine, ...images].some((name) => wanted.has(name))) continue
    needed.add(affine)
    for (const image of images) if (wanted.has(image) || !images.some((other) => wanted.has(other))) needed.add(image)
  }
  return needed
}

export function narrowImages(fields: FieldStates, params: OpParams): OpParams | undefined {
  return narrowFields(fields, { ...params, fields: params.fields ?? imagesIn(fields, params) }, (field) => unfit(field, params))
}

function unfit(field: FieldState, params: OpParams): string | undefined {
  return lastAxes(params.axes, 3, field.shape.length) === undefined ? `it has ${field.shape.length} axes, which do not include x, y and z` : undefined
}
