import { availableParallelism } from 'node:os'
import { FileError, FormatError, UnsupportedError } from '../core/errors.js'
import { sha256, toHex } from '../core/hash.js'
import { checkOptions, choice, number, show } from '../core/options.js'
import type { FieldSpec } from '../core/tensor.js'
import { ArrayFiles } from './arrays-file.js'
import { fullPath, pathList } from './columns.js'
import { checkFieldName } from './names.js'
import { exactBytes } from './npy-header.js'
import { propertiesOf, type PropertyColumns } from './properties.js'
import { READ_BYTES_MAX } from './ranges.js'
import { findScenes } from './scene-folders.js'
import { windowCount, type FrameSelection } from './scene-frames.js'
import { openScenes } from './scene-open.js'
import { SceneSieve } from './scene-sieve.js'
import { SceneSource, type OpenedScene, type Windows } from './scene-source.js'
import { formText, isSameForm } from './frame-form.js'
import type { Source } from './source.js'

export type { FrameSelection } from './scene-frames.js'

/** Options of `scenes`. */
export interface ScenesOptions {
  /**
   * Fields of an item by what they are called in the simulations: `{ u: 'velocity' }` of `velocity_000000.npz`; or a list of names. Default: what every simulation has, under its own name.
   */
  readonly fields?: Readonly<Record<string, string>> | readonly string[]
  /** Frames of an item, each window of a simulation one item. Default: an item is a simulation, with all its frames. */
  readonly window?: number
  /** Frames from the beginning of one window to that of the next. Default: `window`, so that no frame is in two. */
  readonly stride?: number
  /** Which frames are read: `{ start: 100, stop: 500, step: 10 }`, by the numbers in the names of their files. */
  readonly frames?: FrameSelection
  /** Numbers of each simulation's `description.json`, each a float64 [] field: `['viscosity']`, or by field: `{ nu: 'physics.viscosity' }`. Dots lead into objects and lists. */
  readonly properties?: PropertyColumns
  /** The array in the file of a frame. Default: `data`, or the only one of numbers. */
  readonly array?: string
  /** What becomes of a simulation that lacks a frame or a field, or is no sound one for other reasons found while opening: an `error` (default), or `skip`: it is left out and listed in `source.skipped`. */
  readonly onBadItem?: 'error' | 'skip'
}

const OPTIONS = ['fields', 'window', 'stride', 'frames', 'properties', 'array', 'onBadItem']
const FRAMES_MAX = 2 ** 31

/**
 * Simulations in folders as PhiFlow writes them (`sim_000000/velocity_000000.npz`), with a file for each frame of each field; folders with one `.npy` or `.npz` for each field, or single files of all fields, whose axis 0
 * is the frames. A path is a simulation, a folder of simulations, or a pattern. Opening lists the folders and reads the headers of one frame of each field of each simulation; an item's frames are read when it is.
 *
 * Fields: each [frames, …], with the axes that the file names: batch, spatial, channels (`[frames, x, y, vector]`), staggered grids as PhiFlow stores them, one layer larger along each axis; each property float64 [].
 *
 * Rejects with FileError when a frame or a field is missing, naming file, simulation and frame; FormatError when a file is damaged or hostile, or differs from the others in dtype or axes; UnsupportedError when it holds no numbers.
 */
export async function scenes(paths: string | URL | readonly (string | URL)[], options: ScenesOptions = {}): Promise<Source> {
  checkOptions('scenes', options, OPTIONS)
  const list = pathList('scenes', paths).map(fullPath)
  const mapping = mappingOf(options.fields)
  const properties = propertiesOf('scenes', options.properties, Object.keys(mapping ?? {}))
  const windows = windowsOf(options)
  const frames = selectionOf(options.frames)
  const { array } = options
  if (array !== undefined && typeof array !== 'string') throw new TypeError(`scenes: array must be the name of an array, not ${show(array)}`)

  const onBadItem = choice('scenes', 'onBadItem', options.onBadItem, ['error', 'skip'], 'error')
  const sieve = new SceneSieve(onBadItem === 'skip')
  const open = new ArrayFiles()
  try {
    const found = await findScenes(list)
    const { opened, fields } = await openScenes(found, { fields: mapping, frames, properties: Object.values(properties), array, open, sieve, lanes: 4 * availableParallelism() })
    const twice = Object.keys(properties).find((name) => Object.hasOwn(fields, name))
    if (twice !== undefined) throw new TypeError(`scenes: properties: there is a field ${show(twice)} already`)
    const fitting: OpenedScene[] = []
    for (const scene of opened) await sieve.pass(scene, () => { requireFit(scene, fitting[0] ?? scene, windows); fitting.push(scene) })
    const skipped = sieve.skipped(found)
    if (fitting.length === 0) throw new FileError(list[0]!, `none of ${found.length} simulations can be read; of the first: ${skipped![0]!.reason}`)
    const specs = specsOf(fitting, windows)
    for (const name of Object.keys(properties)) specs[name] = { dtype: 'float64', shape: [] }
    const rules = { ...(windows !== undefined && { window: windows.window, stride: windows.stride }), ...(options.frames !== undefined && { frames: { ...options.frames } }), ...(array !== undefined && { array }) }
    return new SceneSource(fitting, windows, { specs: Object.freeze(specs), properties: Object.keys(properties), skipped }, open, {
      description: { type: 'scenes', path: list.length === 1 ? list[0] : list, fields, ...rules, ...(Object.keys(properties).length > 0 && { properties }), ...(onBadItem === 'skip' && { onBadItem }) },
      // Which file is which frame of which simulation the files' content does not say.
      selection: { ...rules, fields, properties, scenes: toHex(sha256(JSON.stringify(fitting.map(({ id, range: { first, step, count } }) => [id, first, step, count])))) },
    })
  } catch (error) {
    open.close()
    throw error
  }
}

