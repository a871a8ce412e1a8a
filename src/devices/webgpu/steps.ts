import { DTYPES, isFloating, type DType } from '../../core/dtype.js'
import { elementCount } from '../../core/tensor.js'
import type { AffineStep, AxisTable, CastStep, ForegroundBoxStep, GatherStep, NormalizeStep, PermuteStep, Program, ProgramValue, ResampleStep, Step, WgslStep } from '../../ops/program.js'
import { keysAbove } from '../keys.js'
import { GpuError } from './errors.js'
import type { Binding, Frame, FrameWork, Visit } from './frame.js'
import type { Variant } from './session.js'
import {
  AFFINE_SIZE, affineFromDeviations, affineFromExtrema, affineFromIntegers, affineFromOrder, BLOCK_MEMBERS, blocksPerGroup, centresFromSums, DIGIT_SHIFTS, PIECE_MEMBERS, piecesPerGroup, quantileRanks,
} from './statistics.js'
import { userKernel } from './wgsl.js'

/** The steps of a program as dispatches of kernels. What a step is stands in ops/program.ts, how a kernel does it in kernels/. */

/** A program on its way through a frame. */
export interface Work {
  readonly frame: Frame
  readonly program: Program
  /** Items. */
  readonly count: number
  /** The buffer of each value that lives. */
  readonly buffers: (GPUBuffer | undefined)[]
  /** Two words per item for each step that may find faults. */
  readonly faults: GPUBuffer
  readonly faultsOf: ReadonlyMap<number, number>
  /** Bytes that one binding may have. */
  readonly bindingBytes: number
}

/** A tensor of the whole batch. */
interface Tensor {
  readonly buffer: GPUBuffer
  readonly dtype: DType
  readonly size: number
  readonly shape: readonly number[]
  /** Elements of one item, and of all. */
  readonly perItem: number
  readonly elements: number
}

/** Whether a step may find values that are not finite where it does not allow them. */
export function judges(step: Step, program: Program): boolean {
  if (step.kernel === 'cast') return step.nonFinite === 'error' && (isFloating(program.values[step.in]!.dtype) || isFloating(program.values[step.out]!.dtype))
  return step.kernel === 'resample' || step.kernel === 'normalize' || (step.kernel === 'affine' && step.method === 'linear')
}

/** Everything that the step's kernels have to be compiled with. */
export function variantsOf(step: Step, program: Program): Variant[] {
  switch (step.kernel) {
    case 'cast': return [castVariant(step, program)]
    case 'gather':
    case 'permute': return [moveVariant(program.values[step.in]!)]
    case 'resample': return step.tables.map((table, k) => resampleVariant(table, k === step.tables.length - 1))
    case 'affine': return [affineVariant(step, program.values[step.in]!)]
    case 'foreground-box': return foregroundVariants(program.values[step.in]!)
    case 'normalize': return [...statisticsVariants(step, program.values[step.in]!.dtype), normalizeVariant(step, program.values[step.in]!.dtype)]
    case 'wgsl': return [{ kernel: userKernel(step.code).name, constants: {} }]
  }
}

/** Encodes one step; `at` is its place in the program. */
export function * encodeStep(work: Work, at: number): FrameWork {
  const { program, frame } = work
  const step = program.steps[at]!
  if (step.kernel === 'wgsl') return encodeUser(work, step)
  const source = tensorOf(work, step.in, work.buffers[step.in]!)
  const { dtype, shape } = program.values[step.out]!
  const bytes = work.count * elementCount(shape)! * DTYPES[dtype].size
  const result = tensorOf(work, step.out, frame.buffer(bytes))
  work.buffers[step.out] = result.buffer
  if (result.elements === 0) return
  switch (step.kernel) {
    case 'cast': return encodeCast(work, step, at, source, result)
    case 'gather': return encodeMove(work, step, source, result, gatherLayout(step, source), step.fill)
    case 'permute': return encodeMove(work, step, source, result, permuteLayout(step, source), new Uint8Array(16))
    case 'resample': return encodeResample(work, step, at, source, result)
    case 'affine': return step.method === 'linear' ? encodeLinear(work, step, at, source, result) : encodeNearest(work, step, source, result)
    case 'foreground-box': return encodeForegroundBox(work, step, source, result)
    case 'normalize': return yield * encodeNormalize(work, step, at, source, result)
  }
}

