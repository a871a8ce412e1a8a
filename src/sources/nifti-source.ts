import { availableParallelism } from 'node:os'
import { sha256 } from '../core/hash.js'
import { FileError } from '../core/errors.js'
import { show } from '../core/options.js'
import { isPooled } from '../native/fresh.js'
import { byteCount, type FieldSpec, type FieldSpecs, type ItemSpecs, type Tensor } from '../core/tensor.js'
import { GzipFiles } from './gzip-files.js'
import { checkFields, checkRange } from './names.js'
import type { VolumeItem } from './nifti-items.js'
import type { NiftiVolume, VolumeForm } from './nifti-volume.js'
import type { ItemRun, Notes, ReadOptions, Source, SourceFile } from './source.js'

export interface NiftiItem {
  readonly item: VolumeItem
  /** By field. */
  readonly volumes: Readonly<Record<string, NiftiVolume>>
  /** Which frame of the volumes that have a fourth axis; undefined: all of them. */
  readonly frame?: number
}

export interface NiftiFields {
  /** How each image is read. */
  readonly images: Readonly<Record<string, VolumeForm>>
  /** Names of the properties, in the order of the items' values. */
  readonly properties: readonly string[]
  readonly specs: FieldSpecs
}

/** Volumes are read ahead while all that are under way come to no more than this; a larger one alone, by each who reads. */
const AHEAD_BYTES = 256 * 2 ** 20
const HASH_BYTES = 32

/** Images of one field have one affine. */
export function affineName(image: string): string {
  return image === 'image' ? 'affine' : `${image}_affine`
}

/** A change of version makes every item made from such files a miss. */
export const NIFTI_READER = { name: 'nifti', version: 1 } as const

/** Volumes as items, one run each: their shapes may all differ. */
export class NiftiSource implements Source {
  readonly reader = NIFTI_READER
  readonly length: number
  readonly fields: FieldSpecs
  readonly constants = {}
  readonly description: Source['description']
  readonly selection: unknown
  readonly files: readonly SourceFile[]
  readonly #items: readonly NiftiItem[]
  readonly #volumes: readonly NiftiVolume[]
  readonly #fields: NiftiFields
  readonly #tables: readonly { assertUnchanged(): void; close(): void }[]
  readonly #gzips = new GzipFiles()
  /** By field the volume that was read last of those that go with every frame. */
  readonly #shared = new Map<string, { readonly volume: NiftiVolume; readonly tensor: Promise<Tensor> }>()
  #closed = false
  /** Bytes of the volumes that are being read or in the hands of a consumer. */
  #underWay = 0

