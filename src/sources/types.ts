import type { Source } from './source.js'
import type { StagedListOptions } from './staged.js'

/** How sources of one `type` are opened from plain data: of a configuration file, or of the description in a manifest. A new format adds an entry; its reader is loaded when it is used. */
export interface SourceType {
  /** Options besides `type`, `path` and `paths`, under the names that the function of the library has. */
  readonly options: readonly string[]
  /** Those of them that are paths, which are relative to the file they stand in. */
  readonly paths?: readonly string[]
  open(paths: readonly string[], options: Readonly<Record<string, unknown>>): Promise<Source>
}

export const sourceTypes: Readonly<Record<string, SourceType>> = {
  npz: { options: ['fields', 'constants', 'ids'], open: async (paths, options) => (await import('./npz.js')).npz(paths, options) },
  npy: { options: ['fields'], open: async (paths, options) => (await import('./npy.js')).npy(paths, options) },
  safetensors: { options: ['fields', 'constants', 'ids'], open: async (paths, options) => (await import('./safetensors.js')).safetensors(paths, options) },
  jsonl: { options: ['fields', 'id'], open: async (paths, options) => (await import('./jsonl.js')).jsonl(paths, options) },
  parquet: { options: ['fields', 'id'], open: async (paths, options) => (await import('./parquet.js')).parquet(paths, options) },
  crystals: {
    options: ['cifColumn', 'idColumn', 'properties', 'occupancy', 'onBadItem', 'siteTolerance', 'block'],
    open: async (paths, options) => (await import('./crystals.js')).crystals(paths, options),
  },
  nifti: {
    options: ['fields', 'column', 'root', 'idColumn', 'properties', 'scaled', 'dtype', 'time', 'squeeze', 'frames'],
    paths: ['root'],
    open: async (paths, options) => (await import('./nifti.js')).nifti(paths, options),
  },
  scenes: {
    options: ['fields', 'window', 'stride', 'frames', 'properties', 'array', 'onBadItem'],
    open: async (paths, options) => (await import('./scenes.js')).scenes(paths, options),
  },
  staged: {
    options: ['open', 'dir', 'urlColumn', 'idColumn', 'sha256Column', 'properties', 'fields', 'diskBudget', 'concurrency', 'ahead', 'onBadItem'],
    paths: ['dir'],
    open: async (paths, options) => {
      if (paths.length !== 1) throw new TypeError(`staged: path must be one list, not ${paths.length}`)
      return (await import('./staged.js')).stagedList(paths[0]!, options as unknown as StagedListOptions)
    },
  },
}

/** Opens what a source's `description` says, reading headers only; undefined for a type that is not opened from files. Rejects as the type's own function does. */
export async function openDescribed(description: Source['description']): Promise<Source | undefined> {
  const { type: name, path, paths, ...options } = description
  const type = Object.hasOwn(sourceTypes, name) ? sourceTypes[name]! : undefined
  const given = paths ?? path
  if (type === undefined || given === undefined) return undefined
  return type.open(Array.isArray(given) ? given as string[] : [given as string], options)
}