// --- casts --------------------------------------------------------------------------------------------------------------------------

const NON_FINITE = { error: 0, zero: 1, keep: 2 } as const

function castVariant(step: CastStep, program: Program): Variant {
  return { kernel: 'cast', constants: { SRC: DTYPES[program.values[step.in]!.dtype].code, DST: DTYPES[program.values[step.out]!.dtype].code, NON_FINITE: NON_FINITE[step.nonFinite] } }
}

function encodeCast(work: Work, step: CastStep, at: number, source: Tensor, result: Tensor): void {
  for (const [first, stop] of windows(work, source.elements, Math.max(source.size, result.size))) {
    const elements = stop - first
    dispatch(work, castVariant(step, work.program), {
      source: part(source, first, stop).binding, result: part(result, first, stop).binding, faults: whole(work.faults),
    }, { elements, first, item_elements: source.perItem, fault_offset: work.faultsOf.get(at) ?? 0 }, invocations(result, elements))
  }
}

// --- moves --------------------------------------------------------------------------------------------------------------------------

interface MoveAxis {
  /** Extent of the result; the batch's own is last to be divided by and needs none. */
  readonly extent: number
  /** Elements of the source from one position to the next. */
  readonly stride: number
  readonly index: Int32Array | null
}

const NO_TABLE = 0xffffffff

function moveVariant({ dtype }: ProgramValue): Variant {
  return { kernel: 'move', constants: { ELEMENT_BYTES: DTYPES[dtype].size } }
}

function gatherLayout(step: GatherStep, source: Tensor): MoveAxis[] {
  const strides = stridesOf(source.shape)
  return step.index.map((index, axis) => ({ extent: index?.length ?? source.shape[axis]!, stride: strides[axis]!, index }))
}

function permuteLayout(step: PermuteStep, source: Tensor): MoveAxis[] {
  const strides = stridesOf(source.shape)
  return step.order.map((axis) => ({ extent: source.shape[axis]!, stride: strides[axis]!, index: null }))
}

function encodeMove(work: Work, step: Step, source: Tensor, result: Tensor, itemAxes: readonly MoveAxis[], fill: Uint8Array): void {
  const axes = [{ extent: NO_TABLE, stride: source.perItem, index: null }, ...collapsed(itemAxes)]
  const tables = work.frame.resident(step, () => moveTables(axes))
  const words = new Uint32Array(4)
  new Uint8Array(words.buffer).set(fill)
  if (source.elements * source.size > work.bindingBytes) throw tooLarge(source)
  for (const [first, stop] of windows(work, result.elements, result.size)) {
    const elements = stop - first
    dispatch(work, moveVariant(source), { source: part(source, 0, source.elements).binding, tables: whole(tables), result: part(result, first, stop).binding },
      { elements, first, source_start: 0, rank: axes.length, fill: [...words] }, invocations(result, elements))
  }
}

/** Axes that move together as one: fewer divisions for every element. */
function collapsed(axes: readonly MoveAxis[]): MoveAxis[] {
  const out: MoveAxis[] = []
  for (const axis of axes) {
    const last = out.at(-1)
    if (last !== undefined && last.index === null && axis.index === null && last.stride === axis.stride * axis.extent) {
      out[out.length - 1] = { extent: last.extent * axis.extent, stride: axis.stride, index: null }
    } else {
      out.push(axis)
    }
  }
  return out
}

