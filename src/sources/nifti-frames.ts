import { FileError, FormatError, UnsupportedError } from '../core/errors.js'
import { brief } from './brief.js'
import type { NiftiItem } from './nifti-source.js'

/** Items of one image: a header of a few bytes can say any number. */
const FRAMES_MAX = 2 ** 20

/**
 * An item for each frame of the fourth axis, called `<id>/<frame>`, with zeros before so that names are in order. Images without that axis go with every frame of the others; an item that
 * has only such is one frame, and keeps its id. Throws FormatError when images of one item have different numbers of frames, UnsupportedError
 * when there are more than 2^20.
 */
export function framesOf(items: readonly NiftiItem[]): NiftiItem[] {
  const all: NiftiItem[] = []
  const from = new Map<string, string>()
  const add = (item: NiftiItem, path: string): void => {
    const { id } = item.item
    const before = from.get(id)
    if (before !== undefined) throw new FileError(path, `has a frame that is ${brief(id)}, as ${before} has: ids are names without suffix and numbers of frames, each different`)
    from.set(id, path)
    all.push(item)
  }
  for (const item of items) {
    const volumes = Object.entries(item.volumes)
    const [first] = volumes.filter(([, { frames }]) => frames !== undefined)
    if (first === undefined) {
      add(item, volumes[0]![1].path)
      continue
    }
    const count = first[1].frames!
    for (const [field, { path, frames }] of volumes) {
      if (frames === undefined || frames === count) continue
      throw new FormatError({ file: path, place: `field ${field}`, expected: `${count} frames, as ${first[1].path} has, or no fourth axis`, found: `${frames}` })
    }
    if (count > FRAMES_MAX) throw new UnsupportedError({ file: first[1].path, place: 'NIfTI header, dim[4]', reason: `an image may have ${FRAMES_MAX} frames, and it has ${count}` })
    const digits = String(count - 1).length
    for (let frame = 0; frame < count; frame++) add({ ...item, item: { ...item.item, id: `${item.item.id}/${String(frame).padStart(digits, '0')}` }, frame }, first[1].path)
  }
  return all
}
