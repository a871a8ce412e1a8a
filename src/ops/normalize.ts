import { boolean, checkOptions, choice, number, show, type NumberRule } from '../core/options.js'
import { axesParam, resolveAxes } from './axes.js'
import { never } from './cast.js'
import { chosenFields, fieldsParam, narrowFields, objectParam, unfitForArithmetic, withFields } from './fields.js'
import { callOf, needsSame, type DeviceOp, type FieldState, type OpCall, type OpParams } from './op.js'
import type { NormalizeStep } from './program.js'

/** What all modes of `normalize` have. */
export interface NormalizeBase {
  /**
   * Axes over which statistics are taken; the others are groups with statistics of their own. Default: all. Negative ones count from the end. None, `[]`, where mean and std
   * are given: one of each per element.
   */
  readonly axes?: readonly number[]
  /** Default: every real field the mode can work on. */
  readonly fields?: readonly string[]
}

/** Options of `normalize`: a mode, and what belongs to it. */
export type NormalizeOptions = NormalizeBase & (
  | {
    /** y = (x - mean) / (std + eps), with the population standard deviation. */
    readonly mode: 'zscore'
    /** Default 1e-8. */
    readonly eps?: number
    /** Statistics over values that are not zero; zeros stay zero. Default false. */
    readonly nonzero?: boolean
    /** Given statistics, one number or one per group, instead of the item's own: y = (x - mean) / std. Needs `std`. */
    readonly mean?: number | readonly number[]
    /** The standard deviation that goes with `mean`: one number, or one per group. */
    readonly std?: number | readonly number[]
  }
  | {
    /** y = (x - min) / (max - min) · (to[1] - to[0]) + to[0]; to[0] where all values are equal. */
    readonly mode: 'minmax'
    /** Default [0, 1]. */
    readonly to?: readonly [number, number]
  }
  | {
    /** y = (x - aMin) / (aMax - aMin) · (bMax - bMin) + bMin. Bounds are given, or percentiles (0 to 100) of the item. */
    readonly mode: 'range'
    /** Value that becomes `bMin`. */
    readonly aMin?: number
    /** Value that becomes `bMax`. */
    readonly aMax?: number
    /** In place of `aMin`: percentile of the item, 0 to 100, interpolated linearly as NumPy's default. */
    readonly pLow?: number
    /** In place of `aMax`: percentile of the item, 0 to 100. */
    readonly pHigh?: number
    /** What `aMin` becomes. Default 0. */
    readonly bMin?: number
    /** What `aMax` becomes. Default 1. */
    readonly bMax?: number
    /** Limits y to [bMin, bMax]. Default false. */
    readonly clip?: boolean
  }
  | {
    /** y = x · factor + offset */
    readonly mode: 'scale'
    /** Default 1. */
    readonly factor?: number
    /** Default 0. */
    readonly offset?: number
  }
)

const COMMON = ['mode', 'axes', 'fields']
const MODES = { zscore: ['eps', 'nonzero', 'mean', 'std'], minmax: ['to'], range: ['aMin', 'aMax', 'pLow', 'pHigh', 'bMin', 'bMax', 'clip'], scale: ['factor', 'offset'] } as const

/**
 * Shifts and scales values. Any real dtype to float32, same shape. The mean and variance are the corrected two-pass ones (Chan, Golub and LeVeque,
 * "Algorithms for computing the sample variance", 1983) in a fixed order of additions, exact for integers of up to 16 bits; percentiles
 * are order statistics with linear interpolation (definition 7 of Hyndman and Fan, 1996, NumPy's default).
 */