/** Name in the simulations by field. */
function mappingOf(fields: unknown): Readonly<Record<string, string>> | undefined {
  if (fields === undefined) return undefined
  if (typeof fields !== 'object' || fields === null || Object.keys(fields).length === 0) throw new TypeError(`scenes: fields must be { field: name } or a list of names, not ${show(fields)}`)
  const pairs: (readonly [string, unknown])[] = Array.isArray(fields) ? fields.map((name: unknown) => [String(name), name] as const) : Object.entries(fields)
  for (const [field, name] of pairs) {
    if (typeof name !== 'string' || name === '') throw new TypeError(`scenes: fields.${field} must be a name in the simulations, not ${show(name)}`)
    checkFieldName('scenes: fields', field)
  }
  return Object.fromEntries(pairs) as Record<string, string>
}

function windowsOf({ window, stride }: ScenesOptions): Windows | undefined {
  if (window === undefined && stride !== undefined) throw new TypeError('scenes: stride says where windows begin, and without window there are none')
  if (window === undefined) return undefined
  const rule = { integer: true, min: 1, max: FRAMES_MAX }
  return { window: number('scenes', 'window', window, rule), stride: number('scenes', 'stride', stride, rule, window) }
}

function selectionOf(given: FrameSelection = {}): FrameSelection {
  checkOptions('scenes: frames', given, ['start', 'stop', 'step'])
  for (const name of ['start', 'stop', 'step'] as const) if (given[name] !== undefined) number('scenes: frames', name, given[name], { integer: true, min: name === 'step' ? 1 : 0 })
  if (given.stop !== undefined && given.stop <= (given.start ?? 0)) throw new TypeError(`scenes: frames: stop must be greater than start (${given.start ?? 0}), not ${given.stop}`)
  return given
}

/** Throws FileError when a simulation has no window, UnsupportedError when an item of it is too large, FormatError when its dtype or axes are not those of `first`. */
function requireFit({ id, range, tracks }: OpenedScene, first: OpenedScene, windows: Windows | undefined): void {
  for (const [field, { name, form, files }] of Object.entries(tracks)) {
    const { path } = files[0]!
    if (windows !== undefined && windowCount(range.count, windows.window, windows.stride) === 0) throw new FileError(path, `a window is of ${windows.window} frames, and ${id} has ${range.count}`)
    const { form: expected, files: [like] } = first.tracks[field]!
    if (!isSameForm(form, expected, false)) {
      const text = (of: typeof form): string => `${formText(of)}${of.grid === undefined ? '' : ` of a ${of.grid}`}`
      throw new FormatError({ file: path, place: `${name} in ${id}`, expected: `the dtype and axes that ${like!.path} has: ${text(expected)}`, found: text(form) })
    }
    const frames = windows?.window ?? range.count
    const bytes = exactBytes(form.dtype, [frames, ...form.shape])
    if (bytes === undefined || bytes > READ_BYTES_MAX) throw new UnsupportedError({ file: path, place: `${name} in ${id}`, reason: `one item is at most 4 GiB, and ${frames} frames of ${formText(form)} are more: \`window\` makes items of fewer` })
  }
}

/** What the simulations have in common; extents that differ are null. */
function specsOf(scenes: readonly OpenedScene[], windows: Windows | undefined): Record<string, FieldSpec> {
  const specs: Record<string, FieldSpec> = {}
  for (const [field, { form: { dtype } }] of Object.entries(scenes[0]!.tracks)) {
    const shapes = scenes.map(({ range, tracks }) => [windows?.window ?? range.count, ...tracks[field]!.form.shape])
    specs[field] = { dtype, shape: shapes[0]!.map((extent, axis) => shapes.every((shape) => shape[axis] === extent) ? extent : null) }
  }
  return specs
}
