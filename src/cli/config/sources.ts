import type { Source } from '../../sources/source.js'

/** How a `source:` section of one `type` is opened. A new format adds an entry; its reader is loaded when it is used. */
export interface SourceType {
  /** Options besides `type`, `path` and `paths`, under the names that the function of the library has. */
  readonly options: readonly string[]
  /** Those of them that are paths, which are relative to the file they stand in. */
  readonly paths?: readonly string[]
  open(paths: readonly string[], options: Readonly<Record<string, unknown>>): Promise<Source>
}

export const sourceTypes: Readonly<Record<string, SourceType>> = {
  npz: { options: ['fields', 'constants', 'ids'], open: async (paths, options) => (await import('../../sources/npz.js')).npz(paths, options) },
  npy: { options: ['fields'], open: async (paths, options) => (await import('../../sources/npy.js')).npy(paths, options) },
  safetensors: { options: ['fields', 'constants', 'ids'], open: async (paths, options) => (await import('../../sources/safetensors.js')).safetensors(paths, options) },
  crystals: {
    options: ['cifColumn', 'idColumn', 'properties', 'occupancy', 'onBadItem', 'siteTolerance', 'block'],
    open: async (paths, options) => (await import('../../sources/crystals.js')).crystals(paths, options),
  },
  nifti: {
    options: ['fields', 'column', 'root', 'idColumn', 'properties', 'scaled', 'dtype', 'time', 'squeeze'],
    paths: ['root'],
    open: async (paths, options) => (await import('../../sources/nifti.js')).nifti(paths, options),
  },
}