export const normalizeOp: DeviceOp = {
  name: 'normalize', version: 1, scope: 'item', kind: 'device', draws: false, exact: true,
  params(given) {
    const where = 'normalize'
    const options = objectParam(where, given)
    const mode = choice(where, 'mode', options.mode, ['zscore', 'minmax', 'range', 'scale'] as const)
    checkOptions(`${where} (${mode})`, options, [...COMMON, ...MODES[mode]])
    const each = mode === 'zscore' && options.mean !== undefined && Array.isArray(options.axes) && options.axes.length === 0
    return { mode, axes: each ? [] : axesParam(where, options.axes), fields: fieldsParam(where, options.fields), ...modeParams[mode](`${where} (${mode})`, options) }
  },
  infer(fields, params, fail) {
    const names = chosenFields(fields, params.fields, (field) => unfit(field, params), fail)
    for (const name of names) checkGroups(name, fields[name]!, params, fail)
    return withFields(fields, names, (field) => ({ dtype: 'float32', shape: field.shape, finiteness: 'finite' }))
  },
  needs: needsSame,
  narrow: (fields, params) => narrowFields(fields, params, (field) => unfit(field, params)),
  lower(builder, params) {
    for (const name of chosenFields(builder.fields(), params.fields, (field) => unfit(field, params), never)) {
      if (!SHORT.has(builder.field(name).dtype)) builder.arithmetic(name)
      const { shape } = builder.field(name)
      const { kept, reduced } = splitAxes(shape.length, params)
      const order = [...kept, ...reduced]
      const size = (axes: readonly number[]): number => axes.reduce((product, axis) => product * shape[axis]!, 1)
      builder.permute(name, order)
      builder.normalize(name, stepOf(params, size(kept), size(reduced)))
      builder.permute(name, order.map((_, axis) => order.indexOf(axis)))
    }
  },
}

/** Dtypes that kernels sum exactly in integers. */
const SHORT: ReadonlySet<string> = new Set(['bool', 'int8', 'uint8', 'int16', 'uint16'])

/** Numbers a float32 can hold: beyond them every result is infinite, whatever the data. */
const SINGLE: NumberRule = { min: -(2 - 2 ** -23) * 2 ** 127, max: (2 - 2 ** -23) * 2 ** 127 }

type ModeParams = (where: string, options: Record<string, unknown>) => OpParams

const modeParams: Readonly<Record<keyof typeof MODES, ModeParams>> = {
  zscore(where, { eps, nonzero, mean, std }) {
    if ((mean === undefined) !== (std === undefined)) throw new TypeError(`${where}: mean and std must be given together`)
    if (mean === undefined) return { eps: number(where, 'eps', eps, { min: 0 }, 1e-8), nonzero: boolean(where, 'nonzero', nonzero, false) }
    if (eps !== undefined || nonzero !== undefined) throw new TypeError(`${where}: eps and nonzero have no meaning with a given mean and std`)
    // Outside these bounds 1 / std is not a normal float32.
    return { mean: numbers(where, 'mean', mean, SINGLE), std: numbers(where, 'std', std, { min: 2 ** -125, max: 2 ** 125 }) }
  },
  minmax(where, { to }) {
    if (to !== undefined && (!Array.isArray(to) || to.length !== 2)) throw new TypeError(`${where}: to must be [low, high], not ${show(to)}`)
    const [low, high] = (to ?? [0, 1]) as unknown[]
    return { to: [number(where, 'to[0]', low, SINGLE), number(where, 'to[1]', high, SINGLE)] }
  },
  range(where, { aMin, aMax, pLow, pHigh, bMin, bMax, clip }) {
    const given = aMin !== undefined || aMax !== undefined
    if (given === (pLow !== undefined || pHigh !== undefined)) throw new TypeError(`${where}: give either aMin and aMax or the percentiles pLow and pHigh`)
    const to = { bMin: number(where, 'bMin', bMin, SINGLE, 0), bMax: number(where, 'bMax', bMax, SINGLE, 1), clip: boolean(where, 'clip', clip, false) }
    if (to.clip && to.bMin > to.bMax) throw new TypeError(`${where}: clip needs bMin up to bMax, not ${to.bMin} and ${to.bMax}`)
    if (!given) {
      const low = number(where, 'pLow', pLow, { min: 0, max: 100 })
      return { pLow: low, pHigh: number(where, 'pHigh', pHigh, { min: low, max: 100 }), ...to }
    }
    const from = { aMin: number(where, 'aMin', aMin, SINGLE), aMax: number(where, 'aMax', aMax, SINGLE) }
    if (from.aMin === from.aMax) throw new TypeError(`${where}: aMin and aMax must differ`)
    if (!Number.isFinite(Math.fround((to.bMax - to.bMin) / (from.aMax - from.aMin)))) throw new TypeError(`${where}: aMin and aMax are too close for [${to.bMin}, ${to.bMax}]: the scale is beyond float32`)
    return { ...from, ...to }
  },
  scale(where, { factor, offset }) {
    return { factor: number(where, 'factor', factor, SINGLE, 1), offset: number(where, 'offset', offset, SINGLE, 0) }
  },
}

