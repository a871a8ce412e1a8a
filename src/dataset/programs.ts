import type { DType, TypedArray } from '../core/dtype.js'
import { ItemError, NonFiniteError, RecipeError } from '../core/errors.js'
import { dataOf, equalStretches, fixedRows, rowOf, rowsOf, stackRows } from '../core/rows.js'
import { bytesOf, type Tensor } from '../core/tensor.js'
import type { DeviceIdentity, DeviceSource, Fault, KeptArray, PreparedProgram } from '../devices/device.js'
import { giveBack, isPooled, itemTensor } from '../native/fresh.js'
import { compile, type Compiled, type Segment } from '../ops/compile.js'
import { isKnown } from '../ops/geometry.js'
import type { Piece } from './shard-builder.js'

/** Programs that are kept for the next items of the same shapes. */
const PREPARED_MAX = 64
/** Items from this size on stay on the device between programs, one by one; smaller ones come back and go there again together. */
const KEPT_ITEM_BYTES = 2 ** 20

export type DeviceSegment = Extract<Segment, { kind: 'device' }>

/** What was made, and which fields of it are known to be finite. */
export interface Done {
  readonly piece: Piece
  readonly finite: ReadonlySet<string>
}

/** Compiles device segments for the shapes that come, and runs them. */
export class Programs {
  readonly #device: DeviceSource
  #used: DeviceIdentity | undefined
  readonly #numbers = new Map<DeviceSegment, number>()
  readonly #prepared = new Map<string, Promise<{ compiled: Compiled; program: PreparedProgram }>>()

  constructor(device: DeviceSource) {
    this.#device = device
  }

  /** What it computed on; undefined when nothing had to be computed. */
  get used(): DeviceIdentity | undefined {
    return this.#used
  }

  /** Programs in a row: each is made of what the one before has found. Gives back what `piece` owns as soon as nothing needs it; what is left is in the last result. */
  async run(programs: readonly DeviceSegment[], piece: Piece, finite: ReadonlySet<string>, ids: readonly string[]): Promise<Done[]> {
    const [segment, ...rest] = programs
    const all: Done[] = []
    const parts = equalPieces(piece).flatMap(alike)
    let own = piece.own
    let at = 0
    for (const equal of parts) {
      const names = ids.slice(at, at += equal.count)
      if (rest.length > 0 && itemBytes(equal) >= KEPT_ITEM_BYTES && (await this.#device.open()).keep !== undefined) {
        for (let item = 0; item < equal.count; item++) all.push(await this.#runKept(programs, itemOf(equal, item), finite, names[item] ?? ''))
        continue
      }
      const done = await this.#runDevice(segment!, equal, finite, names)
      if (rest.length === 0) {
        all.push(done)
        continue
      }
      // What this program alone has read is gone before the next one makes something.
      const [next] = parts.length === 1 ? handed(own, [done]) : [done]
      if (parts.length === 1) own = undefined
      all.push(...await this.run(rest, next!.piece, next!.finite, names))
    }
    return handed(own, all)
  }

  async #runDevice(segment: DeviceSegment, piece: EqualPiece, finite: ReadonlySet<string>, ids: readonly string[]): Promise<Done> {
    const { compiled, program } = await this.#program(segment, specsOf(piece), finite, ids[0] ?? '')
    const { inputs, outputs } = compiled.program
    const made = outputs.map(({ value }) => {
      const { dtype, shape } = compiled.program.values[value]!
      return itemTensor(dtype, [piece.count, ...shape])
    })
    // Where fields are only chosen and renamed there is nothing to run, and no reason to wake threads.
    if (compiled.program.steps.length > 0 || made.length > 0) {
      const faults = await program.run({
        count: piece.count,
        inputs: inputs.map(({ field }) => piece.fields[field]!.data),
        outputs: made.map((tensor) => tensor.data),
      })
      refuse(compiled, faults, ids)
    }
    const fields: Record<string, Tensor> = {}
    outputs.forEach(({ field }, i) => { fields[field] = made[i]! })
    for (const { from, to } of compiled.passThrough) fields[to] = piece.fields[from]!
    for (const { field, tensor } of compiled.known) fields[field] = stackRows(Array.from({ length: piece.count }, () => tensor))
    return { piece: { count: piece.count, fields, own: buffersOf(made) }, finite: compiled.finite }
  }

  /** One item through programs in a row. What they hand on stays on the device, but for what decides how the next one is made. */
  async #runKept(programs: readonly DeviceSegment[], item: KeptFields, finite: ReadonlySet<string>, id: string): Promise<Done> {
    const device = await this.#device.open()
    const kept = new Set<KeptArray>()
    // What lies there and here.
    const here = new Map<KeptArray, Tensor>()
    let fields = item
    let known = finite
    try {
      for (const [k, segment] of programs.entries()) {
        const isLast = k === programs.length - 1
        const { compiled, program } = await this.#program(segment, specsOfItem(fields), known, id, isLast ? [] : Object.keys(fields).filter((name) => !('kept' in fields[name]!)))
        const { inputs, outputs, values } = compiled.program
        const made = outputs.map(({ field, value }): KeptField => {
          const spec = values[value]!
          const stays = !isLast && !isKnown(field, spec) && outputs.filter((other) => other.value === value).length === 1
          if (!stays) return itemTensor(spec.dtype, spec.shape)
          const array = device.keep!()
          kept.add(array)
          const brought = inputs.find((input) => input.value === value)
          if (brought !== undefined) here.set(array, fields[brought.field] as Tensor)
          return { ...spec, kept: array }
        })
        refuse(compiled, await program.runKept!({ inputs: inputs.map(({ field }) => arrayOf(fields[field]!)), outputs: made.map(arrayOf) }), [id])
        const next: Record<string, KeptField> = {}
        outputs.forEach(({ field }, i) => { next[field] = made[i]! })
        for (const { from, to } of compiled.passThrough) next[to] = fields[from]!
        for (const { field, tensor } of compiled.known) next[field] = tensor
        const needed = new Set(Object.values(next).map(arrayOf))
        for (const array of kept) if (!needed.has(array) && kept.delete(array)) array.release()
        fields = next
        known = compiled.finite
      }
      const whole: Record<string, Tensor> = {}
      for (const [name, field] of Object.entries(fields)) whole[name] = asRows('kept' in field ? here.get(field.kept) ?? await readKept(field) : field)
      const given = new Set(Object.values(item).map(arrayOf))
      return { piece: { count: 1, fields: whole, own: buffersOf(Object.values(whole).filter(({ data }) => !given.has(data))) }, finite: known }
    } finally {
      for (const array of kept) array.release()
    }
  }

