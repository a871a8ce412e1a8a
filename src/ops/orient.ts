import { sizeOf } from '../core/dtype.js'
import { checkOptions, show } from '../core/options.js'
import { resolveAxes } from './axes.js'
import { never } from './cast.js'
import { fieldsParam, objectParam, withFields } from './fields.js'
import { affineTensor, affineValue, byAffine, type Affine } from './geometry.js'
import { extentsOf, imagesOf, narrowImages, needsOfImages, unfitForXyz, xyzParam } from './images.js'
import { refuseUnknown } from './moves.js'
import { callOf, type DeviceOp, type Fail, type FieldState, type FieldStates, type OpCall, type OpParams } from './op.js'
import { axcodesOf, directionsOf, orientationOf, type AxisDirection } from './orientation.js'

/** Options of `orient`. */
export interface OrientOptions {
  /** Towards which end of the world each axis is to run: `RAS` (default), `LPS`, …: Left or Right, Posterior or Anterior, Inferior or Superior. */
  readonly axcodes?: string
  /** The image's x, y and z. Default 0, 1, 2; 1, 2, 3 for images whose first axis is time. */
  readonly axes?: readonly number[]
  /** Default: every field of three axes and more that has an affine. */
  readonly fields?: readonly string[]
}

/** Turns images so that their axes run along the world's: a permutation and flips, bits untouched; the affine follows. Oblique images stay oblique. */
export const orientOp: DeviceOp = {
  name: 'orient', version: 1, scope: 'item', kind: 'device', draws: false, exact: true,
  params(given) {
    const where = 'orient'
    const options = objectParam(where, given)
    checkOptions(where, options, ['axcodes', 'axes', 'fields'])
    const axcodes = options.axcodes ?? 'RAS'
    const directions = typeof axcodes === 'string' ? directionsOf(axcodes.toUpperCase()) : undefined
    if (directions === undefined) throw new TypeError(`${where}: axcodes must have one of each, L or R, P or A, I or S, such as "RAS", not ${show(axcodes)}`)
    return { axcodes: axcodesOf(directions), axes: xyzParam(where, options.axes), fields: fieldsParam(where, options.fields) }
  },
  infer(fields, params, fail) {
    const names = imagesOf(fields, params.fields, (field) => unfitForXyz(field, params.axes), fail)
    let states = fields
    for (const [affine, images] of byAffine(fields, names, fail)) {
      const turn = turnOf(fields, affine, images, params, fail)
      states = withFields(states, images, (field) => ({ ...field, shape: turn === undefined ? unknownShape(field, params) : turnedShape(field, params, turn) }))
      states = withFields(states, [affine], (field) => (turn === undefined ? field : { ...field, value: affineTensor(turn.affine) }))
    }
    return states
  },
  // A turned affine depends on the image's extents, and an image's turn on the affine.
  needs: (fields, params, wanted) => needsOfImages(fields, imagesOf(fields, params.fields, (field) => unfitForXyz(field, params.axes), never), wanted, true, never),
  narrow: (fields, params) => narrowImages(fields, params, (field) => unfitForXyz(field, params.axes)),
  lower(builder, params) {
    const fields = builder.fields()
    for (const [affine, images] of byAffine(fields, imagesOf(fields, params.fields, (field) => unfitForXyz(field, params.axes), never), never)) {
      const turn = turnOf(fields, affine, images, params, never) ?? refuseUnknown(builder, affine)
      for (const image of images) {
        const { dtype, shape } = builder.field(image)
        const axes = resolveAxes(params.axes, shape.length)!
        const index: (Int32Array | null)[] = shape.map(() => null)
        turn.flips.forEach((flip, k) => {
          const extent = shape[axes[k]!]!
          if (flip) index[axes[k]!] = Int32Array.from({ length: extent }, (_, i) => extent - 1 - i)
        })
        if (turn.flips.some(Boolean)) builder.gather(image, index, new Uint8Array(sizeOf(dtype)))
        const order = shape.map((_, axis) => axis)
        turn.from.forEach((from, to) => { order[axes[to]!] = axes[from]! })
        builder.permute(image, order)
      }
      builder.know(affine, affineTensor(turn.affine))
    }
  },
}

interface Turn {
  /** Which of x, y, z each new axis was. */
  readonly from: readonly number[]
  /** By old axis. */
  readonly flips: readonly boolean[]
  readonly affine: Affine
}

/** Undefined while the affine is not known. */
function turnOf(fields: FieldStates, affineName: string, images: readonly string[], params: OpParams, fail: Fail): Turn | undefined {
  const affine = affineValue(fields[affineName]!, affineName, fail)
  if (affine === undefined) return undefined
  const is = orientationOf(affine)
  if (is === undefined) return fail(`field ${affineName} is flat: its axes do not span space`)
  const wanted = directionsOf(params.axcodes)!
  const from = wanted.map(({ world }) => is.findIndex((direction: AxisDirection) => direction.world === world))
  const flips = is.map(({ world, positive }) => wanted.find((direction) => direction.world === world)!.positive !== positive)
  const extents = extentsOf(fields, affineName, images, params.axes, fail)
  const turned = new Float64Array(16)
  for (let row = 0; row < 3; row++) {
    let origin = affine[4 * row + 3]!
    flips.forEach((flip, axis) => { if (flip) origin += affine[4 * row + axis]! * (extents[axis]! - 1) })
    from.forEach((axis, to) => { turned[4 * row + to] = flips[axis]! ? 0 - affine[4 * row + axis]! : affine[4 * row + axis]! })
    turned[4 * row + 3] = origin
  }
  turned[15] = 1
  return { from, flips, affine: turned }
}

function turnedShape({ shape }: FieldState, params: OpParams, { from }: Turn): (number | null)[] {
  const axes = resolveAxes(params.axes, shape.length)!
  const turned = [...shape]
  from.forEach((axis, to) => { turned[axes[to]!] = shape[axes[axis]!]! })
  return turned
}

/** Extents that are all alike stay so, however the image is turned. */
function unknownShape({ shape }: FieldState, params: OpParams): (number | null)[] {
  const axes = resolveAxes(params.axes, shape.length)!
  const isCube = axes.every((axis) => shape[axis] === shape[axes[0]!])
  return shape.map((extent, axis) => (axes.includes(axis) && !isCube ? null : extent))
}

/** Turns images so that their axes run along the world's: a permutation and flips, bits untouched; the affine follows. */
export function orient(options: OrientOptions = {}): OpCall {
  return callOf(orientOp, options)
}