function moveTables(axes: readonly MoveAxis[]): Uint8Array {
  const head: number[] = []
  const tables: Int32Array[] = []
  let offset = 3 * axes.length
  for (const { extent, stride, index } of axes) {
    head.push(extent, stride, index === null ? NO_TABLE : offset)
    if (index !== null) {
      tables.push(index)
      offset += index.length
    }
  }
  const words = new Uint32Array(offset)
  words.set(head)
  let at = head.length
  for (const table of tables) {
    words.set(new Uint32Array(table.buffer, table.byteOffset, table.length), at)
    at += table.length
  }
  return new Uint8Array(words.buffer)
}

function stridesOf(shape: readonly number[]): number[] {
  const strides = Array.from<number>({ length: shape.length })
  let stride = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride
    stride *= shape[axis]!
  }
  return strides
}

// --- resampling ---------------------------------------------------------------------------------------------------------------------

/** Kernels are unrolled for so many taps; more are read from the parameters. */
const UNROLLED_TAPS = 8

function resampleVariant({ taps }: AxisTable, last: boolean): Variant {
  return { kernel: 'resample', constants: { TAPS: taps <= UNROLLED_TAPS ? taps : 0, LAST: Number(last) } }
}

function encodeResample(work: Work, step: ResampleStep, at: number, source: Tensor, result: Tensor): void {
  let from = source
  step.tables.forEach((table, k) => {
    const last = k === step.tables.length - 1
    const shape = from.shape.map((extent, axis) => axis === table.axis ? table.index.length / table.taps : extent)
    const perItem = elementCount(shape)!
    const to = last ? result : { buffer: work.frame.buffer(work.count * perItem * 4), dtype: 'float32' as const, size: 4, shape, perItem, elements: work.count * perItem }
    encodeAxis(work, table, last, work.faultsOf.get(at)!, from, to)
    if (from !== source) work.frame.free(from.buffer)
    from = to
  })
}

function encodeAxis(work: Work, table: AxisTable, last: boolean, faultOffset: number, from: Tensor, to: Tensor): void {
  const inner = elementCount(from.shape.slice(table.axis + 1))!
  const extent = from.shape[table.axis]!
  const length = to.shape[table.axis]!
  const tables = work.frame.resident(table, () => {
    const bytes = new Uint8Array(table.index.byteLength + table.weight.byteLength)
    bytes.set(new Uint8Array(table.index.buffer, table.index.byteOffset, table.index.byteLength))
    bytes.set(new Uint8Array(table.weight.buffer, table.weight.byteOffset, table.weight.byteLength), table.index.byteLength)
    return bytes
  })
  for (const { first, stop, source, result } of outerWindows(work, from, to, extent * inner, length * inner)) {
    const elements = (stop - first) * length * inner
    dispatch(work, resampleVariant(table, last), { source: source.binding, tables: whole(tables), result: result.binding, faults: whole(work.faults) }, {
      elements, first: first * length * inner, source_start: source.start, result_start: result.start,
      length, extent, inner, taps: table.taps, item_elements: to.perItem, fault_offset: faultOffset,
    }, elements)
  }
}

// --- axes read through a matrix -----------------------------------------------------------------------------------------------------

function affineVariant({ method, edges }: AffineStep, { dtype }: ProgramValue): Variant {
  const CLAMP = Number(edges === 'clamp')
  return method === 'linear' ? { kernel: 'affine', constants: { CLAMP } } : { kernel: 'affine-nearest', constants: { CLAMP, ELEMENT_BYTES: DTYPES[dtype].size } }
}

