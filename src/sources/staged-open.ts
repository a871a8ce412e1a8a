import { dirname, basename } from 'node:path'
import { choice, show } from '../core/options.js'
import type { FieldSpec } from '../core/tensor.js'
import type { Source } from './source.js'

/** Opens the files of one item, in the order of the list, as a source of one item. They lie in a folder of their own. */
export type OpenItem = (paths: readonly string[], id: string) => Promise<Source>

/** A reader that this library knows, by the name of its function, with its options. */
export interface OpenDescription {
  /** Name of the reader's function. */
  readonly type: 'nifti'
  readonly [option: string]: unknown
}

export interface Opener {
  readonly open: OpenItem
  readonly reader: Source['reader']
  /** What of it decides which bytes an item has; undefined when the caller's code does. */
  readonly description: OpenDescription | undefined
  /** dtype and shape of all items' field from the first item's: extents that the format does not fix may differ. */
  readonly general: (name: string, spec: FieldSpec) => FieldSpec
}

const anyExtent = ({ dtype, shape }: FieldSpec): FieldSpec => ({ dtype, shape: shape.map(() => null) })

/** Throws TypeError. */
export async function openerOf(given: OpenItem | OpenDescription, reader: Source['reader'] | undefined): Promise<Opener> {
  if (typeof given === 'function') {
    if (reader === undefined) throw new TypeError('staged: an open of your own needs reader: { name, version }, part of what items are known by; raise the version when it would give other values')
    if (typeof reader !== 'object' || typeof reader.name !== 'string' || !Number.isSafeInteger(reader.version)) throw new TypeError(`staged: reader must be { name, version }, not ${show(reader)}`)
    return { open: given, reader: { name: reader.name, version: reader.version }, description: undefined, general: (_, spec) => anyExtent(spec) }
  }
  if (typeof given !== 'object' || given === null) throw new TypeError(`staged: open must be a function or { type }, not ${show(given)}`)
  if (reader !== undefined) throw new TypeError('staged: reader is for an open of your own; of { type } it is known')
  const { type, ...options } = given
  choice('staged', 'open.type', type, ['nifti'])
  if (options.frames !== undefined) throw new TypeError('staged: open.frames: how many items a file has is not known before it is here')
  const { nifti } = await import('./nifti.js')
  const { NIFTI_READER } = await import('./nifti-source.js')
  const several = options.fields as Readonly<Record<string, string>> | undefined
  return {
    // `fields` says how the files of each are called.
    open: (paths) => several === undefined ? nifti(paths[0]!, options) : nifti(dirname(paths[0]!), { ...options, fields: filesOf(several, paths) }),
    reader: NIFTI_READER, description: given,
    general: (name, spec) => name === 'affine' || name.endsWith('_affine') ? spec : anyExtent(spec),
  }
}

/** The file of each field: the one that is called so, with or without its suffix. */
function filesOf(fields: Readonly<Record<string, string>>, paths: readonly string[]): Record<string, string> {
  const names = paths.map((path) => basename(path))
  return Object.fromEntries(Object.entries(fields).map(([field, wanted]) => [field, names.find((name) => name === wanted) ?? names.find((name) => name.startsWith(`${wanted}.`)) ?? wanted]))
}

/** Rejects with TypeError when it is not a source of one item. */
export async function openOne({ open }: Opener, paths: readonly string[], id: string): Promise<Source> {
  const inner = await open(paths, id)
  if (inner?.length === 1) return inner
  inner?.close?.()
  throw new TypeError(`staged: open must give a source of one item for ${show(id)}, not ${inner?.length === undefined ? show(inner) : `of ${inner.length}`}`)
}
