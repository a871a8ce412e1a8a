import { checkOptions, choice, show } from '../core/options.js'
import { resolveAxes, sizesParam } from './axes.js'
import { byFieldParam, checkNamed, narrowed, ofField, type ByField } from './by-field.js'
import { never } from './cast.js'
import { describe, fieldsParam, objectParam, unfitForArithmetic, withFields } from './fields.js'
import { affineTensor, affineValue, byAffine, type Affine } from './geometry.js'
import { isFlat, voxelMatrix, worldGrid, type Grid } from './grid.js'
import { extentsOf, imagesOf, narrowImages, needsOfImages, unfitForXyz, xyzParam } from './images.js'
import { refuseUnknown } from './moves.js'
import { callOf, type DeviceOp, type Fail, type FieldState, type FieldStates, type OpCall, type OpParams } from './op.js'
import type { ProgramBuilder } from './builder.js'
import type { AffineEdges, AffineMethod } from './program.js'

/** Options of `reslice`. */
export interface ResliceOptions {
  /**
   * The grid to read images on: `world`, along the world's axes with `spacing`, around the image; or an affine with `shape`, four rows of four or 16 numbers in C order, mm.
   */
  readonly to: 'world' | readonly (readonly number[])[] | ArrayLike<number>
  /** mm, one or three. With `world` only. */
  readonly spacing?: number | readonly number[]
  /** Extents of x, y and z. With an affine only. */
  readonly shape?: readonly number[]
  /** `linear` (default), `nearest` (bits untouched), or by field: fields not named are `linear`. */
  readonly method?: ByField<AffineMethod>
  /** Outside the image: `constant` (default) is zero, `clamp` repeats the edge. A voxel reaches half a voxel beyond its centre. */
  readonly edges?: AffineEdges
  /** The image's x, y and z. Default 0, 1, 2. */
  readonly axes?: readonly number[]
  /** Default: every field of three axes and more that has an affine. */
  readonly fields?: readonly string[]
}

const METHODS = ['linear', 'nearest'] as const
const MOST = 2 ** 31 - 1

/** Reads images on another grid, however that is turned: trilinear to float32, or the nearest voxel. The affine becomes the grid's. */
export const resliceOp: DeviceOp = {
  name: 'reslice', version: 1, scope: 'item', kind: 'device', draws: false, exact: true,
  params(given) {
    const where = 'reslice'
    const options = objectParam(where, given)
    checkOptions(where, options, ['to', 'spacing', 'shape', 'method', 'edges', 'axes', 'fields'])
    const common = {
      method: byFieldParam(where, 'method', options.method, METHODS), edges: choice(where, 'edges', options.edges, ['constant', 'clamp'] as const, 'constant'),
      axes: xyzParam(where, options.axes), fields: fieldsParam(where, options.fields),
    }
    if (options.to === 'world') {
      if (options.shape !== undefined) throw new TypeError(`${where}: shape goes with an affine; around the world's axes it follows from spacing`)
      return { to: 'world', spacing: spacingParam(where, options.spacing), ...common }
    }
    if (options.spacing !== undefined) throw new TypeError(`${where}: spacing goes with "world"; an affine has its own`)
    const shape = sizesParam(where, 'shape', options.shape, 1)
    if (shape.length !== 3 || shape.some((extent) => extent > MOST)) throw new TypeError(`${where}: shape must be the three extents of x, y and z, not ${show(shape)}`)
    return { to: targetParam(where, options.to), shape, ...common }
  },
  infer(fields, params, fail) {
    const names = chosenImages(fields, params, fail)
    checkNamed(params.method, names, 'method', fail)
    let states = fields
    for (const [affine, images] of byAffine(fields, names, fail)) {
      const target = targetOf(fields, affine, images, params, fail)
      states = withFields(states, images, (field, name) => resliced(field, name, params, target?.grid.shape, fail))
      states = withFields(states, [affine], (field) => target === undefined ? field : { ...field, value: affineTensor(target.grid.affine) })
    }
    return states
  },
  needs: (fields, params, wanted) => needsOfImages(fields, chosenImages(fields, params, never), wanted, true, never),
  narrow(fields, params) {
    return narrowImages(fields, { ...params, method: narrowed(params.method, fields) }, (field) => unfitForXyz(field, params.axes))
  },
  lower(builder, params) {
    const fields = builder.fields()
    for (const [affine, images] of byAffine(fields, chosenImages(fields, params, never), never)) {
      const { grid, matrix } = targetOf(fields, affine, images, params, never) ?? refuseUnknown(builder, affine)
      for (const image of images) read(builder, image, grid.shape, matrix, params)
      builder.know(affine, affineTensor(grid.affine))
    }
  },
}

