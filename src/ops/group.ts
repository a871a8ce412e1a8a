import { boolean, checkOptions, choice, number, show } from '../core/options.js'
import { badFieldName } from '../core/names.js'
import { seedData, seedOf } from '../core/seed.js'
import { isRagged } from '../core/rows.js'
import { emptyTensor, type Tensor } from '../core/tensor.js'
import { describe, fieldOf, fieldsParam, objectParam } from './fields.js'
import { drawGroups, type Groups, type GroupDraw } from './group-draws.js'
import { callOf, rowsAt, type ArrangeContext, type DatasetOp, type Fail, type FieldState, type FieldStates, type ItemRows, type ItemSequence, type OpCall, type OpParams } from './op.js'
import type { PlanePoints } from './points.js'
import { coordinatesOf } from './coordinates.js'

/** Options of `group`. */
export interface GroupOptions {
  /** Groups to be made: the items of the new dataset. */
  readonly samples: number
  /** Points around a sample that a group is drawn from, the nearest ones (K). The sample itself counts, as its own nearest. */
  readonly neighbors: number
  /** Points of a group (C), at most `neighbors`. */
  readonly size: number
  /** Whether points may be in several groups. Default true. False: no point is in two groups, and samples that no longer have `size` free neighbours are passed over. */
  readonly overlap?: boolean
  /** Whether a point may be a sample more than once. Default false. True: more groups than points, of other draws. */
  readonly replacement?: boolean
  /** How the sample is in its own group: `drawn` (default) like its neighbours, `always`, as the first, or `never`; then the neighbours are the nearest others. */
  readonly self?: 'drawn' | 'always' | 'never'
  /** What `center` and `offsets` count from: the `mean` of the group's points (default), or the `sample`. */
  readonly origin?: 'mean' | 'sample'
  /** Field of one coordinate, a number. Default `xcoords`. */
  readonly x?: string
  /** Field of the other coordinate, a number. Default `ycoords`. */
  readonly y?: string
  /** Fields that groups have of their points; default all but the coordinates. */
  readonly fields?: readonly string[]
  /** 0 to 2^64 - 1; default: the recipe's. */
  readonly seed?: number | bigint
}

/** Fields that the op makes itself. */
const MADE = {
  groups: (size: number): FieldState => ({ dtype: 'int32', shape: [size], finiteness: 'finite' }),
  sample: (): FieldState => ({ dtype: 'int32', shape: [], finiteness: 'finite' }),
  coords: (size: number): FieldState => ({ dtype: 'float64', shape: [size, 2], finiteness: 'finite' }),
  center: (): FieldState => ({ dtype: 'float64', shape: [2], finiteness: 'finite' }),
  offsets: (size: number): FieldState => ({ dtype: 'float64', shape: [size, 2], finiteness: 'finite' }),
} as const
/** int32 names points. */
const POINTS_MAX = 2 ** 31 - 1

export const groupOp: DatasetOp = {
  name: 'group', version: 1, scope: 'dataset', kind: 'dataset', draws: true, exact: true,
  params(given) {
    const where = 'group'
    const options = objectParam(where, given)
    checkOptions(where, options, ['samples', 'neighbors', 'size', 'overlap', 'replacement', 'self', 'origin', 'x', 'y', 'fields', 'seed'])
    const [samples, neighbors, size] = (['samples', 'neighbors', 'size'] as const).map((name) => number(where, name, options[name], { integer: true, min: 1, max: POINTS_MAX })) as [number, number, number]
    if (size > neighbors) throw new TypeError(`${where}: size ${size} points cannot be drawn from ${neighbors} neighbors`)
    const [overlap, replacement] = [boolean(where, 'overlap', options.overlap, true), boolean(where, 'replacement', options.replacement, false)]
    if (replacement && !overlap) throw new TypeError(`${where}: with overlap false no point is a sample twice, so replacement must be false`)
    const [x, y] = ([['x', 'xcoords'], ['y', 'ycoords']] as const).map(([name, otherwise]) => {
      const field = options[name] ?? otherwise
      if (typeof field !== 'string' || badFieldName(field) !== undefined) throw new TypeError(`${where}: ${name} must be the name of a field, not ${show(field)}`)
      return field
    })
    if (x === y) throw new TypeError(`${where}: x and y must be two fields, not ${show(x)} twice`)
    return {
      samples, neighbors, size, overlap, replacement, x, y,
      self: choice(where, 'self', options.self, ['drawn', 'always', 'never'] as const, 'drawn'),
      origin: choice(where, 'origin', options.origin, ['mean', 'sample'] as const, 'mean'),
      fields: fieldsParam(where, options.fields),
      ...(options.seed !== undefined && { seed: seedData(seedOf(where, options.seed)) }),
    }
  },
  infer(fields, params, fail) {
    for (const name of [params.x, params.y] as string[]) {
      const field = fieldOf(fields, name, fail)
      if (field.shape.length > 0) fail(`expected one number per point in field ${name}, found ${describe(field)}`)
      if (!COORDINATES.has(field.dtype)) fail(`expected real numbers of up to 32 bits, or float64, in field ${name}, found ${field.dtype}; cast it first`)
    }
    const made: Record<string, FieldState> = Object.fromEntries(Object.entries(MADE).map(([name, state]) => [name, state(params.size)]))
    for (const name of gathered(fields, params, fail)) {
      const field = fields[name]!
      if (Object.hasOwn(made, name)) fail(`makes a field ${name} itself; rename yours, or name others`)
      if (field.shape.includes(null)) fail(`expected one shape for field ${name}, found ${describe(field)}: points of a group are stacked`)
      made[name] = { dtype: field.dtype, shape: [params.size, ...field.shape], finiteness: field.finiteness }
    }
    return made
  },
  needs: (fields, params, wanted) => new Set([params.x, params.y, ...gathered(fields, params, never).filter((name) => wanted.has(name))]),
  async arrange(items, params, context) {
    const points = await coordinatesOf('group', items, params.x, params.y, context.signal)
    return groupsOf(items, params, points, await drawGroups(drawOf(params, context), points, context))
  },
}

