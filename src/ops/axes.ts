import { show } from '../core/options.js'

/** Checks a list of axes; negative ones count from the end. */
export function axesParam(where: string, value: unknown): readonly number[] | undefined {
  if (value === undefined) return undefined
  const list = typeof value === 'number' ? [value] : value
  if (!Array.isArray(list) || list.length === 0 || list.some((axis) => !Number.isSafeInteger(axis)) || new Set(list).size !== list.length) {
    throw new TypeError(`${where}: axes must be a list of different integers, not ${show(value)}`)
  }
  return list as number[]
}

/** Axes from 0, ascending; undefined when one is outside the rank or two are the same. */
export function resolveAxes(axes: readonly number[], rank: number): number[] | undefined {
  const found = axes.map((axis) => axis < 0 ? axis + rank : axis)
  if (found.some((axis) => axis < 0 || axis >= rank) || new Set(found).size !== found.length) return undefined
  return found
}

/** Checks a list of sizes or positions. */
export function sizesParam(where: string, name: string, value: unknown, min: number): readonly number[] {
  if (!Array.isArray(value) || value.length === 0 || value.some((size) => !Number.isSafeInteger(size) || size < min)) {
    throw new TypeError(`${where}: ${name} must be a list of integers from ${min}, not ${show(value)}`)
  }
  return value as number[]
}

/** The axes that sizes apply to: those given, or the last as many as there are sizes. */
export function lastAxes(axes: readonly number[] | undefined, count: number, rank: number): number[] | undefined {
  if (axes !== undefined) return axes.length === count ? resolveAxes(axes, rank) : undefined
  return count <= rank ? Array.from({ length: count }, (_, k) => rank - count + k) : undefined
}
