import { allDatasets, datasetsNamed, type FoundDataset } from '../dataset/named.js'
import type { Cache } from '../open-cache.js'
import { UsageError } from './verb.js'

export function datasetsOf(cache: Cache): FoundDataset[] {
  return allDatasets(cache.stores.all)
}

/** The dataset that a key, the beginning of one, or a name means. */
export function findDataset(cache: Cache, wanted: string): FoundDataset {
  const all = datasetsOf(cache)
  const byKey = /^[0-9a-f]{4,64}$/.test(wanted) ? all.filter(({ key }) => key.startsWith(wanted)) : []
  const found = byKey.length > 0 ? byKey : datasetsNamed(all, wanted)
  if (found.length === 0) throw new UsageError(`the cache has no dataset "${wanted}"; tensorcache ls lists them`)
  if (found.length > 1) throw new UsageError(`"${wanted}" means ${found.length} datasets; their keys begin with ${found.map(({ key }) => key.slice(0, 12)).join(', ')}`)
  return found[0]!
}
