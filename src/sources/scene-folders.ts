import { readdir, stat } from 'node:fs/promises'
import { basename, join, relative } from 'node:path'
import { FileError } from '../core/errors.js'
import { brief } from './brief.js'
import { commonFolder, glob, isPattern, splitPattern } from './glob.js'
import { inLanes } from './lanes.js'

/** One simulation as its folder lists it. No file was opened; one in a folder of simulations may turn out to hold nothing. */
export interface Scene {
  readonly id: string
  /** Its folder, or the one file it is. */
  readonly path: string
  /** `frames`: a file for each frame of each field; `arrays`: a file for each field, with an axis of frames; `file`: one file whose arrays are the fields. */
  readonly form: 'frames' | 'arrays' | 'file'
  /** Of `frames`: names of files by number, by field. */
  readonly frames: ReadonlyMap<string, ReadonlyMap<number, string>>
  /** Of `arrays`: names of files by field. */
  readonly arrays: ReadonlyMap<string, string>
}

/** Folders listed at the same time. */
const FOLDERS_AT_ONCE = 32
/** PhiFlow writes six digits, and more from the millionth frame on. */
const FRAME = /^(.+)_(\d+)\.(?:npz|npy)$/
const ARRAY = /^(.+)\.(?:npz|npy)$/
const SCENE = /^.+_\d+$/

/**
 * Simulations in the order of the paths, those of one folder by name, compared by code units. A folder is one simulation when it holds frames, else the simulations in its subfolders called `<name>_<digits>`, else one
 * again when it holds arrays; a file is one simulation; a pattern names folders or files. Ids are paths below what was given. Each folder is listed once, and links are followed no further than their end.
 */
export async function findScenes(paths: readonly string[]): Promise<Scene[]> {
  const named: string[] = []
  const found: { readonly root: string | undefined; readonly path: string }[] = []
  for (const path of paths) {
    const isGiven = await stat(path).then(() => true, () => false)
    if (!isGiven && isPattern(path)) {
      const matches = await glob(path, { folders: true })
      if (matches.length === 0) throw new FileError(path, 'there is no such folder or file')
      for (const match of matches) found.push({ root: splitPattern(path).base, path: match.path })
    } else {
      named.push(path)
      found.push({ root: undefined, path })
    }
  }
  const shared = commonFolder(named)
  const scenes = (await inLanes(found, FOLDERS_AT_ONCE, ({ root = shared, path }) => scenesAt(root, path, named.length === 1 && found.length === 1))).flat()
  return distinct(scenes)
}

/** `isAlone`: nothing else was given, so that what lies below needs no name of its own for where it lies. */
async function scenesAt(root: string, path: string, isAlone: boolean): Promise<Scene[]> {
  const status = await stat(path).catch((cause: unknown) => { throw unreadable(path, cause) })
  const idOf = (of: string, base = root): string => relative(base, of).replace(/\.(npz|npy)$/, '') || basename(of)
  if (!status.isDirectory()) {
    if (!ARRAY.test(path)) throw new FileError(path, 'is no folder of a simulation, and no .npz or .npy file')
    return [{ id: idOf(path), path, form: 'file', frames: new Map(), arrays: new Map() }]
  }
  const { names, folders } = await listed(path)
  const own = sceneOf(idOf(path), path, names)
  const below = folders.filter((name) => SCENE.test(name)).sort()
  if (own?.form === 'frames' || (own !== undefined && below.length === 0)) return [own]
  if (below.length === 0) throw new FileError(path, 'holds no simulations: no frames (`velocity_000000.npz`), no arrays of frames (`velocity.npy`), and no folders with them called `sim_000000`')
  return await inLanes(below, FOLDERS_AT_ONCE, async (name) => {
    const folder = join(path, name)
    const id = idOf(folder, isAlone ? path : root)
    return sceneOf(id, folder, (await listed(folder)).names) ?? { id, path: folder, form: 'arrays', frames: new Map(), arrays: new Map() }
  })
}

/** What of a folder's files makes a simulation; undefined when nothing does. */
function sceneOf(id: string, path: string, names: readonly string[]): Scene | undefined {
  const frames = new Map<string, Map<number, string>>()
  const arrays = new Map<string, string>()
  for (const name of names) {
    const [, field, digits] = FRAME.exec(name) ?? []
    if (field !== undefined) {
      const number = Number(digits)
      if (!Number.isSafeInteger(number)) throw new FileError(join(path, name), 'the number of its frame cannot be counted exactly')
      const files = frames.get(field) ?? new Map<number, string>()
      if (files.has(number)) throw new FileError(join(path, name), `is frame ${number} of ${field}, as ${brief(files.get(number))} is`)
      frames.set(field, files.set(number, name))
      continue
    }
    const stem = ARRAY.exec(name)?.[1]
    if (stem === undefined) continue
    if (arrays.has(stem)) throw new FileError(join(path, name), `is field ${stem}, as ${brief(arrays.get(stem))} is`)
    arrays.set(stem, name)
  }
  if (frames.size > 0) return { id, path, form: 'frames', frames, arrays: new Map() }
  return arrays.size > 0 ? { id, path, form: 'arrays', frames, arrays } : undefined
}

/** Files and folders in a folder; of links what they lead to. Names that begin with a dot are left out. */
async function listed(path: string): Promise<{ names: string[]; folders: string[] }> {
  const entries = await readdir(path, { withFileTypes: true }).catch((cause: unknown) => { throw unreadable(path, cause) })
  const names: string[] = []
  const folders: string[] = []
  for (const entry of entries) {
    if (entry.name.startsWith('.')) continue
    const isLinked = entry.isSymbolicLink() && !ARRAY.test(entry.name)
    const isFolder = isLinked ? (await stat(join(path, entry.name)).catch((cause: unknown) => { throw unreadable(join(path, entry.name), cause) })).isDirectory() : entry.isDirectory()
    ;(isFolder ? folders : names).push(entry.name)
  }
  return { names: names.sort(), folders }
}

function unreadable(path: string, cause: unknown): FileError {
  const { code, message } = cause as { code?: string; message: string }
  return new FileError(path, code === 'ENOENT' ? 'there is no such file or folder' : code === 'ELOOP' ? 'is a link that leads back to itself' : `cannot be read (${code ?? message})`, { cause })
}

function distinct(scenes: readonly Scene[]): Scene[] {
  const before = new Map<string, string>()
  for (const { id, path } of scenes) {
    const other = before.get(id)
    if (other !== undefined) throw new FileError(path, `is simulation ${brief(id)}, as ${other} is`)
    before.set(id, path)
  }
  return [...scenes]
}
