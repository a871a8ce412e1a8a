import { sizeOf } from '../core/dtype.js'
import { boolean, checkOptions, choice, show } from '../core/options.js'
import { axesParam, lastAxes, sizesParam } from './axes.js'
import { byFieldParam, checkNamed, narrowed, ofField, type ByField } from './by-field.js'
import { never } from './cast.js'
import { chosenFields, fieldsParam, narrowFields, objectParam, unfitForArithmetic, withFields, type Unfit } from './fields.js'
import { affineValue, byAffine, type Affine } from './geometry.js'
import { extentsOf, imagesOf, narrowImages, needsOfImages } from './images.js'
import { knowAffines, movedAffines, movedImages, withAffines, type Move, type MovedAffines } from './moves.js'
import { callOf, type DeviceOp, type Fail, type FieldState, type FieldStates, type OpCall, type OpParams } from './op.js'
import { gridOf, type GridRequest, type ResampleGeometry } from './resample-grid.js'
import { axisTable, moveOf, nearestTable, type AxisPlan, type ResampleEdges, type ResampleMethod } from './resample-tables.js'

const METHODS = ['linear', 'nearest', 'cubic', 'area'] as const
const EDGES = ['clamp', 'constant'] as const

interface ResampleBase {
  /** `linear` (default), `nearest` (bits untouched), `cubic` (Catmull-Rom) or `area` (mean over the output cell, for shrinking); or by field, `{ label: 'nearest' }`: fields that are not named are `linear`. */
  readonly method?: ByField<ResampleMethod>
}

/** To given extents. */
export interface ResampleToShape extends ResampleBase {
  /** New extents of `axes`, 1 to 3 of them. */
  readonly shape: readonly number[]
  /** Default: the last as many as `shape` has. All other axes are batch. Negative ones count from the end. */
  readonly axes?: readonly number[]
  /** Places the outer samples' centres on each other instead of the outer samples' edges. Default false: half-pixel centres. */
  readonly alignCorners?: boolean
  /** Beyond the edge: `clamp` (default) repeats the edge sample, `constant` is zero. */
  readonly edges?: ResampleEdges
  /** How the output lies over the input: `center` (default): both cover the same extent. */
  readonly geometry?: 'center'
  /** Default: every real field with enough axes. */
  readonly fields?: readonly string[]
}

/** To voxels of a given size, of images that have an affine. */
export interface ResampleToSpacing extends ResampleBase {
  /** mm along x, y and z; one number for all three. */
  readonly spacing: number | readonly [number, number, number]
  /** The image's x, y and z. Default 0, 1, 2. All other axes are batch. */
  readonly axes?: readonly number[]
  /** `center` (default): both cover the same extent. `nibabel`: as nibabel's `resample_to_output`. `monai`: as MONAI's `Spacing`. */
  readonly geometry?: ResampleGeometry
  /** Beyond the edge: `clamp` repeats the edge sample, `constant` is zero. Default: `constant` with `nibabel`, `clamp` otherwise, as those have it. */
  readonly edges?: ResampleEdges
  /** Default: every real field of three axes and more that has an affine. */
  readonly fields?: readonly string[]
}

/** Options of `resample`: to extents, or to voxels of a size. */
export type ResampleOptions = ResampleToShape | ResampleToSpacing

/**
 * Changes the extents of 1 to 3 axes by separable interpolation, the lowest axis first. Any real dtype to float32, or any dtype to itself for
 * `nearest`. Downsampling with `linear` or `cubic` does not filter first; `area` does. Affines of images follow.
 */
