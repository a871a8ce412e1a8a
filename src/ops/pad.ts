import { DTYPES, type DType } from '../core/dtype.js'
import { checkOptions, choice, number } from '../core/options.js'
import { axesParam, lastAxes, sizesParam } from './axes.js'
import { never } from './cast.js'
import { chosenFields, fieldsParam, narrowFields, objectParam, withFields } from './fields.js'
import { needsOfImages } from './images.js'
import { knowAffines, movedAffines, movedImages, withAffines, type Move, type MovedAffines } from './moves.js'
import { callOf, type DeviceOp, type Fail, type FieldState, type FieldStates, type OpCall, type OpParams } from './op.js'

/** Options of `pad`: one of `shape`, `divisible`, or `before` and `after`. */
export interface PadOptions {
  /** Extents after padding; what is added is split evenly, the odd one at the end. Larger extents stay as they are. */
  readonly shape?: readonly number[]
  /**
   * Or: what the extents become multiples of, as MONAI's `DivisiblePad`, split as for `shape`. A number is for x, y and z: axes 0, 1 and 2, or those that are given.
   */
  readonly divisible?: number | readonly number[]
  /** Or: elements added in front, by axis; left out where `after` is given: none. */
  readonly before?: readonly number[]
  /** Elements added behind, by axis, as many entries as `before`; left out where `before` is given: none. */
  readonly after?: readonly number[]
  /** `constant` (default), `edge` (repeats the edge), `reflect` (mirrors without repeating the edge), as in numpy.pad. */
  readonly mode?: 'constant' | 'edge' | 'reflect'
  /** For `constant`; must be exactly a value of the field's dtype. Default 0. */
  readonly value?: number
  /** Default: the last as many as there are sizes. Negative ones count from the end. */
  readonly axes?: readonly number[]
  /** Default: every field with enough axes. */
  readonly fields?: readonly string[]
}

/** Adds elements around. Any dtype, bits untouched; affines of images follow. */
export const padOp: DeviceOp = {
  name: 'pad', version: 1, scope: 'item', kind: 'device', draws: false, exact: true,
  params(given) {
    const where = 'pad'
    const options = objectParam(where, given)
    checkOptions(where, options, ['shape', 'divisible', 'before', 'after', 'mode', 'value', 'axes', 'fields'])
    const list = (name: string, min = 0): readonly number[] | undefined => options[name] === undefined ? undefined : sizesParam(where, name, options[name], min)
    const shape = list('shape')
    const each = typeof options.divisible === 'number'
    const axes = axesParam(where, options.axes) ?? (each ? [0, 1, 2] : undefined)
    const divisible = each ? sizesParam(where, 'divisible', axes!.map(() => options.divisible), 1) : list('divisible', 1)
    let [before, after] = [list('before'), list('after')]
    if ([shape, divisible, before ?? after].filter((way) => way !== undefined).length !== 1) throw new TypeError(`${where}: give either shape, or divisible, or before and after`)
    const count = (shape ?? divisible ?? before ?? after)!.length
    if (shape === undefined && divisible === undefined) {
      before ??= Array.from<number>({ length: count }).fill(0)
      after ??= Array.from<number>({ length: count }).fill(0)
      if (before.length !== after.length) throw new TypeError(`${where}: before has ${before.length} entries, after ${after.length}`)
    }
    if (axes !== undefined && axes.length !== count) throw new TypeError(`${where}: axes has ${axes.length} entries, the sizes ${count}`)
    const mode = choice(where, 'mode', options.mode, ['constant', 'edge', 'reflect'] as const, 'constant')
    if (mode !== 'constant' && options.value !== undefined) throw new TypeError(`${where}: value has no meaning with mode ${mode}`)
    return { shape, ...(divisible !== undefined && { divisible }), before, after, mode, value: mode === 'constant' ? number(where, 'value', options.value, {}, 0) : undefined, axes, fields: fieldsParam(where, options.fields) }
  },
  infer(fields, params, fail) {
    const names = chosenFields(fields, params.fields, (field) => unfit(field, params), fail)
    const states = withFields(fields, names, (field, name) => {
      const shape = [...field.shape]
      axesOf(field, params).forEach((axis, k) => {
        const extent = shape[axis]
        if (extent === null) {
          shape[axis] = null
          return
        }
        const [before, after] = amounts(params, k, extent!)
        if (params.mode === 'reflect' && Math.max(before, after) >= Math.max(extent!, 1)) fail(`reflect can add at most ${Math.max(0, extent! - 1)} on axis ${axis} of field ${name}, not ${Math.max(before, after)}`)
        if (params.mode === 'edge' && extent === 0 && before + after > 0) fail(`axis ${axis} of field ${name} has no edge to repeat`)
        shape[axis] = extent! + before + after
      })
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
        const [before, after] = amounts(params, k, shape[axis]!)
        if (before + after > 0) index[axis] = padTable(shape[axis]!, before, after, params.mode)
      })
      if (index.some((table) => table !== null)) builder.gather(name, index, elementBytes(dtype, params.value ?? 0)!)
    }
  },
}