  /** The program for items of these shapes and known values. Those of the fields `handed` that it reads and leaves as they are become outputs: they lie on the device already, and may stay there. */
  async #program(segment: DeviceSegment, specs: ConcreteSpecs, finite: ReadonlySet<string>, id: string, handed: readonly string[] = []): Promise<{ compiled: Compiled; program: PreparedProgram }> {
    const number = this.#numbers.get(segment) ?? this.#numbers.size
    this.#numbers.set(segment, number)
    const signature = JSON.stringify([number, Object.entries(specs).map(([name, { dtype, shape, value }]) => [name, dtype, shape, ...value === undefined ? [] : [Buffer.from(bytesOf(value.data)).toString('base64')]]), [...finite].sort(), handed])
    let preparing = this.#prepared.get(signature)
    if (preparing === undefined) {
      preparing = this.#prepare(segment, specs, finite, id, handed)
      this.#prepared.set(signature, preparing)
      // Items may all be of different shapes: the oldest goes. A run that uses it holds it.
      if (this.#prepared.size > PREPARED_MAX) this.#prepared.delete(this.#prepared.keys().next().value!)
    }
    return preparing
  }

  async #prepare(segment: DeviceSegment, specs: ConcreteSpecs, finite: ReadonlySet<string>, id: string, handed: readonly string[]): Promise<{ compiled: Compiled; program: PreparedProgram }> {
    let compiled: Compiled
    try {
      compiled = handingOn(compile(segment, specs, finite), handed)
    } catch (cause) {
      // What the whole dataset's check could not see: the extents of these items.
      throw cause instanceof RecipeError ? new ItemError(id, cause.message, { cause }) : cause
    }
    const device = await this.#device.open()
    this.#used = device.identity
    return { compiled, program: await device.prepare(compiled.program) }
  }
}

type ConcreteSpecs = Readonly<Record<string, { dtype: DType; shape: readonly number[]; value?: Tensor }>>

/** Items of equal shapes: what a program runs on. */
interface EqualPiece {
  readonly count: number
  readonly fields: Readonly<Record<string, Tensor>>
}

/** A field of one item: here, or on the device. */
type KeptField = Tensor | { readonly dtype: DType; readonly shape: readonly number[]; readonly kept: KeptArray }
type KeptFields = Readonly<Record<string, KeptField>>

function arrayOf(field: KeptField): TypedArray | KeptArray {
  return 'kept' in field ? field.kept : field.data
}

