import { join } from 'node:path'
import { FileError, FormatError } from '../core/errors.js'
import { brief } from './brief.js'
import { LooseFile } from './loose-file.js'

/** What PhiFlow calls the file beside the frames. */
const DESCRIPTION = 'description.json'
const BYTES_MAX = 16 * 2 ** 20

export interface SceneProperties {
  readonly file: LooseFile
  /** In the order they were asked for. */
  readonly values: readonly number[]
}

/** Numbers of a simulation's `description.json`; dots lead into objects and lists: `world.states.0.gravity`. Rejects with FileError, FormatError. */
export async function propertiesIn(folder: string, paths: readonly string[]): Promise<SceneProperties> {
  const file = await LooseFile.open(join(folder, DESCRIPTION)).catch((cause: unknown) => {
    throw cause instanceof FileError ? new FileError(cause.file, `${cause.message.slice(cause.file.length + 2)}, and properties are asked for`, { cause }) : cause
  })
  const fail = (place: string, expected: string, found: string): never => { throw new FormatError({ file: file.path, place, expected, found }) }
  let root: unknown
  try {
    root = JSON.parse((await file.text(BYTES_MAX)).replace(/^\uFEFF/, ''))
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
    return fail('JSON', 'an object', error.message)
  }
  const values = paths.map((path) => {
    let value = root
    for (const step of path.split('.')) value = typeof value === 'object' && value !== null && Object.hasOwn(value, step) ? (value as Record<string, unknown>)[step] : undefined
    return typeof value === 'number' && Number.isFinite(value) ? value : fail(`property ${brief(path)}`, 'a number', value === undefined ? 'nothing' : brief(value))
  })
  return { file, values }
}
