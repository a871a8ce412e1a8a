import { show } from '../core/options.js'
import { joinRows } from '../core/rows.js'
import type { FieldSpec, FieldSpecs, Tensor } from '../core/tensor.js'
import type { CrystalEntries } from './crystal-entries.js'
import type { Entry, EntryReader } from './crystal-reader.js'
import { checkFields, checkRange } from './names.js'
import type { ItemRun, ReadOptions, SkippedItem, Source } from './source.js'

export type CrystalDescription = Pick<Source, 'description' | 'selection'>

/** Items of one run: crystals are small, and a run is what waits in memory. */
const RUN_ITEMS = 512

const CRYSTAL_FIELDS: Readonly<Record<string, FieldSpec>> = {
  numbers: { dtype: 'int32', shape: [null] },
  frac_coords: { dtype: 'float64', shape: [null, 3] },
  lattice: { dtype: 'float64', shape: [3, 3] },
}

/** Crystals as items. */
export class CrystalSource implements Source {
  // A change of version makes every item made from such files a miss.
  readonly reader = { name: 'crystals', version: 1 }
  readonly length: number
  readonly fields: FieldSpecs
  readonly constants = {}
  readonly description: Source['description']
  readonly selection: unknown
  readonly files: Source['files']
  readonly skipped: readonly SkippedItem[]
  readonly #entries: CrystalEntries
  readonly #reader: EntryReader
  readonly #properties: readonly string[]
  /** Places of the items when some were skipped. */
  readonly #kept: Uint32Array | undefined

  constructor(entries: CrystalEntries, reader: EntryReader, properties: readonly string[], { description, selection }: CrystalDescription, kept: Uint32Array | undefined, skipped: readonly SkippedItem[]) {
    this.#entries = entries
    this.#reader = reader
    this.#properties = properties
    this.#kept = kept
    this.length = kept?.length ?? entries.length
    this.fields = Object.freeze({ ...CRYSTAL_FIELDS, ...Object.fromEntries(properties.map((name) => [name, { dtype: 'float32', shape: [] } as FieldSpec])) })
    this.description = description
    this.selection = selection
    this.files = entries.files
    this.skipped = skipped
  }

  id(index: number): string {
    if (!Number.isSafeInteger(index) || index < 0 || index >= this.length) throw new TypeError(`id: index must be from 0 to ${this.length - 1}, not ${show(index)}`)
    return this.#entries.id(this.#place(index))
  }

  async *read(start: number, stop: number, { fields, signal }: ReadOptions): AsyncGenerator<ItemRun> {
    checkRange(start, stop, this.length)
    checkFields(fields, this.fields)
    signal?.throwIfAborted()
    const places = Array.from({ length: stop - start }, (_, k) => this.#place(start + k))
    const parts = { crystal: fields.some((name) => Object.hasOwn(CRYSTAL_FIELDS, name)), properties: fields.some((name) => !Object.hasOwn(CRYSTAL_FIELDS, name)) }
    let at = start
    let run: Entry[] = []
    for await (const entry of this.#reader.read(places, parts, signal)) {
      if (run.length === RUN_ITEMS) {
        yield this.#run(at, run, fields)
        at += run.length
        run = []
      }
      run.push(entry)
    }
    if (run.length > 0) yield this.#run(at, run, fields)
  }

  async witnesses(start: number, stop: number, { fields, signal }: ReadOptions): Promise<Uint8Array> {
    checkRange(start, stop, this.length)
    const { name, version } = this.reader
    return this.#reader.witnesses(Array.from({ length: stop - start }, (_, k) => this.#place(start + k)), JSON.stringify([name, version, [...fields].sort()]), signal)
  }

  release(start: number, stop: number): void {
    if (start < stop) this.#entries.release(this.#place(start), this.#place(stop - 1) + 1)
  }

  assertUnchanged(): void {
    this.#entries.assertUnchanged()
  }

  close(): void {
    this.#entries.close()
  }

  #place(index: number): number {
    return this.#kept === undefined ? index : this.#kept[index]!
  }

  #run(start: number, entries: readonly Entry[], fields: readonly string[]): ItemRun {
    return { start, count: entries.length, fields: Object.fromEntries(fields.map((name) => [name, joinRows(entries.map((entry) => this.#tensor(entry, name)))])) }
  }

  #tensor({ crystal, properties }: Entry, field: string): Tensor {
    const atoms = crystal?.numbers.length ?? 0
    if (field === 'numbers') return { dtype: 'int32', shape: [atoms], data: crystal!.numbers }
    if (field === 'frac_coords') return { dtype: 'float64', shape: [atoms, 3], data: crystal!.fracCoords }
    if (field === 'lattice') return { dtype: 'float64', shape: [3, 3], data: crystal!.lattice }
    const k = this.#properties.indexOf(field)
    return { dtype: 'float32', shape: [], data: properties.subarray(k, k + 1) }
  }
}