/** What both kernels want to know, and how many elements of each side belong to one position of the axes before the three. */
function affineParams({ axis, matrix }: AffineStep, source: Tensor, result: Tensor): { params: Record<string, number | readonly number[]>; extent: number; length: number } {
  const params: Record<string, number | readonly number[]> = {}
  const words = new Uint32Array(matrix.buffer, matrix.byteOffset, 24)
  const inner = elementCount(source.shape.slice(axis + 3))!
  ;['x', 'y', 'z'].forEach((name, k) => {
    const row = words.subarray(8 * k, 8 * k + 8)
    params[`lower_${name}`] = [0, 2, 4, 6].map((at) => row[at]!)
    params[`upper_${name}`] = [1, 3, 5, 7].map((at) => row[at]!)
    params[`extent_${name}`] = source.shape[axis + k]!
    params[`length_${name}`] = result.shape[axis + k]!
  })
  return { params: { ...params, inner }, extent: elementCount(source.shape.slice(axis))!, length: elementCount(result.shape.slice(axis))! }
}

function encodeLinear(work: Work, step: AffineStep, at: number, from: Tensor, to: Tensor): void {
  const { params, extent, length } = affineParams(step, from, to)
  for (const { first, stop, source, result } of outerWindows(work, from, to, extent, length)) {
    const elements = (stop - first) * length
    dispatch(work, affineVariant(step, from), { source: source.binding, result: result.binding, faults: whole(work.faults) }, {
      ...params, elements, first: first * length, source_start: source.start, result_start: result.start, item_elements: to.perItem, fault_offset: work.faultsOf.get(at)!,
    }, elements)
  }
}

function encodeNearest(work: Work, step: AffineStep, source: Tensor, result: Tensor): void {
  if (source.elements * source.size > work.bindingBytes) throw tooLarge(source)
  const { params } = affineParams(step, source, result)
  for (const [first, stop] of windows(work, result.elements, result.size)) {
    const elements = stop - first
    dispatch(work, affineVariant(step, source), { source: part(source, 0, source.elements).binding, result: part(result, first, stop).binding }, { ...params, elements, first, source_start: 0 }, invocations(result, elements))
  }
}

// --- the box of what is above a threshold -------------------------------------------------------------------------------------------

function foregroundVariants({ dtype }: ProgramValue): [Variant, Variant] {
  return [{ kernel: 'foreground-box', constants: { DTYPE: DTYPES[dtype].code } }, { kernel: 'foreground-starts', constants: {} }]
}

function encodeForegroundBox(work: Work, { axes, threshold }: ForegroundBoxStep, source: Tensor, result: Tensor): void {
  const { frame, count } = work
  const bytes = result.elements * result.size
  if (bytes > work.bindingBytes) throw tooLarge(result)
  const [find, finish] = foregroundVariants(source)
  const strides = stridesOf(source.shape)
  const extents = Object.fromEntries(['x', 'y', 'z'].map((name, k) => [`extent_${name}`, source.shape[axes[k]!]!]))
  const params = {
    ...extents, ...Object.fromEntries(['x', 'y', 'z'].map((name, k) => [`stride_${name}`, strides[axes[k]!]!])),
    keys: keysAbove(source.dtype, threshold).flatMap((key) => [Number(key & 0xffffffffn), Number(key >> 32n)]),
  }
  const boxes = part(result, 0, result.elements).binding
  const perItem = blocksPerGroup(source.perItem)
  frame.fill(result.buffer, bytes)
  for (const { first, stop, binding, start } of pieces(work, source.perItem, source, count * perItem, perItem, BLOCK_MEMBERS)) {
    dispatch(work, find, { source: binding, boxes }, { ...params, blocks: stop - first, first_block: first, blocks_per_item: perItem, elements: source.perItem, source_start: start }, stop - first, true)
  }
  dispatch(work, finish, { boxes }, { ...extents, items: count }, count)
}

// --- normalization ------------------------------------------------------------------------------------------------------------------

function isSmallInteger(dtype: DType): boolean {
  return dtype !== 'float32'
}