  constructor(items: readonly NiftiItem[], fields: NiftiFields, tables: readonly { sourceFile(): SourceFile; assertUnchanged(): void; close(): void }[], { description, selection }: Pick<Source, 'description' | 'selection'>) {
    this.#items = items
    this.#fields = fields
    this.#tables = tables
    this.length = items.length
    this.fields = fields.specs
    this.description = description
    this.selection = selection
    // An image of many frames is named once.
    const distinct = new Set(items.flatMap(({ volumes }) => Object.values(volumes)))
    this.#volumes = items.some(({ frame }) => frame !== undefined) ? [...distinct] : items.flatMap(({ volumes }) => Object.values(volumes))
    this.files = [...tables.map((table) => table.sourceFile()), ...this.#volumes.flatMap(({ files }) => files)]
  }

  /** Bytes inflated for frames so far. */
  inflated(): Promise<number> {
    return this.#gzips.work()
  }

  id(index: number): string {
    const found = this.#items[index]
    if (found === undefined) throw new TypeError(`id: index must be from 0 to ${this.length - 1}, not ${show(index)}`)
    return found.item.id
  }

  known(index: number): ItemSpecs {
    const { volumes } = this.#items[index]!
    const known: Record<string, ItemSpecs[string]> = { ...this.fields }
    for (const [image, volume] of Object.entries(volumes)) {
      known[image] = volume.spec(this.#fields.images[image]!)
      known[affineName(image)] = { dtype: 'float64', shape: [4, 4], value: { dtype: 'float64', shape: [4, 4], data: volume.header.affine } }
    }
    return known
  }

  async *read(start: number, stop: number, { fields, signal, notes, aheadBytes = AHEAD_BYTES }: ReadOptions): AsyncGenerator<ItemRun> {
    checkRange(start, stop, this.length)
    checkFields(fields, this.fields)
    signal?.throwIfAborted()
    const ended = new AbortController()
    const either = signal === undefined ? ended.signal : AbortSignal.any([signal, ended.signal])
    const lanes = Math.max(2, availableParallelism())
    // The item at the front is the one in the consumer's hands.
    const ahead: { bytes: number; run: Promise<ItemRun> }[] = []
    let next = start
    try {
      for (let at = start; at < stop; at++) {
        while (next < stop && ahead.length < lanes) {
          const coming = this.#bytesOf(next, fields)
          if (ahead.length > 0 && this.#underWay + coming > aheadBytes) break
          const run = this.#item(next++, fields, either, notes)
          // Reported when its turn comes; until then it must not count as unhandled.
          run.catch(() => {})
          ahead.push({ bytes: coming, run })
          this.#underWay += coming
        }
        yield await ahead[0]!.run
        this.#underWay -= ahead.shift()!.bytes
      }
    } finally {
      ended.abort()
      await Promise.allSettled(ahead.map(({ run }) => run))
      for (const { bytes } of ahead) this.#underWay -= bytes
      if (signal?.aborted !== true) await this.#gzips.save(notes)
    }
  }

  /** From the digests of the files, which are remembered, so that what was seen is not inflated again. */
  async witnesses(start: number, stop: number, { fields, signal }: ReadOptions): Promise<Uint8Array> {
    checkRange(start, stop, this.length)
    checkFields(fields, this.fields)
    const all = new Uint8Array((stop - start) * HASH_BYTES)
    const names = [...fields].sort()
    const { name, version } = this.reader
    for (let at = start; at < stop; at++) {
      const { item, volumes, frame } = this.#items[at]!
      const facts: unknown[] = [name, version]
      for (const field of names) {
        const image = this.#imageOf(field)
        if (image === undefined) facts.push([field, item.properties[this.#fields.properties.indexOf(field)]])
        else facts.push([field, this.#fields.images[image], await Promise.all(volumes[image]!.files.map((file) => file.digest(signal))), ...(frame === undefined || volumes[image]!.frames === undefined ? [] : [frame])])
      }
      all.set(sha256(JSON.stringify(facts)), (at - start) * HASH_BYTES)
    }
    return all
  }

  release(): void {}

  assertUnchanged(): void {
    for (const table of this.#tables) table.assertUnchanged()
    for (const volume of this.#volumes) volume.assertUnchanged()
  }

  close(): void {
    this.#closed = true
    for (const table of this.#tables) table.close()
    this.#gzips.close()
    this.#shared.clear()
  }

  async #item(index: number, fields: readonly string[], signal: AbortSignal, notes: Notes | undefined): Promise<ItemRun> {
    const { item, volumes, frame } = this.#items[index]!
    if (this.#closed) throw new FileError(Object.values(item.paths)[0]!, 'has been closed')
    for (const part of [...this.#tables, ...Object.values(volumes)]) part.assertUnchanged()
    const read: Record<string, Tensor> = {}
    const own: ArrayBuffer[] = []
    for (const field of fields) {
      signal.throwIfAborted()
      const image = this.#imageOf(field)
      const tensor: Tensor = image === undefined
        ? { dtype: 'float64', shape: [], data: Float64Array.of(item.properties[this.#fields.properties.indexOf(field)]!) }
        : image === field ? await this.#image(volumes[image]!, image, frame, signal, notes) : { dtype: 'float64', shape: [4, 4], data: volumes[image]!.header.affine }
      read[field] = { ...tensor, shape: [1, ...tensor.shape] }
      // What goes with every frame is read once.
      const isShared = image !== undefined && frame !== undefined && volumes[image]!.frames === undefined
      if (isPooled(tensor) && !isShared) own.push(tensor.data.buffer as ArrayBuffer)
    }
    return { start: index, count: 1, fields: read, own }
  }

  async #image(volume: NiftiVolume, image: string, frame: number | undefined, signal: AbortSignal, notes: Notes | undefined): Promise<Tensor> {
    const form = this.#fields.images[image]!
    if (frame === undefined) return await volume.read(form, signal)
    if (volume.frames !== undefined) return await volume.readFrame(frame, form, { gzips: this.#gzips, notes, signal })
    const before = this.#shared.get(image)
    const held = before?.volume === volume ? await before.tensor.catch(() => undefined) : undefined
    // Its memory may have gone to a worker.
    if (held !== undefined && held.data.byteLength === byteCount(held.dtype, held.shape)) return held
    const tensor = volume.read(form, signal)
    this.#shared.set(image, { volume, tensor })
    return await tensor
  }

  /** The image that a field is, or whose affine it is. */
  #imageOf(field: string): string | undefined {
    return Object.keys(this.#fields.images).find((image) => image === field || affineName(image) === field)
  }

  #bytesOf(index: number, fields: readonly string[]): number {
    const { volumes } = this.#items[index]!
    return fields.reduce((sum, field) => {
      if (!Object.hasOwn(volumes, field)) return sum
      const { dtype, shape } = volumes[field]!.spec(this.#fields.images[field]!)
      return sum + byteCount(dtype, shape)
    }, 0)
  }
}

/** dtype and shape that the images of one field share; extents that differ are null. Throws what `mismatch` makes of two images that differ otherwise. */
export function commonSpec(volumes: readonly NiftiVolume[], form: VolumeForm, mismatch: (volume: NiftiVolume, found: FieldSpec, first: NiftiVolume, expected: FieldSpec) => Error): FieldSpec {
  const first = volumes[0]!
  const expected = first.spec(form)
  let shape: readonly (number | null)[] = expected.shape
  for (const volume of volumes) {
    const found = volume.spec(form)
    if (found.dtype !== expected.dtype || found.shape.length !== shape.length) throw mismatch(volume, found, first, expected)
    if (found.shape.some((extent, axis) => shape[axis] !== null && shape[axis] !== extent)) shape = shape.map((extent, axis) => extent === found.shape[axis] ? extent : null)
  }
  return { dtype: expected.dtype, shape }
}