/** The same, with those of the fields `names` as outputs that are read, left as they are and have one name afterwards. */
function handingOn(compiled: Compiled, names: readonly string[]): Compiled {
  const { program, passThrough } = compiled
  const alone = passThrough.filter(({ from }) => names.includes(from) && passThrough.filter((other) => other.from === from).length === 1)
  const outputs = alone.flatMap(({ from, to }) => program.inputs.filter(({ field, value }) => field === from && !isKnown(from, program.values[value]!) && !program.outputs.some((output) => output.value === value)).map(({ value }) => ({ field: to, value })))
  if (outputs.length === 0) return compiled
  return { ...compiled, program: { ...program, outputs: [...program.outputs, ...outputs] }, passThrough: passThrough.filter(({ to }) => !outputs.some(({ field }) => field === to)) }
}

/** Buffers of arrays that were made here, for whoever is done with them. */
function buffersOf(made: readonly Tensor[]): ArrayBuffer[] {
  return made.filter(isPooled).map(({ data }) => data.buffer as ArrayBuffer)
}

/** Gives back those buffers that no result lies in; the others go with the last result, when all are done with them. */
function handed(own: readonly ArrayBuffer[] = [], results: readonly Done[]): Done[] {
  if (own.length === 0) return [...results]
  const used = new Set(results.flatMap(({ piece }) => Object.values(piece.fields)).map((rows) => dataOf(rows).buffer))
  for (const buffer of own) if (!used.has(buffer)) giveBack(buffer)
  const left = own.filter((buffer) => used.has(buffer))
  return results.map((done, i) => left.length === 0 || i < results.length - 1 ? done : { ...done, piece: { ...done.piece, own: [...done.piece.own ?? [], ...left] } })
}

/** One item as a piece has it, not copied. */
function asRows(tensor: Tensor): Tensor {
  return { ...tensor, shape: [1, ...tensor.shape] }
}

async function readKept({ dtype, shape, kept }: Extract<KeptField, { kept: KeptArray }>): Promise<Tensor> {
  const tensor = itemTensor(dtype, shape)
  await kept.read(tensor.data)
  return tensor
}

function itemBytes({ count, fields }: EqualPiece): number {
  return Object.values(fields).reduce((sum, { data }) => sum + data.byteLength, 0) / count
}

function itemOf({ fields }: EqualPiece, item: number): Readonly<Record<string, Tensor>> {
  return Object.fromEntries(Object.entries(fields).map(([name, tensor]) => [name, rowOf(tensor, item)]))
}

/** Throws NonFiniteError for the first fault. */
function refuse({ program }: Compiled, [fault]: readonly Fault[], ids: readonly string[]): void {
  if (fault === undefined) return
  const { origin } = program.steps[fault.step]!
  throw new NonFiniteError({ where: `op ${origin.op} (${origin.opName})`, item: ids[fault.item] ?? '', field: origin.field, count: fault.count, index: fault.index })
}

/** The piece cut where shapes change; whole where no field is ragged. */
function equalPieces({ count, fields }: Piece): EqualPiece[] {
  return equalStretches(Object.values(fields), count).map(([start, stop]) => ({ count: stop - start, fields: Object.fromEntries(Object.entries(fields).map(([name, rows]) => [name, fixedRows(rows, start, stop)])) }))
}

/** The piece cut where affines and boxes change: ops make tables and shapes of their numbers. */
function alike(piece: EqualPiece): EqualPiece[] {
  const known = Object.entries(piece.fields).filter(([name, { dtype, shape }]) => isKnown(name, { dtype, shape: shape.slice(1) })).map(([, tensor]) => {
    const bytes = bytesOf(tensor.data)
    const size = bytes.byteLength / piece.count
    return (item: number): Uint8Array => bytes.subarray(item * size, (item + 1) * size)
  })
  const parts: EqualPiece[] = []
  for (let start = 0; start < piece.count;) {
    let stop = known.length === 0 ? piece.count : start + 1
    while (stop < piece.count && known.every((item) => Buffer.compare(item(start), item(stop)) === 0)) stop++
    parts.push(start === 0 && stop === piece.count ? piece : { count: stop - start, fields: Object.fromEntries(Object.entries(piece.fields).map(([name, tensor]) => [name, rowsOf(tensor, start, stop)])) })
    start = stop
  }
  return parts
}

function specsOf(piece: EqualPiece): ConcreteSpecs {
  return specsOfItem(itemOf(piece, 0))
}

function specsOfItem(item: KeptFields): ConcreteSpecs {
  return Object.fromEntries(Object.entries(item).map(([name, field]) => {
    const { dtype, shape } = field
    return [name, isKnown(name, field) && !('kept' in field) ? { dtype, shape, value: field } : { dtype, shape }]
  }))
}
