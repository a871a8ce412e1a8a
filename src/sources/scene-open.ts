import { join } from 'node:path'
import { FileError, FormatError, UnsupportedError } from '../core/errors.js'
import { badFieldName } from '../core/names.js'
import { nearest, show } from '../core/options.js'
import { NPY_ARRAY } from './array-file.js'
import { ArraysFile, type ArrayFiles } from './arrays-file.js'
import { brief } from './brief.js'
import { frameIn, type FrameForm } from './frame-form.js'
import { inLanes } from './lanes.js'
import { StoredArray } from './lazy.js'
import type { Scene } from './scene-folders.js'
import { framesOfFiles, framesOfRows, type FrameRange, type FrameSelection } from './scene-frames.js'
import { propertiesIn } from './scene-properties.js'
import type { SceneSieve } from './scene-sieve.js'
import type { OpenedScene } from './scene-source.js'
import { ArrayTrack, FrameTrack, type Track } from './scene-tracks.js'

export interface SceneChoices {
  /** Name in the simulations by field; undefined: what all of them have. */
  readonly fields: Readonly<Record<string, string>> | undefined
  readonly frames: FrameSelection
  /** Paths in `description.json`. */
  readonly properties: readonly string[]
  readonly array: string | undefined
  readonly open: ArrayFiles
  readonly sieve: SceneSieve
  /** Simulations opened at the same time. */
  readonly lanes: number
}

/** Files whose status is asked for at the same time. */
const FILES_AT_ONCE = 32

/** Asks for the status of all files and reads the headers of one for each field of each simulation. What is wrong with one of them goes to the sieve. */
export async function openScenes(scenes: readonly Scene[], choices: SceneChoices): Promise<{ opened: OpenedScene[]; fields: Readonly<Record<string, string>> }> {
  const { sieve, lanes } = choices
  const single = choices.properties.length === 0 ? undefined : scenes.find(({ form }) => form === 'file')
  if (single !== undefined) throw new TypeError(`scenes: properties are in the description.json of a simulation's folder, and ${single.path} is a file`)
  const named = kept(await inLanes(scenes, lanes, (scene) => sieve.pass(scene, async () => ({ scene, names: await namesIn(scene, choices.fields === undefined) }))))
  const fields = choices.fields ?? commonFields(named)
  const complete = kept(await inLanes(named, lanes, ({ scene, names }) => sieve.pass(scene, () => requireFields(scene, names, fields))))
  const ofFrames = complete.filter(({ form }) => form === 'frames')
  const ranges = framesOfFiles(ofFrames.map((scene) => ({ scene, files: Object.values(fields).map((name) => [name, scene.frames.get(name)!] as const) })), choices.frames)
  const rangeOf = new Map(ofFrames.map((scene, k) => [scene, ranges[k]!]))
  const openOne = (scene: Scene, like: OpenedScene | undefined): Promise<OpenedScene | undefined> => sieve.pass(scene, async () => {
    const [range, tracks] = scene.form === 'frames' ? await frameTracks(scene, fields, rangeOf.get(scene)!(), choices, like) : await arrayTracks(scene, fields, choices)
    const described = choices.properties.length === 0 ? undefined : await propertiesIn(scene.path, choices.properties)
    return { id: scene.id, path: scene.path, range, tracks, properties: described?.values ?? [], description: described?.file }
  })
  // The others are probably labelled as the first one is.
  const first = complete.length === 0 ? undefined : await openOne(complete[0]!, undefined)
  return { opened: kept([first, ...await inLanes(complete.slice(1), lanes, (scene) => openOne(scene, first))]), fields }
}

function kept<T>(passed: readonly (T | undefined)[]): T[] {
  return passed.filter((one) => one !== undefined)
}

function requireFields(scene: Scene, names: readonly string[], fields: Readonly<Record<string, string>>): Scene {
  for (const name of Object.values(fields)) {
    if (names.includes(name)) continue
    const near = nearest(name, names)
    throw new FileError(scene.path, `has no field ${brief(name)}; ${near === undefined ? `it has ${names.slice(0, 20).map(brief).join(', ')}` : `did you mean ${show(near)}?`}`)
  }
  return scene
}

