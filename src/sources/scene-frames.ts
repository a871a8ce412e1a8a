import { join } from 'node:path'
import { FileError } from '../core/errors.js'
import type { Scene } from './scene-folders.js'

/** Which frames are read, by the numbers in the names of their files; of arrays by their place from 0. */
export interface FrameSelection {
  /** The first may not have a smaller number. */
  readonly start?: number
  /** The last has a smaller number. */
  readonly stop?: number
  /** What the number grows by from one to the next. Default: what it grows by in most simulations. */
  readonly step?: number
}

/** Frames first, first + step, …, `count` of them. */
export interface FrameRange {
  readonly first: number
  readonly step: number
  readonly count: number
}

/**
 * Frames of each simulation, as functions that throw FileError, naming file, simulation, field and frame, when one is missing that lies between others or that another field has, when there are none, and when they are not
 * in the steps that most simulations have. `files`: the file of each frame, by field.
 */
export function framesOfFiles(scenes: readonly { readonly scene: Scene; readonly files: readonly (readonly [field: string, files: ReadonlyMap<number, string>])[] }[], selection: FrameSelection): (() => FrameRange)[] {
  const { start = 0, stop = Infinity } = selection
  const numbers = scenes.map(({ files }) => [...new Set(files.flatMap(([, names]) => [...names.keys()]))].filter((number) => number >= start && number < stop).sort((a, b) => a - b))
  const steps = numbers.map((own) => own.reduce((step, number, k) => k === 0 ? 0 : divisor(step, number - own[k - 1]!), 0))
  const step = selection.step ?? usual(steps)
  const example = scenes[steps.indexOf(step)]?.scene.id
  return scenes.map(({ scene, files }, k) => () => {
    const own = numbers[k]!
    if (own.length === 0) throw new FileError(scene.path, `has no frames of ${files.map(([field]) => field).join(', ')}${rangeText(selection)}`)
    if (selection.step === undefined && steps[k]! % step !== 0) throw new FileError(scene.path, `frames of ${scene.id} are every ${steps[k]!}, and those of ${example} every ${step}: \`frames: { step }\` chooses what both have`)
    const first = own[0]!
    const count = Math.floor((own.at(-1)! - first) / step) + 1
    // Ends at the first that is missing, so a number of 15 digits costs nothing.
    for (let at = 0; at < count; at++) {
      const frame = first + at * step
      for (const [field, names] of files) {
        if (names.has(frame)) continue
        const name = `${field}_${padded(frame)}.npz`
        throw new FileError(join(scene.path, name), `frame ${frame} of ${field} is missing in ${scene.id}, where there are frames ${first} to ${own.at(-1)!}; frames are every ${step}${steps[k] === step || selection.step !== undefined || example === undefined ? '' : `, as in ${example}`}`)
      }
    }
    return { first, step, count }
  })
}

/** Frames of an array of `rows` of them. Throws FileError when there are none. */
export function framesOfRows(path: string, rows: number, selection: FrameSelection): FrameRange {
  const { start = 0, stop = rows, step = 1 } = selection
  const count = Math.ceil((Math.min(stop, rows) - start) / step)
  if (count < 1) throw new FileError(path, `has no frames${rangeText(selection)}: its arrays hold ${rows}`)
  return { first: start, step, count }
}

/** How many windows of `window` frames there are, each beginning `stride` after the one before. */
export function windowCount(frames: number, window: number, stride: number): number {
  return frames < window ? 0 : Math.floor((frames - window) / stride) + 1
}

/** As PhiFlow writes the number of a frame. */
export function padded(frame: number): string {
  return String(frame).padStart(6, '0')
}

/** Empty when everything is selected. */
function rangeText({ start, stop }: FrameSelection): string {
  return `${start === undefined ? '' : ` from ${start} on`}${stop === undefined ? '' : ` below ${stop}`}`
}

/** What most of them are, of equally many the smallest; those of a single frame do not count. */
function usual(steps: readonly number[]): number {
  const votes = new Map<number, number>()
  for (const step of steps) if (step > 0) votes.set(step, (votes.get(step) ?? 0) + 1)
  return [...votes].sort(([a, most], [b, more]) => more - most || a - b)[0]?.[0] ?? 1
}

function divisor(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b]
  return a
}