function statisticsVariants(step: NormalizeStep, dtype: DType): Variant[] {
  const DTYPE = DTYPES[dtype].code
  switch (step.statistics) {
    case 'none': return []
    case 'moments': return isSmallInteger(dtype)
      ? [{ kernel: 'normalize-integers', constants: { DTYPE } }]
      : [{ kernel: 'normalize-sums', constants: {} }, { kernel: 'normalize-deviations', constants: { NONZERO: Number(step.nonzero) } }]
    case 'extrema': return [{ kernel: 'normalize-extrema', constants: { DTYPE } }]
    case 'quantiles': return [{ kernel: 'normalize-histogram', constants: { DTYPE } }, { kernel: 'normalize-select', constants: {} }, { kernel: 'normalize-next-key', constants: { DTYPE } }]
  }
}

function normalizeVariant(step: NormalizeStep, dtype: DType): Variant {
  return { kernel: 'normalize', constants: { DTYPE: DTYPES[dtype].code, CLIP: Number(step.clip), NONZERO: Number(step.nonzero && step.statistics === 'moments') } }
}

function * encodeNormalize(work: Work, step: NormalizeStep, at: number, source: Tensor, result: Tensor): FrameWork {
  const { frame } = work
  const groups = work.count * step.groups
  let affine: GPUBuffer
  let rows: number
  if (step.affine !== null) {
    const given = step.affine
    affine = frame.resident(step, () => new Uint8Array(given.buffer, given.byteOffset, given.byteLength))
    rows = step.groups
  } else {
    const parameters = yield * statistics(work, step, source, groups)
    affine = frame.buffer(parameters.byteLength)
    frame.upload(affine, new Uint8Array(parameters.buffer))
    rows = groups
  }
  if (rows * AFFINE_SIZE * 4 > work.bindingBytes) throw tooLarge(source)
  for (const [first, stop] of windows(work, source.elements, Math.max(source.size, 4))) {
    const elements = stop - first
    dispatch(work, normalizeVariant(step, source.dtype), { source: part(source, first, stop).binding, affine: whole(affine), result: part(result, first, stop).binding, faults: whole(work.faults) }, {
      elements, first, source_start: first, result_start: first, members: step.members, affine_start: 0, affine_rows: rows,
      item_elements: source.perItem, fault_offset: work.faultsOf.get(at)!,
    }, elements)
  }
  frame.free(affine)
}

function * statistics(work: Work, step: NormalizeStep, source: Tensor, groups: number): Generator<Visit, Float32Array<ArrayBuffer>, Uint32Array> {
  const floats = (words: Uint32Array): Float32Array<ArrayBuffer> => new Float32Array(words.buffer as ArrayBuffer, words.byteOffset, words.length)
  const variants = statisticsVariants(step, source.dtype)
  if (step.statistics === 'quantiles') return affineFromOrder(step, groups, yield * orderStatistics(work, step, source, groups, variants)) as Float32Array<ArrayBuffer>
  const blocks = groups * blocksPerGroup(step.members)
  const perBlock = step.statistics === 'moments' && isSmallInteger(source.dtype) ? 4 : 2
  const results = work.frame.buffer(blocks * perBlock * 4)
  encodeBlocks(work, variants[0]!, step, source, blocks, results, perBlock, {}, {})
  const first = yield { buffer: results, bytes: blocks * perBlock * 4 }
  if (step.statistics === 'extrema') return affineFromExtrema(step, groups, floats(first)) as Float32Array<ArrayBuffer>
  if (isSmallInteger(source.dtype)) return affineFromIntegers(step, groups, first) as Float32Array<ArrayBuffer>
  const centres = centresFromSums(step, groups, first)
  const buffer = work.frame.buffer(centres.centres.byteLength)
  work.frame.upload(buffer, new Uint8Array(centres.centres.buffer, centres.centres.byteOffset, centres.centres.byteLength))
  encodeBlocks(work, variants[1]!, step, source, blocks, results, perBlock, { centres: whole(buffer) }, { groups_start: 0 })
  const second = yield { buffer: results, bytes: blocks * perBlock * 4 }
  work.frame.free(results)
  work.frame.free(buffer)
  return affineFromDeviations(step, groups, centres, floats(second)) as Float32Array<ArrayBuffer>
}

