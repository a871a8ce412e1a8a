import { sizeOf } from '../core/dtype.js'
import { checkOptions } from '../core/options.js'
import { axesParam, lastAxes, sizesParam } from './axes.js'
import { never } from './cast.js'
import { chosenFields, fieldsParam, narrowFields, objectParam, withFields } from './fields.js'
import { callOf, needsSame, type DeviceOp, type FieldState, type OpCall, type OpParams } from './op.js'

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

/** Cuts a box out. Any dtype, bits untouched. */
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
      lastAxes(params.axes, params.shape.length, fields[name]!.shape.length)!.forEach((axis, k) => {
        const extent = fields[name]!.shape[axis]
        const stop = (params.start?.[k] ?? 0) + params.shape[k]
        if (extent !== null && stop > extent!) fail(`the box ends at ${stop} on axis ${axis} of field ${name}, which has ${extent}`)
      })
    }
    return withFields(fields, names, (field) => {
      const shape = [...field.shape]
      lastAxes(params.axes, params.shape.length, shape.length)!.forEach((axis, k) => { shape[axis] = params.shape[k] })
      return { ...field, shape }
    })
  },
  needs: needsSame,
  narrow: (fields, params) => narrowFields(fields, params, (field) => unfit(field, params)),
  lower(builder, params) {
    for (const name of chosenFields(builder.fields(), params.fields, (field) => unfit(field, params), never)) {
      const { dtype, shape } = builder.field(name)
      const index: (Int32Array | null)[] = shape.map(() => null)
      lastAxes(params.axes, params.shape.length, shape.length)!.forEach((axis, k) => {
        const extent = params.shape[k] as number
        const start = params.start?.[k] ?? Math.floor((shape[axis]! - extent) / 2)
        if (extent !== shape[axis]) index[axis] = Int32Array.from({ length: extent }, (_, i) => start + i)
      })
      if (index.some((table) => table !== null)) builder.gather(name, index, new Uint8Array(sizeOf(dtype)))
    }
  },
}

function unfit(field: FieldState, params: OpParams): string | undefined {
  return lastAxes(params.axes, params.shape.length, field.shape.length) === undefined ? `it has ${field.shape.length} axes, which do not include those to be cropped` : undefined
}

export function crop(options: CropOptions): OpCall {
  return callOf(cropOp, options)
}
