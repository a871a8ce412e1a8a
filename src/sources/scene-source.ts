import { setImmediate } from 'node:timers/promises'
import { sizeOf } from '../core/dtype.js'
import { FileError } from '../core/errors.js'
import { sha256 } from '../core/hash.js'
import { show } from '../core/options.js'
import { byteCount, bytesOf, type FieldSpecs, type ItemSpecs, type Tensor } from '../core/tensor.js'
import { isPooled, itemTensor } from '../native/fresh.js'
import type { ArrayFiles } from './arrays-file.js'
import { inLanes } from './lanes.js'
import type { LooseFile } from './loose-file.js'
import { checkFields, checkRange } from './names.js'
import { product } from './ranges.js'
import { padded, windowCount, type FrameRange } from './scene-frames.js'
import type { Track } from './scene-tracks.js'
import type { ItemRun, ReadOptions, SkippedItem, Source, SourceFile } from './source.js'

/** One simulation, opened: what its frames are, and where. */
export interface OpenedScene {
  readonly id: string
  readonly path: string
  readonly range: FrameRange
  readonly tracks: Readonly<Record<string, Track>>
  /** In the order of the options. */
  readonly properties: readonly number[]
  /** Where they were read. */
  readonly description: LooseFile | undefined
}

export interface SceneFields {
  readonly skipped: readonly SkippedItem[] | undefined
  readonly specs: FieldSpecs
  /** Names of the properties, in the order of the scenes' values. */
  readonly properties: readonly string[]
}

/** Frames of an item; undefined: all of its simulation. */
export interface Windows {
  readonly window: number
  readonly stride: number
}

/** A change of version makes every item made from such files a miss. */
export const SCENES_READER = { name: 'scenes', version: 1 } as const

/** Items of one run, unless one alone is larger. */
const RUN_BYTES = 16 * 2 ** 20
/** Reading small files waits most of the time. */
const READS_AT_ONCE = 8
const HASH_BYTES = 32
/** Witnesses made before others have their turn. */
const ITEMS_AT_ONCE = 512

/** Simulations, or windows of their frames, as items. */
export class SceneSource implements Source {
  readonly reader = SCENES_READER
  readonly length: number
  readonly fields: FieldSpecs
  readonly constants = {}
  readonly description: Source['description']
  readonly selection: unknown
  readonly files: readonly SourceFile[]
  readonly skipped?: readonly SkippedItem[]
  readonly #scenes: readonly OpenedScene[]
  /** The first item of each simulation, and how many there are. */
  readonly #firsts: readonly number[]
  readonly #windows: Windows | undefined
  readonly #fields: SceneFields
  readonly #watched: ReadonlySet<LooseFile>
  readonly #open: ArrayFiles
  #closed = false

