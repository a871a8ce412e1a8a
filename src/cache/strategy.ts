import { isDType, sizeOf, type DType } from '../core/dtype.js'
import { bytes, checkOptions, number, show } from '../core/options.js'
import { elementCount } from '../core/tensor.js'

/** How much data there is, and what it may take. */
export interface StrategyRequest {
  /** Number of items. */
  readonly items: number
  /** Shape of one item's array. */
  readonly shape: readonly number[]
  /** dtype of one item's array. */
  readonly dtype: DType
  /** What may stay resident: bytes, or `8GB`. */
  readonly memoryBudget: number | string
  /** Bytes free where the cache lies; left out: enough. `cache.space()` tells. */
  readonly diskFree?: number | string
  /** Seconds to compute one item, when known; left out: computing is dear. */
  readonly secondsPerItem?: number
  /** Bytes a second that the disk reads; default 1 GB. */
  readonly diskSpeed?: number | string
}

/** Where the data should live, and the numbers behind that. */
export interface Strategy {
  /** `memory`: keep all; `cache`: compute once, map; `onTheFly`: compute when needed, keep nothing. */
  readonly strategy: 'memory' | 'cache' | 'onTheFly'
  /** Bytes of one item's array. */
  readonly bytesPerItem: number
  /** Bytes of all items. */
  readonly bytes: number
  /** The budget that was given, in bytes. */
  readonly memoryBudget: number
  /** Seconds to read one item from the disk. */
  readonly readSeconds: number
  /** Why, in a sentence with the numbers. */
  readonly reason: string
}

const OPTIONS = ['items', 'shape', 'dtype', 'memoryBudget', 'diskFree', 'secondsPerItem', 'diskSpeed']

/** Where data of this size should live: in memory when it fits, recomputed when that is faster than reading it (or when the disk is too small), cached otherwise. */
export function strategyFor(request: StrategyRequest): Strategy {
  const where = 'strategyFor'
  checkOptions(where, request, OPTIONS)
  const items = number(where, 'items', request.items, { integer: true, min: 0 })
  if (!isDType(request.dtype)) throw new TypeError(`${where}: dtype must be one of the dtypes, not ${show(request.dtype)}`)
  const elements = Array.isArray(request.shape) ? elementCount(request.shape) : undefined
  if (elements === undefined) throw new TypeError(`${where}: shape must be a list of extents, not ${show(request.shape)}`)
  const memoryBudget = bytes(where, 'memoryBudget', request.memoryBudget)
  const diskFree = bytes(where, 'diskFree', request.diskFree, Number.MAX_SAFE_INTEGER)
  const speed = bytes(where, 'diskSpeed', request.diskSpeed, 1e9)
  const perItem = elements * sizeOf(request.dtype)
  const all = perItem * items
  const readSeconds = perItem / speed
  const computing = request.secondsPerItem === undefined ? Infinity : number(where, 'secondsPerItem', request.secondsPerItem, { min: 0 })
  const [strategy, reason] = ((): [Strategy['strategy'], string] => {
    if (all <= memoryBudget) return ['memory', `${all} bytes fit the budget of ${memoryBudget}`]
    if (computing <= readSeconds) return ['onTheFly', `computing an item takes ${computing} s, reading it ${readSeconds} s`]
    if (all > diskFree) return ['onTheFly', `${all} bytes fit neither the budget of ${memoryBudget} nor the ${diskFree} free bytes of the disk`]
    return ['cache', `${all} bytes do not fit the budget of ${memoryBudget}, and reading an item takes ${readSeconds} s`]
  })()
  return { strategy, bytesPerItem: perItem, bytes: all, memoryBudget, readSeconds, reason }
}
