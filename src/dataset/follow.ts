import { inputFields } from '../ops/compile.js'
import type { ItemSequence } from '../ops/op.js'
import type { Recipe } from '../ops/recipe.js'
import type { Following, Source } from '../sources/source.js'
import type { Epoch } from './batches.js'

export interface Followed {
  readonly source: Source
  readonly recipe: Recipe
  /** What each op of dataset scope made, in their order. */
  readonly arranged: readonly ItemSequence[]
}

/**
 * Tells a source, where it wants to know, in which order an epoch needs its items: through the ops of dataset scope, where these say which items theirs are made of. Behind the epoch comes the next one of the same seed,
 * or the same once more: what most loops go on with. Undefined where the order is not known, or of no use.
 */
export function followEpoch({ source, recipe, arranged }: Followed, { order: now, next }: Epoch, fields: readonly string[]): Following | undefined {
  if (source.follow === undefined || arranged.some(({ members }) => members === undefined)) return undefined
  const positions = now.length
  const order = {
    length: positions,
    known: positions + (next?.length ?? 0),
    uses(first: number, stop: number) {
      const here = now.indices(Math.min(first, positions), Math.min(stop, positions))
      const there = next?.indices(Math.max(0, first - positions), Math.max(0, stop - positions)) ?? new Float64Array(0)
      const indices = new Float64Array(here.length + there.length)
      indices.set(here)
      indices.set(there, here.length)
      if (arranged.length === 0) return { items: indices, positions: indices.map((_, k) => first + k) }
      const members = Array.from(indices, (index) => membersOf(arranged, index))
      return { items: Float64Array.from(members.flat()), positions: Float64Array.from(members.flatMap((of, k) => of.map(() => first + k))) }
    },
  }
  return source.follow(order, inputFields(recipe, source.fields, fields))
}

/** Items of the source that an item is made of, each once. */
function membersOf(arranged: readonly ItemSequence[], index: number): number[] {
  return [...new Set(arranged.reduceRight((items, sequence) => items.flatMap((item) => [...sequence.members!(item)]), [index]))]
}