/** One workgroup per block of 4,096 members; blocks restart at each group. */
function encodeBlocks(work: Work, variant: Variant, step: NormalizeStep, source: Tensor, blocks: number, results: GPUBuffer, perBlock: number, more: Readonly<Record<string, Binding>>, params: Readonly<Record<string, number>>): void {
  const perGroup = blocksPerGroup(step.members)
  if (blocks * perBlock * 4 > work.bindingBytes) throw tooLarge(source)
  for (const { first, stop, binding, start } of pieces(work, step.members, source, blocks, perGroup, BLOCK_MEMBERS)) {
    dispatch(work, variant, { source: binding, results: whole(results), ...more }, {
      blocks: stop - first, first_block: first, blocks_per_group: perGroup, members: step.members, source_start: start, results_start: 0, ...params,
    }, stop - first, true)
  }
}

function * orderStatistics(work: Work, step: NormalizeStep, source: Tensor, groups: number, variants: readonly Variant[]): Generator<Visit, Uint32Array, Uint32Array> {
  const { frame } = work
  const [histogram, select, nextKey] = variants as [Variant, Variant, Variant]
  const [rank0, rank1] = quantileRanks(step)
  const state = frame.buffer(groups * 6 * 4)
  const counts = frame.buffer(groups * 4096 * 4)
  if (groups * 4096 * 4 > work.bindingBytes) throw tooLarge(source)
  frame.fill(counts, groups * 4096 * 4)
  const perGroup = piecesPerGroup(step.members)
  const cover = pieces(work, step.members, source, groups * perGroup, perGroup, PIECE_MEMBERS)
  const common = { pieces_per_group: perGroup, members: step.members, state_start: 0 }
  for (const shift of DIGIT_SHIFTS) {
    for (const { first, stop, binding, start } of cover) {
      dispatch(work, histogram, { source: binding, state: whole(state), counts: whole(counts) }, { ...common, pieces: stop - first, first_piece: first, source_start: start, counts_start: 0, shift }, stop - first, true)
    }
    dispatch(work, select, { counts: whole(counts), state: whole(state) }, { targets: 2 * groups, first_target: 0, state_start: 0, counts_start: 0, shift, rank0, rank1 }, 2 * groups, true)
  }
  for (const { first, stop, binding, start } of cover) {
    dispatch(work, nextKey, { source: binding, state: whole(state) }, { ...common, pieces: stop - first, first_piece: first, source_start: start }, stop - first, true)
  }
  const found = yield { buffer: state, bytes: groups * 6 * 4 }
  frame.free(state)
  frame.free(counts)
  return found
}

/** Windows of blocks of members, each with the part of the source it needs. */
function pieces(work: Work, members: number, source: Tensor, count: number, perGroup: number, length: number): { first: number; stop: number; binding: Binding; start: number }[] {
  const element = (piece: number): number => Math.min(Math.floor(piece / perGroup) * members + (piece % perGroup) * length, source.elements)
  const most = Math.max(1, Math.floor((work.bindingBytes - 2 * ALIGNMENT) / (length * source.size)))
  const out = []
  for (let first = 0; first < count; first += most) {
    const stop = Math.min(count, first + most)
    out.push({ first, stop, ...part(source, element(first), element(stop)) })
  }
  return out
}

// --- kernels of the user's ----------------------------------------------------------------------------------------------------------

