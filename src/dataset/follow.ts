import { inputFields } from '../ops/compile.js'
import type { ItemSequence } from '../ops/op.js'
import type { Recipe } from '../ops/recipe.js'
import type { Following, Source } from '../sources/source.js'
import { orderOf, type BatchPlan } from './batches.js'

const EPOCH_MAX = 2 ** 32 - 1

export interface Followed {
  readonly source: Source
  readonly recipe: Recipe
  /** What each op of dataset scope made, in their order. */
  readonly arranged: readonly ItemSequence[]
  readonly length: number
}

/**
 * Tells a source, where it wants to know, in which order an epoch needs its items: through the ops of dataset scope, where these say which items theirs are made of. Behind the epoch comes the next one of the same seed,
 * or the same once more: what most loops go on with. Undefined where the order is not known, or of no use.
 */
export function followEpoch({ source, recipe, arranged, length }: Followed, plan: BatchPlan): Following | undefined {
  if (source.follow === undefined || arranged.some(({ members }) => members === undefined)) return undefined
  const positions = positionsOf(plan, length)
  const order = {
    length: positions,
    known: plan.shuffle && plan.epoch === EPOCH_MAX ? positions : 2 * positions,
    uses(first: number, stop: number) {
      const now = orderOf(plan, length, Math.min(first, positions), Math.min(stop, positions))
      const next = orderOf({ ...plan, epoch: Math.min(EPOCH_MAX, plan.epoch + 1) }, length, Math.max(0, first - positions), Math.max(0, stop - positions))
      const indices = new Float64Array(now.length + next.length)
      indices.set(now)
      indices.set(next, now.length)
      if (arranged.length === 0) return { items: indices, positions: indices.map((_, k) => first + k) }
      const members = Array.from(indices, (index) => membersOf(arranged, index))
      return { items: Float64Array.from(members.flat()), positions: Float64Array.from(members.flatMap((of, k) => of.map(() => first + k))) }
    },
  }
  return source.follow(order, inputFields(recipe, source.fields, plan.fields))
}

/** Items that the batches of an epoch have together. */
export function positionsOf({ size, dropLast }: BatchPlan, length: number): number {
  return dropLast ? Math.floor(length / size) * size : length
}

/** Items of the source that an item is made of, each once. */
function membersOf(arranged: readonly ItemSequence[], index: number): number[] {
  return [...new Set(arranged.reduceRight((items, sequence) => items.flatMap((item) => [...sequence.members!(item)]), [index]))]
}