function chosenImages(fields: FieldStates, params: OpParams, fail: Fail): string[] {
  return imagesOf(fields, params.fields, (field) => unfitForXyz(field, params.axes), fail)
}

/** Undefined while the affine is not known. */
function targetOf(fields: FieldStates, affineName: string, images: readonly string[], params: OpParams, fail: Fail): { grid: Grid; matrix: BigInt64Array } | undefined {
  const affine = affineValue(fields[affineName]!, affineName, fail)
  if (affine === undefined) return undefined
  if (isFlat(affine)) fail(`field ${affineName} is flat: its axes do not span space`)
  const extents = extentsOf(fields, affineName, images, params.axes, fail)
  const bad = extents.find((extent) => extent < 1 || extent > 2 ** 23)
  if (bad !== undefined) fail(`expected 1 to ${2 ** 23} voxels along each axis of field ${images[0]}, found ${bad}`)
  const grid = params.to === 'world' ? worldGrid(affine, extents, params.spacing) : { affine: Float64Array.from(params.to as number[]), shape: params.shape as number[] }
  if (grid.shape.some((extent) => !(extent <= MOST))) fail(`a spacing of ${show(params.spacing)} mm gives field ${images[0]} [${grid.shape.join(', ')}] voxels`)
  const matrix = voxelMatrix(affine, grid) ?? fail(`the grid reaches more than ${2 ** 23} voxels away from field ${images[0]}`)
  return { grid, matrix }
}

function resliced(field: FieldState, name: string, params: OpParams, extents: readonly number[] | undefined, fail: Fail): FieldState {
  const shape = [...field.shape]
  resolveAxes(params.axes, shape.length)!.forEach((axis, k) => { shape[axis] = extents?.[k] ?? params.shape?.[k] ?? null })
  if (ofField(params.method, name, METHODS[0]) === 'nearest') return { ...field, shape }
  const reason = unfitForArithmetic(field)
  if (reason !== undefined) fail(`cannot interpolate field ${name} (${describe(field)}): ${reason}; method "nearest" can`)
  return { dtype: 'float32', shape, finiteness: 'finite' }
}

/** The step wants the three axes one after the other, so they are brought together first and put back after it. */
function read(builder: ProgramBuilder, image: string, extents: readonly number[], matrix: BigInt64Array, params: OpParams): void {
  const method = ofField<AffineMethod>(params.method, image, METHODS[0])
  if (method === 'linear') builder.arithmetic(image)
  const rank = builder.field(image).shape.length
  const axes = resolveAxes(params.axes, rank)!
  // Which of x, y and z the step's axes are.
  const order = [0, 1, 2].sort((a, b) => axes[a]! - axes[b]!)
  const first = axes[order[0]!]!
  const others = Array.from({ length: rank }, (_, axis) => axis).filter((axis) => !axes.includes(axis))
  const together = [...others.filter((axis) => axis < first), ...order.map((k) => axes[k]!), ...others.filter((axis) => axis > first)]
  builder.permute(image, together)
  const turned = BigInt64Array.from(order.flatMap((row) => [...order, 3].map((column) => matrix[4 * row + column]!)))
  builder.affine(image, order.map((k) => extents[k]!), { axis: first, matrix: turned, method, edges: params.edges as AffineEdges })
  builder.permute(image, together.map((_, axis) => together.indexOf(axis)))
}

function spacingParam(where: string, value: unknown): readonly number[] {
  const sizes = typeof value === 'number' ? [value, value, value] : value
  if (!Array.isArray(sizes) || sizes.length !== 3 || sizes.some((size) => typeof size !== 'number' || !(size > 0) || !Number.isFinite(size))) throw new TypeError(`${where}: spacing must be a size in mm above 0, or three, not ${show(value)}`)
  return sizes as number[]
}

function targetParam(where: string, value: unknown): readonly number[] {
  const list: unknown[] = Array.isArray(value) ? value.flat() : ArrayBuffer.isView(value) ? [...value as Float64Array] : []
  if (list.length !== 16 || list.some((entry) => typeof entry !== 'number' || !Number.isFinite(entry)) || list.slice(12).some((entry, k) => entry !== (k === 3 ? 1 : 0))) {
    throw new TypeError(`${where}: to must be "world" or an affine, four rows of four numbers of which the last is 0 0 0 1, not ${show(value)}`)
  }
  if (isFlat(Float64Array.from(list as number[]) as Affine)) throw new TypeError(`${where}: to is flat: its axes do not span space`)
  return list as number[]
}

/** Reads images on another grid, however that is turned: trilinear to float32, or the nearest voxel. The affine becomes the grid's. */
export function reslice(options: ResliceOptions): OpCall {
  return callOf(resliceOp, options)
}
