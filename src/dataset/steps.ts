import type { BatchPlan } from './batch-options.js'
import type { Order } from './order.js'

/**
 * An epoch from position `from` on, cut into steps of all ranks and batches of one. Step s takes `size × count` positions, of which rank r takes the r-th `size`. What does not fill a step is shared out
 * evenly, the first ranks taking one more; are these fewer than ranks, the step before takes them in, so that all ranks make the same number of steps. With `dropLast` it is left out.
 */
export class Steps {
  readonly #order: Order
  readonly #plan: Pick<BatchPlan, 'size' | 'shard' | 'dropLast'>
  readonly #from: number
  /** Steps that are made. A rank makes a batch in each, but where the last has fewer items than there are ranks. */
  readonly count: number
  /** Positions of the last step, of all ranks together. */
  readonly #last: number

  constructor(order: Order, plan: Pick<BatchPlan, 'size' | 'shard' | 'dropLast'>, from: number) {
    this.#order = order
    this.#plan = plan
    this.#from = Math.min(from, order.length)
    const left = order.length - this.#from
    const step = this.#step
    const full = Math.floor(left / step)
    const rest = left - full * step
    const isAlone = rest >= plan.shard.count || full === 0
    this.count = plan.dropLast || rest === 0 ? full : isAlone ? full + 1 : full
    this.#last = this.count === 0 ? 0 : this.count === full ? step + (plan.dropLast ? 0 : rest) : rest
  }

  /** Batches of this rank. */
  get batches(): number {
    const [start, stop] = this.#share
    return stop > start ? this.count : Math.max(0, this.count - 1)
  }

  /** Its order: which items this rank reads, batch after batch. All batches but the last are full. */
  get order(): Order {
    const before = Math.max(0, this.count - 1) * this.#plan.size
    const [start, stop] = this.#share
    const positions = before + stop - start
    const { size, shard: { index } } = this.#plan
    return {
      length: positions,
      indices: (first, last) => {
        if (this.#plan.shard.count === 1) return this.#order.indices(this.#from + first, this.#from + last)
        const indices = new Float64Array(last - first)
        for (let at = first; at < last;) {
          const step = Math.min(Math.floor(at / size), this.count - 1)
          const isLast = at >= before
          const end = Math.min(last, isLast ? positions : (step + 1) * size)
          const base = this.#from + step * this.#step + (isLast ? start : index * size) - step * size
          indices.set(this.#order.indices(base + at, base + end), at - first)
          at = end
        }
        return indices
      },
    }
  }

  /** Positions of the epoch that all ranks together are done with after so many steps: all, after the last. */
  positionAfter(steps: number): number {
    return steps >= this.count ? this.#order.length : this.#from + steps * this.#step
  }

  get #step(): number {
    return this.#plan.size * this.#plan.shard.count
  }

  /** Of the last step. */
  get #share(): [start: number, stop: number] {
    const { index, count } = this.#plan.shard
    return [Math.ceil(this.#last * index / count), Math.ceil(this.#last * (index + 1) / count)]
  }
}