export const resampleOp: DeviceOp = {
  name: 'resample', version: 1, scope: 'item', kind: 'device', draws: false, exact: true,
  params(given) {
    const options = objectParam('resample', given)
    return options.spacing === undefined ? shapeParams('resample', options) : spacingParams('resample', options)
  },
  infer(fields, params, fail) {
    const names = chosen(fields, params, fail)
    checkNamed(params.method, names, 'method', fail)
    const { plans, affines } = samplingOf(fields, params, names, fail)
    const states = withFields(fields, [...plans.keys()], (field, name) => {
      const shape = [...field.shape]
      plans.get(name)!.forEach(({ axis, plan }) => { shape[axis] = plan?.to ?? null })
      return methodOf(params, name) === 'nearest' ? { ...field, shape } : { dtype: 'float32', shape, finiteness: 'finite' }
    })
    return withAffines(states, affines)
  },
  needs: (fields, params, wanted) => needsOfImages(fields, movedBy(fields, params, chosen(fields, params, never)), wanted, params.spacing !== undefined, never),
  narrow(fields, params) {
    const left = { ...params, method: narrowed(params.method, fields) }
    return (params.spacing === undefined ? narrowFields : narrowImages)(fields, left, unfitFor(params))
  },
  lower(builder, params) {
    const fields = builder.fields()
    const { plans, affines } = samplingOf(fields, params, chosen(fields, params, never), never)
    knowAffines(builder, affines)
    for (const [name, placed] of plans) {
      const { dtype, shape } = fields[name]!
      const axes = [...placed].sort((a, b) => a.axis - b.axis)
      const method = methodOf(params, name)
      if (method === 'nearest') {
        const index: (Int32Array | null)[] = shape.map(() => null)
        for (const { axis, plan } of axes) index[axis] = nearestTable(plan!)
        builder.gather(name, index, new Uint8Array(sizeOf(dtype)))
      } else {
        builder.arithmetic(name)
        builder.resample(name, axes.map(({ axis, plan }) => axisTable(axis, method, plan!)))
      }
    }
  },
}

function shapeParams(where: string, options: Record<string, unknown>): OpParams {
  if (options.geometry !== undefined && options.geometry !== 'center') throw new TypeError(`${where}: geometry ${show(options.geometry)} goes with spacing; to a shape it is "center"`)
  checkOptions(where, options, ['shape', 'spacing', 'axes', 'method', 'alignCorners', 'edges', 'geometry', 'fields'])
  const shape = sizesParam(where, 'shape', options.shape, 1)
  const axes = axesParam(where, options.axes)
  if (shape.length > 3) throw new TypeError(`${where}: shape must have 1 to 3 extents, not ${shape.length}`)
  if (axes !== undefined && axes.length !== shape.length) throw new TypeError(`${where}: axes has ${axes.length} entries, shape ${shape.length}`)
  const method = byFieldParam(where, 'method', options.method, METHODS)
  const alignCorners = boolean(where, 'alignCorners', options.alignCorners, false)
  if (alignCorners && hasArea(method)) throw new TypeError(`${where}: area covers cells, so alignCorners has no meaning`)
  // The geometry is in the key from the start, so that others can be added without making it another.
  return { shape, axes, method, alignCorners, edges: choice(where, 'edges', options.edges, EDGES, 'clamp'), geometry: 'center', fields: fieldsParam(where, options.fields) }
}

function spacingParams(where: string, options: Record<string, unknown>): OpParams {
  if (options.shape !== undefined) throw new TypeError(`${where}: give either shape or spacing`)
  if (options.alignCorners !== undefined) throw new TypeError(`${where}: with spacing it is the geometry that says where samples lie, so alignCorners has no meaning; MONAI's Spacing takes the same samples with and without it`)
  checkOptions(where, options, ['spacing', 'axes', 'method', 'edges', 'geometry', 'fields'])
  const given = typeof options.spacing === 'number' ? [options.spacing, options.spacing, options.spacing] : options.spacing
  if (!Array.isArray(given) || given.length !== 3 || given.some((size) => typeof size !== 'number' || !Number.isFinite(size) || size <= 0)) throw new TypeError(`${where}: spacing must be one number of mm above 0, or one for each of x, y and z, not ${show(options.spacing)}`)
  const axes = axesParam(where, options.axes)
  if (axes !== undefined && axes.length !== 3) throw new TypeError(`${where}: axes must be the three of x, y and z, not ${axes.length}`)
  const method = byFieldParam(where, 'method', options.method, METHODS)
  const geometry = choice(where, 'geometry', options.geometry, ['center', 'nibabel', 'monai'] as const, 'center')
  if (hasArea(method) && geometry !== 'center') throw new TypeError(`${where}: area covers cells of the whole extent, so it goes with geometry "center"`)
  return { spacing: given, axes: axes ?? [0, 1, 2], method, edges: choice(where, 'edges', options.edges, EDGES, geometry === 'nibabel' ? 'constant' : 'clamp'), geometry, fields: fieldsParam(where, options.fields) }
}

