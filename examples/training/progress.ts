import type { BatchState, Cache, Value } from 'tensorcache'
import type { Learnt } from './learner.js'

/** Of an epoch, or of a part of it. */
export type Sums = {
  readonly items: number
  /** Over items. */
  readonly loss: number
  readonly seconds: number
  /** Of these, in which there was no batch to work on. */
  readonly waited: number
}

export type EpochFigures = {
  readonly epoch: number
  /** Mean over the items, each judged before the step it was in. */
  readonly loss: number
  /** Of the items that no step has seen. */
  readonly valLoss: number
  readonly valError: number
  readonly seconds: number
  readonly waited: number
}

/** Where a run is: everything that it needs to go on as if nothing had happened. */
export type Progress = {
  readonly learnt: Learnt
  /** Where the iterator is; also says which epoch. */
  readonly batches: BatchState
  /** Steps since the beginning. */
  readonly step: number
  /** Of the epoch under way. */
  readonly sums: Sums
  /** Epochs that are over. */
  readonly history: readonly EpochFigures[]
}

export const NOTHING: Sums = { items: 0, loss: 0, seconds: 0, waited: 0 }

/**
 * The newest checkpoint of a task, as a value in the cache: `put` resolves when it is on the disk, and a run that is killed meanwhile leaves the one before, whole.
 */
export class Checkpoints {
  readonly #cache: Cache
  readonly #where: { readonly namespace: string }

  constructor(cache: Cache, task: string) {
    this.#cache = cache
    this.#where = { namespace: `training/${task}` }
  }

  async newest(): Promise<Progress | undefined> {
    return (await this.#cache.get('newest', this.#where))?.value as Progress | undefined
  }

  async save(progress: Progress): Promise<void> {
    await this.#cache.put('newest', progress as unknown as Value, this.#where)
  }

  /** A run that begins anew must not be resumed from the one before. */
  async clear(): Promise<void> {
    await this.#cache.delete('newest', this.#where)
  }
}