  constructor(scenes: readonly OpenedScene[], windows: Windows | undefined, fields: SceneFields, open: ArrayFiles, { description, selection }: Pick<Source, 'description' | 'selection'>) {
    this.#scenes = scenes
    this.#windows = windows
    this.#fields = fields
    this.#open = open
    const firsts = [0]
    for (const { range } of scenes) firsts.push(firsts.at(-1)! + (windows === undefined ? 1 : windowCount(range.count, windows.window, windows.stride)))
    this.#firsts = firsts
    this.length = firsts.at(-1)!
    this.fields = fields.specs
    if (fields.skipped !== undefined) this.skipped = fields.skipped
    this.description = description
    this.selection = selection
    // One file may hold all fields of a simulation.
    this.#watched = new Set(scenes.flatMap((scene) => [...(scene.description === undefined ? [] : [scene.description]), ...Object.values(scene.tracks).flatMap(({ files }) => files)]))
    this.files = [...this.#watched]
  }

  id(index: number): string {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.length) throw new TypeError(`id: index must be from 0 to ${this.length - 1}, not ${show(index)}`)
    const { scene, first, count } = this.#item(index)
    if (this.#windows === undefined) return scene.id
    const number = (at: number): string => padded(scene.range.first + at * scene.range.step)
    return count === 1 ? `${scene.id}/${number(first)}` : `${scene.id}/${number(first)}-${number(first + count - 1)}`
  }

  known(index: number): ItemSpecs {
    const { scene, count } = this.#item(index)
    return { ...this.fields, ...Object.fromEntries(Object.entries(scene.tracks).map(([field, { form }]) => [field, { dtype: form.dtype, shape: [count, ...form.shape] }])) }
  }

  async *read(start: number, stop: number, { fields, signal }: ReadOptions): AsyncGenerator<ItemRun> {
    checkRange(start, stop, this.length)
    checkFields(fields, this.fields)
    for (let at = start; at < stop;) {
      signal?.throwIfAborted()
      const count = this.#runLength(at, stop, fields)
      yield await this.#run(at, count, fields, signal)
      at += count
    }
    signal?.throwIfAborted()
  }

  /** From the digests of the files, which are remembered, so that what was seen is not read again. */
  async witnesses(start: number, stop: number, { fields, signal }: ReadOptions): Promise<Uint8Array> {
    checkRange(start, stop, this.length)
    checkFields(fields, this.fields)
    const all = new Uint8Array((stop - start) * HASH_BYTES)
    const names = [...fields].sort()
    // Windows share files, and asking a file for its digest asks for its status.
    const digests = new Map<SourceFile, Promise<string>>()
    const digestOf = (file: SourceFile): Promise<string> => {
      let digest = digests.get(file)
      if (digest === undefined) digests.set(file, digest = file.digest(signal))
      return digest
    }
    for (let at = start; at < stop; at++) {
      if ((at - start) % ITEMS_AT_ONCE === 0) await setImmediate()
      signal?.throwIfAborted()
      const { scene, first, count } = this.#item(at)
      const facts: unknown[] = [this.reader.name, this.reader.version]
      for (const field of names) {
        const track = scene.tracks[field]
        if (track === undefined) facts.push([field, this.#property(scene, field)])
        else facts.push([field, track.facts(first, count), await Promise.all(track.filesOf(first, count).map(digestOf))])
      }
      all.set(sha256(JSON.stringify(facts)), (at - start) * HASH_BYTES)
    }
    return all
  }

  release(): void {}

  assertUnchanged(): void {
    for (const file of this.#watched) file.assertUnchanged()
  }

  close(): void {
    this.#closed = true
    this.#open.close()
  }

  /** Its simulation, and its frames by their places there. */
  #item(index: number): PlacedItem {
    let [low, high] = [0, this.#scenes.length - 1]
    while (low < high) {
      const middle = (low + high + 1) >> 1
      if (this.#firsts[middle]! <= index) low = middle
      else high = middle - 1
    }
    const scene = this.#scenes[low]!
    return this.#windows === undefined ? { scene, first: 0, count: scene.range.count } : { scene, first: (index - this.#firsts[low]!) * this.#windows.stride, count: this.#windows.window }
  }

  #property(scene: OpenedScene, field: string): number {
    return scene.properties[this.#fields.properties.indexOf(field)]!
  }

  /** How many items from `at` on have one shape and fit into a run. */
  #runLength(at: number, stop: number, fields: readonly string[]): number {
    const shapes = ({ scene, count }: PlacedItem): string => JSON.stringify([count, ...fields.map((field) => scene.tracks[field]?.form.shape)])
    const first = this.#item(at)
    const bytes = fields.reduce((sum, field) => sum + byteCount(this.fields[field]!.dtype, first.scene.tracks[field] === undefined ? [] : [first.count, ...first.scene.tracks[field].form.shape]), 0)
    const most = Math.min(stop - at, Math.max(1, Math.floor(RUN_BYTES / Math.max(1, bytes))))
    let count = 1
    for (let { scene } = first; count < most; count++) {
      const next = this.#item(at + count)
      if (next.scene === scene) continue
      if (shapes(next) !== shapes(first)) break
      scene = next.scene
    }
    return count
  }

  async #run(start: number, count: number, fields: readonly string[], signal: AbortSignal | undefined): Promise<ItemRun> {
    const items = Array.from({ length: count }, (_, k) => this.#item(start + k))
    for (const scene of new Set(items.map((item) => item.scene))) {
      if (this.#closed) throw new FileError(Object.values(scene.tracks)[0]!.files[0]!.path, 'has been closed')
      scene.description?.assertUnchanged()
    }
    const read: Record<string, Tensor> = {}
    const reads: FrameRead[] = []
    const copies: (() => void)[] = []
    for (const field of fields) {
      const { tracks } = items[0]!.scene
      if (tracks[field] === undefined) {
        read[field] = { dtype: 'float64', shape: [count], data: Float64Array.from(items, ({ scene }) => this.#property(scene, field)) }
        continue
      }
      const { dtype, shape } = tracks[field].form
      const tensor = read[field] = itemTensor(dtype, [count, items[0]!.count, ...shape])
      const frameBytes = product(shape) * sizeOf(dtype)
      if (frameBytes > 0) plan(items.map(({ scene, first, count: frames }) => ({ track: scene.tracks[field]!, first, count: frames })), bytesOf(tensor.data), frameBytes, reads, copies)
    }
    // Whoever failed, nothing is written any more when this is done.
    await inLanes(reads, READS_AT_ONCE, ({ track, first, count: frames, out }) => track.read(first, frames, out, signal))
    for (const copy of copies) copy()
    return { start, count, fields: read, own: Object.values(read).filter((tensor) => isPooled(tensor)).map(({ data }) => data.buffer as ArrayBuffer) }
  }
}

interface PlacedItem { readonly scene: OpenedScene; readonly first: number; readonly count: number }
interface TrackItem { readonly track: Track; readonly first: number; readonly count: number }
interface FrameRead { readonly track: Track; readonly first: number; readonly count: number; readonly out: Uint8Array }

/** What is to be read into `out`, where the items follow one another, and what an item has in common with the one before it, which is copied afterwards, in this order. */
function plan(items: readonly TrackItem[], out: Uint8Array, frameBytes: number, reads: FrameRead[], copies: (() => void)[]): void {
  items.forEach(({ track, first, count }, k) => {
    const before = items[k - 1]
    const shared = before?.track === track ? Math.max(0, before.first + before.count - first) : 0
    const place = k * count * frameBytes
    if (shared > 0) copies.push(() => { out.copyWithin(place, place - shared * frameBytes, place) })
    const fresh = count - shared
    const parts = track.isFramewise ? fresh : 1
    for (let part = 0; part < parts; part++) {
      const frames = fresh / parts
      const at = place + (shared + part) * frameBytes
      reads.push({ track, first: first + shared + part, count: frames, out: out.subarray(at, at + frames * frameBytes) })
    }
  })
}
