import { sizeOf } from '../core/dtype.js'
import { boolean, checkOptions, choice, show } from '../core/options.js'
import { axesParam, lastAxes, sizesParam } from './axes.js'
import { never } from './cast.js'
import { chosenFields, fieldsParam, narrowFields, objectParam, unfitForArithmetic, withFields } from './fields.js'
import { callOf, needsSame, type DeviceOp, type FieldState, type OpCall, type OpParams } from './op.js'
import { axisTable, nearestTable, type ResampleEdges, type ResampleMethod } from './resample-tables.js'

export interface ResampleOptions {
  /** New extents of `axes`, 1 to 3 of them. */
  readonly shape: readonly number[]
  /** Default: the last as many as `shape` has. All other axes are batch. Negative ones count from the end. */
  readonly axes?: readonly number[]
  /** `linear` (default), `nearest` (bits untouched), `cubic` (Catmull-Rom) or `area` (mean over the output cell, for shrinking). */
  readonly method?: ResampleMethod
  /** Places the outer samples' centres on each other instead of the outer samples' edges. Default false: half-pixel centres. */
  readonly alignCorners?: boolean
  /** Beyond the edge: `clamp` (default) repeats the edge sample, `constant` is zero. */
  readonly edges?: ResampleEdges
  /** How the output lies over the input: `center` (default): both cover the same extent. */
  readonly geometry?: 'center'
  /** Default: every real field with enough axes. */
  readonly fields?: readonly string[]
}

/**
 * Changes the extents of 1 to 3 axes by separable interpolation, the lowest axis first. Any real dtype to float32, or any dtype to itself for
 * `nearest`. Downsampling with `linear` or `cubic` does not filter first; `area` does.
 */
export const resampleOp: DeviceOp = {
  name: 'resample', version: 1, scope: 'item', kind: 'device', draws: false, exact: true,
  params(given) {
    const where = 'resample'
    const options = objectParam(where, given)
    if (options.spacing !== undefined) throw new TypeError(`${where}: spacing needs images with an affine, which this version has no source for; it takes shape only`)
    if (options.geometry !== undefined && options.geometry !== 'center') throw new TypeError(`${where}: geometry ${show(options.geometry)} needs images with an affine; without one it takes shape only, with geometry "center"`)
    checkOptions(where, options, ['shape', 'axes', 'method', 'alignCorners', 'edges', 'geometry', 'fields'])
    const shape = sizesParam(where, 'shape', options.shape, 1)
    const axes = axesParam(where, options.axes)
    if (shape.length > 3) throw new TypeError(`${where}: shape must have 1 to 3 extents, not ${shape.length}`)
    if (axes !== undefined && axes.length !== shape.length) throw new TypeError(`${where}: axes has ${axes.length} entries, shape ${shape.length}`)
    const method = choice(where, 'method', options.method, ['nearest', 'linear', 'cubic', 'area'] as const, 'linear')
    const alignCorners = boolean(where, 'alignCorners', options.alignCorners, false)
    if (alignCorners && method === 'area') throw new TypeError(`${where}: area covers cells, so alignCorners has no meaning`)
    // The geometry is in the key from the start, so that others can be added without making it another.
    return { shape, axes, method, alignCorners, edges: choice(where, 'edges', options.edges, ['clamp', 'constant'] as const, 'clamp'), geometry: 'center', fields: fieldsParam(where, options.fields) }
  },
  infer(fields, params, fail) {
    const names = chosenFields(fields, params.fields, (field) => unfit(field, params), fail)
    return withFields(fields, names, (field, name) => {
      const shape = [...field.shape]
      axesOf(params, shape.length).forEach((axis, k) => {
        if (shape[axis] === 0) fail(`axis ${axis} of field ${name} has extent 0: there is nothing to interpolate`)
        shape[axis] = params.shape[k]
      })
      return params.method === 'nearest' ? { ...field, shape } : { dtype: 'float32', shape, finiteness: 'finite' }
    })
  },
  needs: needsSame,
  narrow: (fields, params) => narrowFields(fields, params, (field) => unfit(field, params)),
  lower(builder, params) {
    for (const name of chosenFields(builder.fields(), params.fields, (field) => unfit(field, params), never)) {
      const { dtype, shape } = builder.field(name)
      const plans = axesOf(params, shape.length)
        .map((axis, k) => ({ axis, plan: { from: shape[axis]!, to: params.shape[k] as number, alignCorners: params.alignCorners as boolean, edges: params.edges as ResampleEdges } }))
        .sort((a, b) => a.axis - b.axis)
      if (params.method === 'nearest') {
        const index: (Int32Array | null)[] = shape.map(() => null)
        for (const { axis, plan } of plans) index[axis] = nearestTable(plan)
        builder.gather(name, index, new Uint8Array(sizeOf(dtype)))
      } else {
        builder.arithmetic(name)
        builder.resample(name, plans.map(({ axis, plan }) => axisTable(axis, params.method, plan)))
      }
    }
  },
}

function axesOf(params: OpParams, rank: number): number[] {
  return lastAxes(params.axes, params.shape.length, rank)!
}

function unfit(field: FieldState, params: OpParams): string | undefined {
  const axes = lastAxes(params.axes, params.shape.length, field.shape.length)
  if (axes === undefined) return `it has ${field.shape.length} axes, and ${params.axes === undefined ? `the last ${params.shape.length}` : `axes [${params.axes}]`} are to be resampled`
  return params.method === 'nearest' ? undefined : unfitForArithmetic(field)
}

export function resample(options: ResampleOptions): OpCall {
  return callOf(resampleOp, options)
}
