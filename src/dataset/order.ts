import { Philox, seedWords } from '../core/philox.js'
import { native } from '../native/load.js'
import type { BatchPlan } from './batch-options.js'

/** Which item comes at which position: a function, so that an epoch of any length costs nothing before it is looked at. */
export interface Order {
  readonly length: number
  /** The items at positions `first … stop`. */
  indices(first: number, stop: number): Float64Array
}

/** "drw1" and "bkt1": keep these counters apart from all others under the same seed. */
const DRAWS = 0x64727731
const BUCKETS = 0x626b7431

/** The order of all ranks together in one epoch, of a list of `length` items. `lengths` are theirs, where they are bucketed. */
export function orderOf(plan: BatchPlan, epoch: number, length: number, lengths?: Float64Array): Order {
  const order = plan.weights === undefined ? plan.shuffle ? shuffled(length, plan.seed, epoch) : inOrder(length) : drawn(plan.weights, plan.draws!, plan.seed, epoch)
  return plan.bucket === undefined ? order : bucketed(order, plan.bucket, lengths!, plan.shuffle || plan.weights !== undefined ? { seed: plan.seed, epoch } : undefined)
}

function inOrder(length: number): Order {
  return {
    length,
    indices(first, stop) {
      const indices = new Float64Array(stop - first)
      for (let k = 0; k < indices.length; k++) indices[k] = first + k
      return indices
    },
  }
}

function shuffled(length: number, seed: bigint, epoch: number): Order {
  return {
    length,
    indices(first, stop) {
      const indices = new Float64Array(stop - first)
      if (indices.length > 0) native().shuffleIndices(length, seed, epoch, first, indices)
      return indices
    },
  }
}

/** Position p takes the item that holds the p-th random number of the epoch, the items lying side by side as wide as their weights. */
function drawn(weights: Float64Array, draws: number, seed: bigint, epoch: number): Order {
  const ends = new Float64Array(weights.length)
  let sum = 0
  // Added in item order, so that they are the same everywhere.
  weights.forEach((weight, i) => { ends[i] = sum += weight })
  const last = weights.findLastIndex((weight) => weight > 0)
  const key = seedWords(seed)
  return {
    length: draws,
    indices(first, stop) {
      const indices = new Float64Array(stop - first)
      for (let position = first; position < stop; position++) {
        const random = new Philox(key, [position % 2 ** 32, epoch, DRAWS + Math.floor(position / 2 ** 32)])
        const at = random.float64() * sum
        // The first item that ends behind it; rounding may put the number at the very end.
        let [low, high] = [0, last]
        while (low < high) {
          const middle = Math.floor((low + high) / 2)
          if (ends[middle]! > at) high = middle
          else low = middle + 1
        }
        indices[position - first] = low
      }
      return indices
    },
  }
}

/** Windows of the order sorted by length, in blocks that come in random order. A short block at the very end stays there. */
function bucketed(order: Order, { window, block }: NonNullable<BatchPlan['bucket']>, lengths: Float64Array, random: { readonly seed: bigint; readonly epoch: number } | undefined): Order {
  let held: { readonly number: number; readonly items: Float64Array } | undefined
  const windowOf = (number: number): Float64Array => {
    if (held?.number === number) return held.items
    const items = order.indices(number * window, Math.min(order.length, (number + 1) * window))
    const sorted = Array.from(items.keys()).sort((a, b) => lengths[items[a]!]! - lengths[items[b]!]! || a - b)
    const blocks = Array.from({ length: Math.floor(items.length / block) }, (_, k) => k)
    if (random !== undefined) mix(blocks, new Philox(seedWords(random.seed), [number, random.epoch, BUCKETS]))
    const whole = new Float64Array(items.length)
    blocks.forEach((from, k) => { for (let i = 0; i < block; i++) whole[k * block + i] = items[sorted[from * block + i]!]! })
    for (let i = blocks.length * block; i < items.length; i++) whole[i] = items[sorted[i]!]!
    held = { number, items: whole }
    return whole
  }
  return {
    length: order.length,
    indices(first, stop) {
      const indices = new Float64Array(stop - first)
      for (let at = first; at < stop;) {
        const number = Math.floor(at / window)
        const end = Math.min(stop, (number + 1) * window)
        indices.set(windowOf(number).subarray(at - number * window, end - number * window), at - first)
        at = end
      }
      return indices
    },
  }
}

/** Fisher and Yates: every order is equally likely. */
function mix(items: number[], random: Philox): void {
  for (let i = items.length - 1; i > 0; i--) {
    const j = random.below(i + 1)
    ;[items[i], items[j]] = [items[j]!, items[i]!]
  }
}