function countOf(params: OpParams): number {
  return (params.shape ?? params.divisible ?? params.before).length
}

function axesOf({ shape }: FieldState, params: OpParams): number[] {
  return lastAxes(params.axes, countOf(params), shape.length)!
}

function amounts(params: OpParams, k: number, extent: number): [number, number] {
  if (params.before !== undefined) return [params.before[k], params.after[k]]
  const missing = params.shape === undefined ? Math.ceil(extent / params.divisible[k]) * params.divisible[k] - extent : Math.max(0, params.shape[k] - extent)
  return [Math.floor(missing / 2), Math.ceil(missing / 2)]
}

function imagesOf(fields: FieldStates, params: OpParams, fail: Fail): string[] {
  return movedImages(fields, chosenFields(fields, params.fields, (field) => unfit(field, params), fail), (field) => axesOf(field, params))
}

/** What was added before begins at another place. */
function affinesOf(fields: FieldStates, params: OpParams, fail: Fail): MovedAffines {
  return movedAffines(fields, imagesOf(fields, params, fail), (field) => {
    const moves: (Move | undefined)[] = []
    axesOf(field, params).forEach((axis, k) => { moves[axis] = { scale: 1, shift: 0 - amounts(params, k, field.shape[axis]!)[0] } })
    return moves
  }, fail)
}

function padTable(extent: number, before: number, after: number, mode: string): Int32Array {
  return Int32Array.from({ length: before + extent + after }, (_, i) => {
    const at = i - before
    if (at >= 0 && at < extent) return at
    if (mode === 'constant') return -1
    if (mode === 'edge') return at < 0 ? 0 : extent - 1
    return at < 0 ? -at : 2 * (extent - 1) - at
  })
}

function unfit(field: FieldState, params: OpParams): string | undefined {
  if (lastAxes(params.axes, countOf(params), field.shape.length) === undefined) return `it has ${field.shape.length} axes, which do not include those to be padded`
  return elementBytes(field.dtype, params.value ?? 0) === undefined ? `${params.value} is not a value of ${field.dtype}` : undefined
}

/** The bytes of one element, or undefined when the dtype cannot hold the value exactly. */
function elementBytes(dtype: DType, value: number): Uint8Array | undefined {
  const { size, kind } = DTYPES[dtype]
  const bytes = new Uint8Array(size)
  if (value === 0) return bytes
  const view = new DataView(bytes.buffer)
  switch (dtype) {
    case 'bool': bytes[0] = 1; return value === 1 ? bytes : undefined
    case 'float64': view.setFloat64(0, value, true); return bytes
    case 'float32': view.setFloat32(0, value, true); return Math.fround(value) === value ? bytes : undefined
    case 'bfloat16': {
      view.setUint16(0, (float32Bits(value) >>> 16), true)
      return Math.fround(value) === value && (float32Bits(value) & 0xffff) === 0 ? bytes : undefined
    }
    case 'float16': return float16Bytes(value)
    case 'complex64': view.setFloat32(0, value, true); return Math.fround(value) === value ? bytes : undefined
    case 'complex128': view.setFloat64(0, value, true); return bytes
    default: {
      if (!Number.isSafeInteger(value)) return undefined
      const bits = BigInt(size * 8)
      const wide = BigInt(value)
      if (kind === 'int' ? BigInt.asIntN(Number(bits), wide) !== wide : BigInt.asUintN(Number(bits), wide) !== wide) return undefined
      for (let k = 0n; k < BigInt(size); k++) bytes[Number(k)] = Number((BigInt.asUintN(64, wide) >> (8n * k)) & 0xffn)
      return bytes
    }
  }
}

function float32Bits(value: number): number {
  const view = new DataView(new ArrayBuffer(4))
  view.setFloat32(0, value)
  return view.getUint32(0)
}

function float16Bytes(value: number): Uint8Array | undefined {
  const sign = value < 0 ? 0x8000 : 0
  const size = Math.abs(value)
  const exponent = Math.max(-14, Math.floor(Math.log2(size)))
  const mantissa = size / 2 ** (exponent - 10)
  if (!Number.isInteger(mantissa) || mantissa >= 2048 || exponent > 15) return undefined
  const bits = mantissa < 1024 ? mantissa : ((exponent + 15) << 10) | (mantissa - 1024)
  return new Uint8Array(new Uint16Array([sign | bits]).buffer)
}

/** Adds elements around: a constant, the edge, or mirrored. Same dtype; affines of images follow. Throws TypeError. */
export function pad(options: PadOptions): OpCall {
  return callOf(padOp, options)
}
