import type { Store } from '../store/store.js'
import type { DatasetRecord } from '../store/tables.js'

export interface FoundDataset {
  readonly store: Store
  readonly key: string
  readonly record: DatasetRecord
}

/** As it is listed, and as it can be asked for. */
export function labelOf({ name, namespace }: DatasetRecord): string {
  return namespace === '' ? name : `${namespace}/${name}`
}

export function allDatasets(stores: readonly Store[]): FoundDataset[] {
  return stores.flatMap((store) => Array.from(store.datasets(), (found) => ({ store, ...found })))
}

/**
 * The datasets that a name, or `namespace/name`, stands for. One that was made again from a source that has changed takes the name over, so more than one is only found in several
 * namespaces, none of which is the top.
 */
export function datasetsNamed(all: readonly FoundDataset[], wanted: string): FoundDataset[] {
  const newest = new Map<string, FoundDataset>()
  for (const one of all) {
    const label = labelOf(one.record)
    if (one.record.name !== wanted && label !== wanted) continue
    const other = newest.get(label)
    if (other === undefined || one.record.created > other.record.created) newest.set(label, one)
  }
  const exact = newest.get(wanted)
  return exact === undefined ? [...newest.values()] : [exact]
}
