import { sizeOf } from '../core/dtype.js'
import { checkOptions, number, show } from '../core/options.js'
import { resolveAxes } from './axes.js'
import { never } from './cast.js'
import { chosenFields, fieldOf, fieldsParam, objectParam, withFields } from './fields.js'
import { affineOf, affineTensor, affineValue, FOREGROUND_BOX, rescaled } from './geometry.js'
import { unfitForXyz, xyzParam } from './images.js'
import { callOf, type DeviceOp, type Fail, type FieldStates, type OpCall, type OpParams, type SeriesOp } from './op.js'

/** Options of `cropForeground`. */
export interface CropForegroundOptions {
  /** The field that says what the foreground is. Default: the first that is cropped. */
  readonly source?: string
  /** Foreground is what is greater. Default 0. */
  readonly threshold?: number
  /** Voxels that are kept around it, as far as there are any: one number, or one for each axis. Default 0. */
  readonly margin?: number | readonly number[]
  /** The image's x, y and z. Default 0, 1, 2. */
  readonly axes?: readonly number[]
  /** What is cropped. Default: every field with enough axes. */
  readonly fields?: readonly string[]
}

const PART = { name: 'cropForeground', version: 1, scope: 'item', kind: 'device', draws: false, exact: true, params: (given: unknown) => given as OpParams } as const

/** The first part: finds the box. */
const findOp: DeviceOp = {
  ...PART,
  infer(fields, params, fail) {
    const source = fieldOf(fields, params.source, fail)
    const reason = unfitForXyz(source, params.axes) ?? (source.dtype.startsWith('complex') ? 'it is complex' : undefined)
    if (reason !== undefined) fail(`field ${params.source} cannot say what the foreground is: ${reason}`)
    return { ...fields, [FOREGROUND_BOX]: { dtype: 'int32', shape: [2, 3], finiteness: 'finite' } }
  },
  needs(_fields, params, wanted) {
    const needed = new Set([...wanted].filter((name) => name !== FOREGROUND_BOX))
    if (wanted.has(FOREGROUND_BOX)) needed.add(params.source)
    return needed
  },
  // Nothing is cropped where the source was not read.
  narrow: (fields, params) => (Object.hasOwn(fields, params.source) ? params : undefined),
  lower(builder, params) {
    builder.foregroundBox(params.source, FOREGROUND_BOX, { axes: axesOf(params, builder.field(params.source).shape.length), threshold: params.threshold })
  },
}

/** The second: cuts it out. */
const cropOp: DeviceOp = {
  ...PART,
  infer(fields, params, fail) {
    const names = croppedFields(fields, params, fail)
    const boxes = new Map(names.map((name) => [name, boxOf(fields, name, params, fail)]))
    let states = withFields(fields, names, (field, name) => {
      const shape: (number | null)[] = [...field.shape]
      axesOf(params, shape.length).forEach((axis, k) => { shape[axis] = boxes.get(name)?.[k]!.extent ?? null })
      return { ...field, shape }
    })
    for (const [affine, image] of affinesOf(fields, names)) {
      const value = affineValue(fields[affine]!, affine, fail)
      const box = boxes.get(image)
      states = withFields(states, [affine], (field) => (value === undefined || box === undefined ? field : { ...field, value: affineTensor(rescaled(value, [1, 1, 1], box.map(({ start }) => start))) }))
    }
    return states
  },
  needs(fields, params, wanted) {
    const cropped = croppedFields(fields, params, never)
    return [...cropped, ...affinesOf(fields, cropped).keys()].some((name) => wanted.has(name)) ? new Set([...wanted, FOREGROUND_BOX]) : wanted
  },
  narrow: (fields, params) => (Object.hasOwn(fields, FOREGROUND_BOX) ? { ...params, fields: (params.fields ?? Object.keys(fields)).filter((name: string) => Object.hasOwn(fields, name)) } : undefined),
  lower(builder, params) {
    const fields = builder.fields()
    const names = croppedFields(fields, params, never)
    for (const [affine, image] of affinesOf(fields, names)) {
      builder.know(affine, affineTensor(rescaled(affineValue(fields[affine]!, affine, never)!, [1, 1, 1], boxOf(fields, image, params, never)!.map(({ start }) => start))))
    }
    for (const name of names) {
      const { dtype, shape } = fields[name]!
      const index: (Int32Array | null)[] = shape.map(() => null)
      const axes = axesOf(params, shape.length)
      boxOf(fields, name, params, never)!.forEach(({ start, extent }, k) => {
        if (extent !== shape[axes[k]!]) index[axes[k]!] = Int32Array.from({ length: extent }, (_, i) => start + i)
      })
      if (index.some((table) => table !== null)) builder.gather(name, index, new Uint8Array(sizeOf(dtype)))
    }
  },
}