/**
 * Groups of points that lie near each other, sample-then-group: `samples` points are drawn, of each its `neighbors` nearest points are found, and `size` of these are drawn. Items are
 * groups: `groups` int32 [size], indices of their points; `sample` int32 [], of the point they lie around; `coords` float64 [size, 2]; `center` float64 [2], the mean of
 * the points, summed in their order; `offsets` float64 [size, 2] from it; and each other field as [size, …]. Only rows of these points are read, when a group is.
 *
 * Distances are exact in float64, and of equally near points those with the lower index are nearer. Draws are uniform and depend on seed, sample and parameters alone: the same groups on every
 * device. Throws TypeError for parameters that cannot be; building rejects with ItemError for a coordinate that is not finite, and with TypeError where there are fewer points than are asked for.
 */
export function group(options: GroupOptions): OpCall {
  return callOf(groupOp, options)
}

const COORDINATES = new Set(['float64', 'float32', 'int8', 'int16', 'int32', 'uint8', 'uint16', 'uint32'])

function gathered(fields: FieldStates, params: OpParams, fail: Fail): string[] {
  const named = params.fields as readonly string[] | undefined
  if (named === undefined) return Object.keys(fields).filter((name) => name !== params.x && name !== params.y)
  for (const name of named) fieldOf(fields, name, fail)
  return [...named]
}

const never: Fail = (message) => { throw new TypeError(`group: ${message}`) }

function drawOf({ samples, neighbors, size, overlap, replacement, self, seed }: OpParams, context: ArrangeContext): GroupDraw {
  return { samples, neighbors, size, overlap, replacement, self, seed: seed === undefined ? context.seed : seedOf('group', seed) }
}

function groupsOf(items: ItemSequence, params: OpParams, points: PlanePoints, { groups, samples }: Groups): ItemSequence {
  const size = params.size as number
  const fields = groupOp.infer(items.fields, params, never)
  const membersOf = (index: number): Int32Array => groups.subarray(index * size, (index + 1) * size)
  /** What is made of the points alone, for some groups. */
  const own = (indices: Float64Array, names: readonly string[]): Record<string, Tensor> => {
    const made: Record<string, Tensor> = {}
    for (const name of names) {
      if (!Object.hasOwn(MADE, name)) continue
      const { dtype, shape } = fields[name]!
      const tensor = emptyTensor(dtype, [indices.length, ...shape as number[]])
      const each = tensor.data.length / Math.max(1, indices.length)
      indices.forEach((index, row) => FILL[name as keyof typeof MADE](tensor.data.subarray(row * each, (row + 1) * each) as Float64Array, points, membersOf(index), samples[index]!, params.origin))
      made[name] = tensor
    }
    return made
  }
  const gather = async (indices: Float64Array, names: readonly string[], signal: AbortSignal | undefined): Promise<ItemRows> => {
    const made: Record<string, ItemRows['fields'][string]> = own(indices, names)
    const others = names.filter((name) => !Object.hasOwn(MADE, name))
    if (others.length === 0) return { count: indices.length, fields: made }
    const members = new Float64Array(indices.length * size)
    indices.forEach((index, row) => members.set(membersOf(index), row * size))
    const { fields: rows, own: buffers } = await rowsAt(items, members, others, signal)
    for (const name of others) {
      const of = rows[name]!
      if (isRagged(of)) throw new TypeError(`group: field ${name} has rows of several lengths`)
      made[name] = { ...of, shape: [indices.length, size, ...of.shape.slice(1)] }
    }
    return { count: indices.length, fields: made, ...(buffers !== undefined && { own: buffers }) }
  }
  return {
    length: samples.length,
    fields,
    id: (index) => `group_${String(index).padStart(6, '0')}`,
    async read(index, names, signal) {
      const { fields: rows } = await gather(Float64Array.of(index), names, signal)
      return Object.fromEntries(Object.entries(rows).map(([name, of]) => [name, { ...of as Tensor, shape: (of as Tensor).shape.slice(1) }]))
    },
    gather,
    members: (index) => [samples[index]!, ...membersOf(index)],
  }
}

/** How each field is filled for one group. */
const FILL: Readonly<Record<keyof typeof MADE, (out: Float64Array, points: PlanePoints, members: Int32Array, sample: number, origin: 'mean' | 'sample') => void>> = {
  groups: (out, _points, members) => out.set(members),
  sample: (out, _points, _members, sample) => { out[0] = sample },
  coords(out, { x, y }, members) {
    members.forEach((point, k) => {
      out[2 * k] = x[point]!
      out[2 * k + 1] = y[point]!
    })
  },
  center(out, points, members, sample, origin) {
    const [x, y] = centerOf(points, members, sample, origin)
    out[0] = x
    out[1] = y
  },
  offsets(out, points, members, sample, origin) {
    const [x, y] = centerOf(points, members, sample, origin)
    members.forEach((point, k) => {
      out[2 * k] = points.x[point]! - x
      out[2 * k + 1] = points.y[point]! - y
    })
  },
}

function centerOf({ x, y }: PlanePoints, members: Int32Array, sample: number, origin: 'mean' | 'sample'): [number, number] {
  if (origin === 'sample') return [x[sample]!, y[sample]!]
  const mean = (of: Float64Array): number => members.reduce((sum, point) => sum + of[point]!, 0) / members.length
  return [mean(x), mean(y)]
}
