import type { BatchOptions, Dataset, Recipe, Source } from 'tensorcache'

/** What `npm start` runs of an example. */
export interface Example {
  readonly name: string
  /** One line for the table's reader. */
  readonly about: string
  readonly recipe: Recipe
  /** Makes what it reads, before anything is timed. */
  prepare?(): Promise<void>
  source(): Promise<Source>
  /** How its items become batches; default: stacked. */
  readonly batches?: Partial<BatchOptions>
  /** What a person wants to see of the result. */
  look?(dataset: Dataset): Promise<string>
}
