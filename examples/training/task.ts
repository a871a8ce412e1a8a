import type { Scalar } from '@tensorflow/tfjs'
import type { Batch, BatchOptions, Cache, Dataset, ItemList, LiveDataset, Source } from 'tensorcache'
import type { Variables } from './variables.js'

export type Tf = typeof import('@tensorflow/tfjs')

/** What a model is trained on. */
export interface Task {
  readonly name: string
  /** One line for who looks at the figures. */
  readonly about: string
  /** What `Judgement.error` is. */
  readonly error: string
  /** How items become batches; order, seed and epoch are the loop's. */
  readonly batches: BatchOptions
  /** For validation, in order. */
  readonly validation: BatchOptions
  /** Default number of epochs. */
  readonly epochs: number
  /** In so many epochs the mean loss of an epoch falls at least by this factor from that of the first. */
  readonly falls: number
  /** Of Adam. */
  readonly rate: number
  /** Opens its data: from the cache, or with `cached: false` computed when they are read. Both have the same items in the same parts. */
  open(cache: Cache, options: { readonly dir: string; readonly seed: number; readonly cached: boolean }): Promise<Lists>
  /** The model, its variables made of `variables`. */
  model(tf: Tf, variables: Variables, lists: Lists): Promise<Model>
}

export interface Lists extends AsyncDisposable {
  readonly train: ItemList
  readonly val: ItemList
}

/** Parts of a dataset, which close it and its source. */
export function lists(parts: Pick<Lists, 'train' | 'val'>, dataset: Dataset | LiveDataset, source: Source): Lists {
  return {
    ...parts,
    async [Symbol.asyncDispose]() {
      await dataset.close()
      source.close()
    },
  }
}

export interface Model {
  /** Called in a tidy: what it makes on the way is disposed. */
  judge(batch: Batch): Judgement
}

/** Means over the items of a batch. */
export interface Judgement {
  /** What training makes small. */
  readonly loss: Scalar
  /** What a person asks for, in units of its own. */
  readonly error: Scalar
}