/** Names of what can be asked for; `isForAll`: of what is a field when nothing is. */
async function namesIn(scene: Scene, isForAll: boolean): Promise<readonly string[]> {
  if (scene.form !== 'file' && scene.frames.size + scene.arrays.size === 0) throw new FileError(scene.path, 'holds no frames (`velocity_000000.npz`) and no arrays of frames (`velocity.npy`)')
  if (scene.form === 'frames') return [...scene.frames.keys()].sort()
  if (scene.form === 'arrays') return [...scene.arrays.keys()].sort()
  if (scene.path.endsWith('.npy')) return [NPY_ARRAY]
  return await (await ArraysFile.open(scene.path)).reading(async (arrays) => {
    if (!isForAll) return arrays.names
    const entries = await Promise.all(arrays.names.map(async (name) => ({ name, array: (await arrays.entry(name)).array })))
    return entries.filter(({ array }) => array instanceof StoredArray && array.shape.length > 0).map(({ name }) => name)
  })
}

/** What every simulation has, under its own name. */
function commonFields(all: readonly { readonly scene: Scene; readonly names: readonly string[] }[]): Readonly<Record<string, string>> {
  if (all.length === 0) return {}
  const [first, last] = [all[0]!, all.at(-1)!]
  const common = first.names.filter((name) => all.every(({ names }) => names.includes(name)))
  const text = (names: readonly string[]): string => names.slice(0, 20).map(brief).join(', ')
  if (common.length === 0) throw new FileError(first.scene.path, `no field is in all simulations: it has ${text(first.names)}, and ${last.scene.path} has ${text(last.names)}`)
  for (const name of common) {
    const reason = badFieldName(name)
    if (reason !== undefined) throw new TypeError(`scenes: ${show(name)} cannot be the name of a field: ${reason} (choose one with \`fields: { field: ${show(name)} }\`)`)
  }
  return Object.fromEntries(common.map((name) => [name, name]))
}

async function frameTracks(scene: Scene, fields: Readonly<Record<string, string>>, range: FrameRange, { array }: SceneChoices, like: OpenedScene | undefined): Promise<[FrameRange, Record<string, Track>]> {
  const { first, step, count } = range
  const tracks: Record<string, Track> = {}
  for (const [field, name] of Object.entries(fields)) {
    const names = scene.frames.get(name)!
    const files = await inLanes(Array.from({ length: count }, (_, k) => join(scene.path, names.get(first + k * step)!)), FILES_AT_ONCE, (path) => ArraysFile.open(path))
    tracks[field] = await FrameTrack.open(scene.id, name, files, range, array, like?.tracks[field]?.form)
  }
  return [range, tracks]
}

async function arrayTracks(scene: Scene, fields: Readonly<Record<string, string>>, { frames, array, open }: SceneChoices): Promise<[FrameRange, Record<string, Track>]> {
  const tracks: Record<string, Track> = {}
  const whole = scene.form === 'file' ? await ArraysFile.open(scene.path) : undefined
  let before: { name: string; path: string; rows: number } | undefined
  let range: FrameRange | undefined
  for (const [field, name] of Object.entries(fields)) {
    const file = whole ?? await ArraysFile.open(join(scene.path, scene.arrays.get(name)!))
    const wanted = whole === undefined ? array : name
    const { path } = file
    const form: FrameForm = await file.reading(async (arrays) => (await frameIn(path, arrays, wanted)).form)
    if (form.order.some((axis, k) => axis !== k)) throw new UnsupportedError({ file: path, place: `field ${brief(name)}`, reason: `its axes are ${form.axes!.map((_, k) => form.axes![form.order.indexOf(k)]).join(', ')}, and of an array the first is the frames` })
    const place = `array ${brief(name)}`
    if (form.shape.length === 0) throw new FormatError({ file: path, place, expected: 'an axis of frames (`fields` says which arrays are fields)', found: 'a 0-d array' })
    const rows = form.shape[0]!
    if (before !== undefined && rows !== before.rows) throw new FormatError({ file: path, place, expected: `${before.rows} frames, as ${brief(before.name)} has${before.path === path ? '' : ` in ${before.path}`} (\`fields\` says which arrays are fields)`, found: `shape [${form.shape.join(', ')}]` })
    before ??= { name, path, rows }
    range ??= framesOfRows(path, rows, frames)
    tracks[field] = new ArrayTrack(name, file, range, wanted, form, open)
  }
  return [range!, tracks]
}
