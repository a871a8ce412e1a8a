import type { DType } from '../core/dtype.js'
import { FormatError, UnsupportedError } from '../core/errors.js'
import { show } from '../core/options.js'
import type { ArrayEntry, NamedArrays } from './array-file.js'
import { brief } from './brief.js'
import { StoredArray } from './lazy.js'

/** What a file says about the frame it holds. */
export interface FrameForm {
  readonly dtype: DType
  /** Extents in the order they are given out. */
  readonly shape: readonly number[]
  /** Names of the axes in that order, as PhiFlow writes them; undefined when the file has none. */
  readonly axes: readonly string[] | undefined
  /** Where the file has each of them. */
  readonly order: readonly number[]
  /** `CenteredGrid` or `StaggeredGrid`; undefined when the file does not say. */
  readonly grid: string | undefined
  /** What the file calls its labels by, without reading them. */
  readonly marks: string
}

/** What PhiFlow calls the array among what it writes beside it. */
const DATA = 'data'
const LABELS = ['dim_names', 'dim_types', 'field_type']
const GRIDS = ['CenteredGrid', 'StaggeredGrid']
/** Kinds of axes in PhiFlow's own order. It spells `instance` in two ways. */
const KINDS: Readonly<Record<string, number>> = { batch: 0, dual: 1, instance: 2, înstance: 2, spatial: 3, channel: 4 }

/**
 * The array of a frame and what it means. PhiFlow 2 and 3 write `data` with `dim_names`, `dim_types` and `field_type` as text; PhiFlow 1 writes one bare array, which is taken as it is. Objects beside them (`extrapolation`,
 * `dim_item_names`) are not looked at. `name`: the array, where a file holds several. `like`: of a file
 * that is probably labelled in the same way. Rejects with FormatError, UnsupportedError, TypeError when there is no such array.
 */
export async function frameIn(path: string, arrays: NamedArrays, name: string | undefined, like?: FrameForm): Promise<{ array: StoredArray; form: FrameForm }> {
  const array = await chosen(path, arrays, name)
  const marks = LABELS.map((label) => arrays.mark?.(label) ?? '').join()
  if (like !== undefined && like.marks === marks && like.order.length === array.shape.length) return { array, form: { ...like, dtype: array.dtype, shape: like.order.map((axis) => array.shape[axis]!) } }
  const names = name === undefined || name === DATA ? await textsOf(arrays, 'dim_names') : undefined
  const { dtype, shape } = array
  if (names === undefined) return { array, form: { dtype, shape, axes: undefined, order: shape.map((_, axis) => axis), grid: undefined, marks } }
  const fail = (place: string, expected: string, found: string): never => { throw new FormatError({ file: path, place: `array ${brief(place)}`, expected, found }) }
  if (names.length !== shape.length || new Set(names).size < names.length) fail('dim_names', `${shape.length} different names, as data has axes`, names.map(brief).join(', '))
  const kinds = await textsOf(arrays, 'dim_types') ?? names.map((axis) => axis.startsWith('~') ? 'dual' : axis === 'vector' ? 'channel' : 'spatial')
  if (kinds.length !== shape.length) fail('dim_types', `${shape.length} kinds, as data has axes`, kinds.map(brief).join(', '))
  const unknown = kinds.find((kind) => !Object.hasOwn(KINDS, kind))
  if (unknown !== undefined) fail('dim_types', 'batch, dual, instance, spatial or channel', brief(unknown))
  const [grid] = await textsOf(arrays, 'field_type') ?? []
  if (grid !== undefined && !GRIDS.includes(grid)) throw new UnsupportedError({ file: path, place: 'array "field_type"', reason: `${GRIDS.join(' and ')} are read, and this is ${brief(grid)}` })
  const order = names.map((_, axis) => axis).sort((a, b) => KINDS[kinds[a]!]! - KINDS[kinds[b]!]! || a - b)
  return { array, form: { dtype, shape: order.map((axis) => shape[axis]!), axes: order.map((axis) => names[axis]!), order, grid, marks } }
}

/** For messages: `float32 [x 64, y 64, vector 2]`. */
export function formText({ dtype, shape, axes }: Pick<FrameForm, 'dtype' | 'shape' | 'axes'>): string {
  return `${dtype} [${shape.map((extent, axis) => axes === undefined ? extent : `${axes[axis]} ${extent}`).join(', ')}]`
}

/** Why frames of two forms cannot be in one tensor; undefined when they can. Extents may differ where `extents` is false. */
export function isSameForm(a: FrameForm, b: FrameForm, extents = true): boolean {
  return a.dtype === b.dtype && a.shape.length === b.shape.length && a.axes?.join() === b.axes?.join() && a.grid === b.grid && (!extents || a.shape.every((extent, axis) => extent === b.shape[axis]))
}

async function chosen(path: string, arrays: NamedArrays, name: string | undefined): Promise<StoredArray> {
  const wanted = name ?? (arrays.names.length === 1 ? arrays.names[0] : arrays.names.includes(DATA) ? DATA : undefined)
  if (wanted !== undefined) {
    if (!arrays.names.includes(wanted)) throw new TypeError(`scenes: ${path} holds no array ${show(wanted)}; it holds ${arrays.names.slice(0, 20).map(brief).join(', ')}`)
    return usable(await arrays.entry(wanted))
  }
  const entries = await Promise.all(arrays.names.map((one) => arrays.entry(one)))
  const numeric = entries.filter(({ array }) => array instanceof StoredArray)
  if (numeric.length === 1) return usable(numeric[0]!)
  const reason = numeric.length === 0 ? 'it holds none that is read' : `it is ${brief(DATA)}, or the only one of numbers, and there are ${numeric.slice(0, 20).map(({ info }) => brief(info.name)).join(', ')} (\`array\` says which; files with an array for each field of a simulation are named by a pattern: sims/*.npz)`
  throw new UnsupportedError({ file: path, place: 'array of the frame', reason })
}

function usable({ array }: ArrayEntry): StoredArray {
  if (array instanceof StoredArray) return array
  throw array.error
}

/** What an array of text says; undefined when there is none, or when it is something else. */
async function textsOf(arrays: NamedArrays, name: string): Promise<readonly string[] | undefined> {
  if (!arrays.names.includes(name)) return undefined
  return await (await arrays.entry(name)).texts?.()
}
