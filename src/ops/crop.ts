import { sizeOf } from '../core/dtype.js'
import { checkOptions } from '../core/options.js'
import { axesParam, lastAxes, sizesParam } from './axes.js'
import { never } from './cast.js'
import { chosenFields, fieldsParam, narrowFields, objectParam, withFields } from './fields.js'
import { needsOfImages } from './images.js'
import { knowAffines, movedAffines, movedImages, withAffines, type Move, type MovedAffines } from './moves.js'
import { callOf, type DeviceOp, type Fail, type FieldState, type FieldStates, type OpCall, type OpParams } from './op.js'

/** Options of `crop`. */
export interface CropOptions {
  /** Extents that remain of `axes`. */
  readonly shape: readonly number[]
  /** First position that remains; default: the centre, rounded down. */
  readonly start?: readonly number[]
  /** Default: the last as many as `shape` has. Negative ones count from the end. */
  readonly axes?: readonly number[]
  /** Default: every field with enough axes. */
  readonly fields?: readonly string[]
}

/** Cuts a box out. Any dtype, bits untouched; affines of images follow. */
export const cropOp: DeviceOp = {
  name: 'crop', version: 1, scope: 'item', kind: 'device', draws: false, exact: true,
  params(given) {
    const where = 'crop'
    const options = objectParam(where, given)
    checkOptions(where, options, ['start', 'shape', 'axes', 'fields'])
    const shape = sizesParam(where, 'shape', options.shape, 0)
    const start = options.start === undefined ? undefined : sizesParam(where, 'start', options.start, 0)
    const axes = axesParam(where, options.axes)
    for (const [name, list] of [['start', start], ['axes', axes]] as const) {
      if (list !== undefined && list.length !== shape.length) throw new TypeError(`${where}: ${name} has ${list.length} entries, shape ${shape.length}`)
    }
    return { start, shape, axes, fields: fieldsParam(where, options.fields) }
  },
  infer(fields, params, fail) {
    const names = chosenFields(fields, params.fields, (field) => unfit(field, params), fail)
    for (const name of names) {
      axesOf(fields[name]!, params).forEach((axis, k) => {
        const extent = fields[name]!.shape[axis]
        const stop = (params.start?.[k] ?? 0) + params.shape[k]
        if (extent !== null && stop > extent!) fail(`the box ends at ${stop} on axis ${axis} of field ${name}, which has ${extent}`)
      })
    }
    const states = withFields(fields, names, (field) => {
      const shape = [...field.shape]
      axesOf(field, params).forEach((axis, k) => { shape[axis] = params.shape[k] })
      return { ...field, shape }
    })
    return withAffines(states, affinesOf(fields, params, fail))
  },
  needs: (fields, params, wanted) => needsOfImages(fields, imagesOf(fields, params, never), wanted, false, never),
  narrow: (fields, params) => narrowFields(fields, params, (field) => unfit(field, params)),
  lower(builder, params) {
    const fields = builder.fields()
    knowAffines(builder, affinesOf(fields, params, never))
    for (const name of chosenFields(fields, params.fields, (field) => unfit(field, params), never)) {
      const { dtype, shape } = fields[name]!
      const index: (Int32Array | null)[] = shape.map(() => null)
      axesOf(fields[name]!, params).forEach((axis, k) => {
        const extent = params.shape[k] as number
        const start = startOf(params, k, shape[axis]!)
        if (extent !== shape[axis]) index[axis] = Int32Array.from({ length: extent }, (_, i) => start + i)
      })
      if (index.some((table) => table !== null)) builder.gather(name, index, new Uint8Array(sizeOf(dtype)))
    }
  },
}

function axesOf({ shape }: FieldState, params: OpParams): number[] {
  return lastAxes(params.axes, params.shape.length, shape.length)!
}

function startOf(params: OpParams, k: number, extent: number): number {
  return params.start?.[k] ?? Math.floor((extent - params.shape[k]) / 2)
}

function imagesOf(fields: FieldStates, params: OpParams, fail: Fail): string[] {
  return movedImages(fields, chosenFields(fields, params.fields, (field) => unfit(field, params), fail), (field) => axesOf(field, params))
}

/** What remains begins at another voxel. */
function affinesOf(fields: FieldStates, params: OpParams, fail: Fail): MovedAffines {
  return movedAffines(fields, imagesOf(fields, params, fail), (field) => {
    const moves: (Move | undefined)[] = []
    axesOf(field, params).forEach((axis, k) => { moves[axis] = { scale: 1, shift: startOf(params, k, field.shape[axis]!) } })
    return moves
  }, fail)
}

function unfit(field: FieldState, params: OpParams): string | undefined {
  return lastAxes(params.axes, params.shape.length, field.shape.length) === undefined ? `it has ${field.shape.length} axes, which do not include those to be cropped` : undefined
}

/** Cuts a box out, the same of each item. Any dtype, bits untouched; affines of images follow. Throws TypeError. */
export function crop(options: CropOptions): OpCall {
  return callOf(cropOp, options)
}