interface Sampling {
  /** By field; a plan is undefined while the affine that it depends on is not known. */
  readonly plans: ReadonlyMap<string, readonly { readonly axis: number; readonly plan: AxisPlan | undefined }[]>
  readonly affines: MovedAffines
}

function samplingOf(fields: FieldStates, params: OpParams, names: readonly string[], fail: Fail): Sampling {
  for (const name of names) {
    const { shape } = fields[name]!
    for (const axis of axesOf(params, shape.length)) if (shape[axis] === 0) fail(`axis ${axis} of field ${name} has extent 0: there is nothing to interpolate`)
  }
  return params.spacing === undefined ? shapeSampling(fields, params, names, fail) : spacingSampling(fields, params, names, fail)
}

function shapeSampling(fields: FieldStates, params: OpParams, names: readonly string[], fail: Fail): Sampling {
  const plansOf = ({ shape }: FieldState): { axis: number; plan: AxisPlan }[] =>
    // Of what is not known yet only `to` is asked.
    axesOf(params, shape.length).map((axis, k) => ({ axis, plan: { from: shape[axis]!, to: params.shape[k], alignCorners: params.alignCorners, edges: params.edges } }))
  const movesOf = (field: FieldState): (Move | undefined)[] => {
    const moves: (Move | undefined)[] = []
    for (const { axis, plan } of plansOf(field)) moves[axis] = moveOf(plan)
    return moves
  }
  return { plans: new Map(names.map((name) => [name, plansOf(fields[name]!)])), affines: movedAffines(fields, movedBy(fields, params, names), movesOf, fail) }
}

function spacingSampling(fields: FieldStates, params: OpParams, names: readonly string[], fail: Fail): Sampling {
  const plans = new Map<string, { axis: number; plan: AxisPlan | undefined }[]>()
  const affines = new Map<string, Affine | undefined>()
  for (const [name, images] of byAffine(fields, names, fail)) {
    const affine = affineValue(fields[name]!, name, fail)
    const grid = affine === undefined ? undefined : gridOf(affine, name, extentsOf(fields, name, images, params.axes, fail), params as unknown as GridRequest, fail)
    affines.set(name, grid?.affine)
    for (const image of images) plans.set(image, axesOf(params, fields[image]!.shape.length).map((axis, k) => ({ axis, plan: grid?.plans[k] })))
  }
  return { plans, affines }
}

/** Fields the op works on. */
function chosen(fields: FieldStates, params: OpParams, fail: Fail): string[] {
  return (params.spacing === undefined ? chosenFields : imagesOf)(fields, params.fields, unfitFor(params), fail)
}

/** Those whose affine changes. */
function movedBy(fields: FieldStates, params: OpParams, names: readonly string[]): readonly string[] {
  return params.spacing === undefined ? movedImages(fields, names, ({ shape }) => axesOf(params, shape.length)) : names
}

function axesOf(params: OpParams, rank: number): number[] {
  return lastAxes(params.axes, countOf(params), rank)!
}

function countOf(params: OpParams): number {
  return (params.shape ?? params.spacing).length
}

function unfitFor(params: OpParams): Unfit {
  return (field, name) => {
    const axes = lastAxes(params.axes, countOf(params), field.shape.length)
    if (axes === undefined) return `it has ${field.shape.length} axes, and ${params.axes === undefined ? `the last ${params.shape.length}` : `axes [${params.axes}]`} are to be resampled`
    return methodOf(params, name) === 'nearest' ? undefined : unfitForArithmetic(field)
  }
}

function methodOf({ method }: OpParams, field: string): ResampleMethod {
  return ofField<ResampleMethod>(method, field, METHODS[0])
}

function hasArea(method: ByField<ResampleMethod>): boolean {
  return typeof method === 'string' ? method === 'area' : Object.values(method).includes('area')
}

/** Reads arrays on another grid along 1 to 3 axes, by interpolation: any real dtype to float32, any dtype to itself for `nearest`. Affines of images follow. Throws TypeError. */
export function resample(options: ResampleOptions): OpCall {
  return callOf(resampleOp, options)
}
