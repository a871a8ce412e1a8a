import { checkOptions, show } from './core/options.js'
import type { Item } from './dataset/collate.js'
import { LiveDataset } from './dataset/live.js'
import type { DatasetOptions } from './dataset/datasets.js'
import { checkDeviceChoice, deviceSource } from './devices/select.js'
import type { Recipe } from './ops/recipe.js'
import type { Source } from './sources/source.js'

/** Options of `preview`. */
export interface PreviewOptions {
  /** As of `Cache.dataset`; default `cpu`: for one item a GPU is not worth opening. */
  readonly device?: DatasetOptions['device']
  /** Aborted: rejects with its reason. */
  readonly signal?: AbortSignal
}

/** Bytes of an item in work at a time, far above what an item has. */
const MEMORY_BYTES = 2 ** 30

/**
 * One item after a recipe, without a cache: what item `index` of the dataset would be, to the byte. Reads what that item needs and nothing else, and writes nothing. The source stays open. Rejects as a build does, with RangeError where there is
 * no such item.
 */
export async function preview(source: Source, recipe: Recipe, index: number, options: PreviewOptions = {}): Promise<Item> {
  const where = 'preview'
  checkOptions(where, options, ['device', 'signal'])
  if (typeof source?.read !== 'function') throw new TypeError(`${where}: expected a source, not ${show(source)}; sources are opened with await: await npz('train.npz')`)
  if (!Array.isArray(recipe?.ops)) throw new TypeError(`${where}: expected a recipe, not ${show(recipe)}; make one with recipe([…])`)
  const { device: chosen = 'cpu', signal } = options
  const given = typeof chosen === 'object' && typeof chosen.prepare === 'function' ? chosen : undefined
  const device = given === undefined ? deviceSource(checkDeviceChoice(where, chosen)) : { exact: given.exact, open: () => Promise.resolve(given), close: () => Promise.resolve() }
  try {
    await using dataset = await LiveDataset.open({ source, recipe, device, name: '', memoryBytes: MEMORY_BYTES, signal, onClose: () => undefined })
    return await dataset.get(index, signal === undefined ? {} : { signal })
  } finally {
    await device.close()
  }
}
