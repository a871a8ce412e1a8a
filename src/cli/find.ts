import type { Cache } from '../open-cache.js'
import type { Store } from '../store/store.js'
import type { DatasetRecord } from '../store/tables.js'
import { UsageError } from './verb.js'

export interface FoundDataset {
  readonly store: Store
  readonly key: string
  readonly record: DatasetRecord
}

export function allDatasets(cache: Cache): FoundDataset[] {
  return cache.stores.all.flatMap((store) => Array.from(store.datasets(), (found) => ({ store, ...found })))
}

/** The dataset that a key, the beginning of one, or a name means. */
export function findDataset(cache: Cache, wanted: string): FoundDataset {
  const all = allDatasets(cache)
  const byKey = /^[0-9a-f]{4,64}$/.test(wanted) ? all.filter(({ key }) => key.startsWith(wanted)) : []
  const found = byKey.length > 0 ? byKey : all.filter(({ record }) => record.name === wanted || `${record.namespace}/${record.name}` === wanted)
  if (found.length === 0) throw new UsageError(`the cache has no dataset "${wanted}"; tensorcache ls lists them`)
  // One that was made again from a source that has changed takes the name over.
  const sameName = byKey.length === 0 && new Set(found.map(({ record }) => `${record.namespace}/${record.name}`)).size === 1
  if (sameName) return found.reduce((newest, one) => (one.record.created > newest.record.created ? one : newest))
  if (found.length > 1) throw new UsageError(`"${wanted}" means ${found.length} datasets; their keys begin with ${found.map(({ key }) => key.slice(0, 12)).join(', ')}`)
  return found[0]!
}