/**
 * Cuts images down to the box that holds all voxels above a threshold, with a margin; bits untouched, affines follow. The box is a new field, `foreground_box` int32 [2, 3]: first positions and those after the last,
 * before the margin. Images without any foreground stay whole; their box is all 0.
 */
export const cropForegroundOp: SeriesOp = {
  name: 'cropForeground', version: 1, scope: 'item', kind: 'series', draws: false, exact: true,
  params(given) {
    const where = 'cropForeground'
    const options = objectParam(where, given)
    checkOptions(where, options, ['source', 'threshold', 'margin', 'axes', 'fields'])
    if (options.source !== undefined && typeof options.source !== 'string') throw new TypeError(`${where}: source must be the name of a field, not ${show(options.source)}`)
    const margins = Array.isArray(options.margin) ? options.margin as unknown[] : Array.from({ length: 3 }, () => options.margin)
    if (margins.length !== 3) throw new TypeError(`${where}: margin must be one number or three, not ${margins.length}`)
    const fields = fieldsParam(where, options.fields)
    const source = options.source ?? fields?.[0]
    if (source === undefined) throw new TypeError(`${where}: say by which field the foreground is told: source, or fields, whose first it is`)
    return { source, threshold: number(where, 'threshold', options.threshold, {}, 0), margin: margins.map((margin) => number(where, 'margin', margin, { integer: true, min: 0 }, 0)), axes: xyzParam(where, options.axes), fields }
  },
  infer: (fields, params, fail) => cropOp.infer(findOp.infer(fields, params, fail), params, fail),
  needs: (fields, params, wanted) => findOp.needs(fields, params, cropOp.needs(findOp.infer(fields, params, never), params, wanted)),
  parts: [findOp, cropOp],
}

function croppedFields(fields: FieldStates, params: OpParams, fail: Fail): string[] {
  const { [FOREGROUND_BOX]: _, ...images } = fields
  return chosenFields(images, params.fields?.filter((name: string) => name !== FOREGROUND_BOX && unfitNamed(images, name, params)), (field) => unfitForXyz(field, params.axes), fail)
}

// What another op has dropped is not there to be cropped.
function unfitNamed(images: FieldStates, name: string, params: OpParams): boolean {
  return !Object.hasOwn(images, name) || unfitForXyz(images[name]!, params.axes) === undefined
}

/** Affines of the images, each with one image that it is of. */
function affinesOf(fields: FieldStates, images: readonly string[]): Map<string, string> {
  return new Map(images.flatMap((image) => {
    const affine = affineOf(fields, image)
    return affine === undefined ? [] : [[affine, image] as const]
  }))
}

/** Start and extent along x, y and z; undefined while the box is not known. */
function boxOf(fields: FieldStates, name: string, params: OpParams, fail: Fail): { start: number; extent: number }[] | undefined {
  const { value } = fields[FOREGROUND_BOX]!
  if (value === undefined) return undefined
  const found = value.data as Int32Array
  const { shape } = fields[name]!
  return axesOf(params, shape.length).map((axis, k) => {
    const extent = shape[axis]!
    const [start, stop] = [found[k]!, found[3 + k]!]
    if (stop > extent) fail(`field ${name} has ${extent} voxels along axis ${axis}, and the foreground of ${params.source} ends at ${stop}`)
    if (stop === 0) return { start: 0, extent }
    const from = Math.max(0, start - params.margin[k])
    return { start: from, extent: Math.min(extent, stop + params.margin[k]) - from }
  })
}

function axesOf(params: OpParams, rank: number): number[] {
  return resolveAxes(params.axes, rank)!
}

/** Cuts images down to the box that holds all voxels above a threshold, with a margin. */
export function cropForeground(options: CropForegroundOptions): OpCall {
  return callOf(cropForegroundOp, options)
}
