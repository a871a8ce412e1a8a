import { KeyValue, type Room, type WhereOptions } from './cache/key-value.js'
import { boolean, checkOptions } from './core/options.js'
import type { Dataset } from './dataset/dataset.js'
import { DATASET_OPTIONS, type DatasetOptions, type Datasets, type LiveOptions } from './dataset/datasets.js'
import type { LiveDataset } from './dataset/live.js'
import type { Recipe } from './ops/recipe.js'
import type { Source } from './sources/source.js'

/** Values and datasets under one namespace: what a cache and a scope have in common. */
export class Shelf extends KeyValue {
  /** @internal */
  protected readonly datasets: Datasets

  /** @internal */
  constructor(room: Room, namespace: string, datasets: Datasets) {
    super(room, namespace)
    this.datasets = datasets
  }

  /** @internal Whether a dataset that is there is listed here from now on. */
  protected get relabels(): boolean {
    return true
  }

  /** With `cache: false` nothing is looked up or stored: items are computed when they are read, for recipes that cost less than reading their results (`strategyFor`). The source stays open. */
  async dataset(source: Source, recipe: Recipe, options: LiveOptions): Promise<LiveDataset>
  /**
   * The dataset that a source and a recipe ask for. What is in the cache is mapped; what is missing is computed and stored. Several processes
   * may ask for the same one at the same time: each item is computed once. When a build is killed, what was finished is kept. There is one dataset for what is asked for: it is listed under the name
   * and in the namespace that it was asked for last, scopes not counting.
   *
   * Rejects with RecipeError before anything is read, NonFiniteError or ItemError for an item that cannot be made, SourceChangedError when a file
   * is written meanwhile, DiskFullError when there is no room.
   */
  async dataset(source: Source, recipe: Recipe, options?: DatasetOptions): Promise<Dataset>
  async dataset(source: Source, recipe: Recipe, options: DatasetOptions | LiveOptions = {}): Promise<Dataset | LiveDataset> {
    if (!boolean('dataset', 'cache', options.cache, true)) return this.datasets.live(source, recipe, options as LiveOptions)
    checkOptions('dataset', options, DATASET_OPTIONS)
    const namespace = this.below('dataset', (options as DatasetOptions).namespace)
    await this.prepare()
    return this.datasets.dataset(source, recipe, { ...options as DatasetOptions, namespace }, this.relabels)
  }

  /** Removes all values and datasets of a namespace and of those below it; without one, of this one. Datasets that are open anywhere stay. Gives how many went. */
  override async clear(options: WhereOptions = {}): Promise<number> {
    const values = await super.clear(options)
    const namespace = this.below('clear', options.namespace)
    let datasets = 0
    for (const store of this.room.stores?.below(namespace) ?? []) datasets += (await store.upkeep.clearDatasets(namespace)).removed
    return values + datasets
  }
}
