import type { Recipe, Source } from 'tensorcache'

/** What `npm start` runs of an example. */
export interface Example {
  readonly name: string
  /** One line for the table's reader. */
  readonly about: string
  readonly recipe: Recipe
  source(): Promise<Source>
}