function encodeUser(work: Work, step: WgslStep): void {
  const { frame, count } = work
  const { name, layout } = userKernel(step.code)
  const bindings: Record<string, Binding> = {}
  for (const { binding, value } of step.reads) bindings[binding] = bounded(work, tensorOf(work, value, work.buffers[value]!))
  for (const { binding, value } of step.writes) {
    const { dtype, shape } = work.program.values[value]!
    const result = tensorOf(work, value, frame.buffer(count * elementCount(shape)! * DTYPES[dtype].size))
    work.buffers[value] = result.buffer
    bindings[binding] = bounded(work, result)
  }
  const known: Readonly<Record<string, number>> = { ...step.params, items: count }
  dispatch(work, { kernel: name, constants: {} }, bindings, Object.fromEntries(layout.params.map((param) => [param.name, known[param.name]!])), count * step.invocationsPerItem)
}

/** All of a tensor. A kernel whose text we did not write cannot be given a part. */
function bounded({ bindingBytes }: Work, tensor: Tensor): Binding {
  if (tensor.elements * tensor.size > bindingBytes) throw tooLarge(tensor)
  return part(tensor, 0, tensor.elements).binding
}

// --- common -------------------------------------------------------------------------------------------------------------------------

/** Offsets of bindings are multiples of this on every adapter. */
const ALIGNMENT = 256

function tensorOf(work: Work, value: number, buffer: GPUBuffer): Tensor {
  const { dtype, shape } = work.program.values[value]!
  const perItem = elementCount(shape)!
  const tensor = { buffer, dtype, size: DTYPES[dtype].size, shape, perItem, elements: work.count * perItem }
  if (tensor.elements >= 2 ** 32) throw tooLarge(tensor)
  return tensor
}

function whole(buffer: GPUBuffer): Binding {
  return { buffer, offset: 0, size: buffer.size }
}

interface Part {
  readonly binding: Binding
  /** The element at which it begins. */
  readonly start: number
}

/** Elements `first … stop` as a binding, which begins at or before the first, where alignment allows. */
function part({ buffer, size }: Tensor, first: number, stop: number): Part {
  const offset = Math.floor(first * size / ALIGNMENT) * ALIGNMENT
  return { binding: { buffer, offset, size: Math.max(4, Math.ceil((stop * size - offset) / 4) * 4) }, start: offset / size }
}

/** Ranges of elements whose bytes fit into a binding; each begins at an aligned place, whatever the element's size. */
function windows(work: Work, elements: number, size: number): [number, number][] {
  const most = Math.max(ALIGNMENT, Math.floor(work.bindingBytes / size / ALIGNMENT) * ALIGNMENT)
  const ranges: [number, number][] = []
  for (let first = 0; first < elements; first += most) ranges.push([first, Math.min(elements, first + most)])
  return ranges
}

/** Windows of whole positions of the outer axes, which have `extent` float32 of one side and `length` of the other each: both sides are then contiguous. */
function * outerWindows(work: Work, from: Tensor, to: Tensor, extent: number, length: number): Generator<{ first: number; stop: number; source: Part; result: Part }> {
  const outer = to.elements / length
  const most = Math.floor((work.bindingBytes - 2 * ALIGNMENT) / (4 * Math.max(extent, length)))
  if (most === 0 && outer > 0) throw tooLarge(from)
  for (let first = 0; first < outer; first += most) {
    const stop = Math.min(outer, first + most)
    yield { first, stop, source: part(from, first * extent, stop * extent), result: part(to, first * length, stop * length) }
  }
}

/** One invocation makes a word of the result: several elements where they are small. */
function invocations({ size }: Tensor, elements: number): number {
  return size < 4 ? Math.ceil(elements * size / 4) : elements
}

function dispatch({ frame }: Work, variant: Variant, bindings: Readonly<Record<string, Binding>>, params: Readonly<Record<string, number | readonly number[]>>, count: number, workgroups = false): void {
  frame.dispatch({ ...variant, bindings, params, workgroups: workgroups ? count : Math.ceil(count / frame.session.options.workgroupSize) })
}

function tooLarge({ dtype, shape }: Tensor): GpuError {
  return new GpuError('too-large', `a ${dtype} tensor of shape [${shape.join(', ')}] does not fit this adapter's bindings`)
}