function numbers(where: string, name: string, value: unknown, rule: NumberRule): number | readonly number[] {
  if (!Array.isArray(value)) return number(where, name, value, rule)
  return value.map((element, i) => number(where, `${name}[${i}]`, element, rule))
}

function unfit(field: FieldState, params: OpParams): string | undefined {
  const rank = field.shape.length
  // A single number normalised by its own statistics is always 0: that would silently wipe out labels.
  if (takesStatistics(params) && rank === 0) return 'a single number has no statistics of its own'
  if (params.axes !== undefined && resolveAxes(params.axes, rank) === undefined) return `axes [${params.axes}] are not all among its ${rank}`
  return unfitForArithmetic(field)
}

function takesStatistics(params: OpParams): boolean {
  return params.mode === 'zscore' ? params.mean === undefined : params.mode === 'minmax' || params.pLow !== undefined
}

function splitAxes(rank: number, params: OpParams): { kept: number[]; reduced: number[] } {
  const all = Array.from({ length: rank }, (_, axis) => axis)
  const reduced = params.axes === undefined ? all : resolveAxes(params.axes, rank)!.sort((a, b) => a - b)
  return { kept: all.filter((axis) => !reduced.includes(axis)), reduced }
}

function checkGroups(name: string, field: FieldState, params: OpParams, fail: (message: string) => never): void {
  const { kept } = splitAxes(field.shape.length, params)
  const groups = kept.reduce<number | null>((product, axis) => product === null || field.shape[axis] === null ? null : product * field.shape[axis]!, 1)
  for (const key of ['mean', 'std']) {
    const given: unknown = params[key]
    if (Array.isArray(given) && groups !== null && given.length !== groups) fail(`${key} has ${given.length} values, field ${name} has ${groups} groups`)
  }
}

const flush = (value: number): number => Math.abs(Math.fround(value)) <= 2 ** -126 ? 0 : Math.fround(value)

function stepOf(params: OpParams, groups: number, members: number): Omit<NormalizeStep, 'kernel' | 'in' | 'out' | 'origin'> {
  const base = { groups, members, statistics: 'none' as const, nonzero: false, eps: 0, toLow: 0, toHigh: 1, quantileLow: 0, quantileHigh: 1, clip: false, affine: null }
  /** The same affine map for every group, or one per group. y = ((x - subHigh) - subLow) · mul + add */
  const given = (clip: boolean, row: (group: number) => { sub: number; mul: number; add: number }, low = 0, high = 0): typeof base => {
    const affine = new Float32Array(groups * 6)
    for (let group = 0; group < groups; group++) {
      const { sub, mul, add } = row(group)
      affine.set([flush(sub), flush(sub - Math.fround(sub)), flush(mul), flush(add), flush(low), flush(high)], group * 6)
    }
    return { ...base, clip, affine: affine as unknown as null }
  }
  const at = (value: number | readonly number[], group: number): number => typeof value === 'number' ? value : value[group]!
  switch (params.mode as keyof typeof MODES) {
    case 'zscore':
      if (params.mean !== undefined) return given(false, (group) => ({ sub: at(params.mean, group), mul: 1 / at(params.std, group), add: 0 }))
      return { ...base, statistics: 'moments', eps: params.eps, nonzero: params.nonzero }
    case 'minmax':
      return { ...base, statistics: 'extrema', toLow: params.to[0], toHigh: params.to[1] }
    case 'range': {
      const { aMin, aMax, bMin, bMax, clip } = params
      if (params.pLow !== undefined) return { ...base, statistics: 'quantiles', quantileLow: params.pLow / 100, quantileHigh: params.pHigh / 100, toLow: bMin, toHigh: bMax, clip }
      return given(clip, () => ({ sub: aMin, mul: (bMax - bMin) / (aMax - aMin), add: bMin }), bMin, bMax)
    }
    case 'scale':
      return given(false, () => ({ sub: 0, mul: params.factor, add: params.offset }))
  }
}

/** Shifts and scales values, by their own statistics or by given numbers: any real dtype to float32, same shape. Throws TypeError. */
export function normalize(options: NormalizeOptions): OpCall {
  return callOf(normalizeOp, options)
}
