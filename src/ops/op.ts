import { joinRows, type Rows } from '../core/rows.js'
import type { FieldSpec, Tensor } from '../core/tensor.js'
import type { BatchStep } from './batch.js'
import type { ProgramBuilder } from './builder.js'
import type { NearestSearch } from './points.js'

/**
 * What is known of a field's values: `finite`: NaN and infinity cannot occur; `unchecked`: they may, and arithmetic checks first; `kept`:
 * a cast let them pass on purpose, so arithmetic on them is refused.
 */
export type Finiteness = 'finite' | 'unchecked' | 'kept'

/** A field as a recipe sees it before anything is read. Extents that differ between items are null. */
export interface FieldState extends FieldSpec {
  /** Whether NaN and infinity can occur. */
  readonly finiteness: Finiteness
  /** What the field holds, where ops decide by it: of affines, once items are at hand. Whoever changes a field must drop it or say what it is now. */
  readonly value?: Tensor
}

/** What is known of each field, by name. */
export type FieldStates = Readonly<Record<string, FieldState>>

/** Reports that an op does not fit its input; becomes a RecipeError with the op's place. */
export type Fail = (message: string, options?: ErrorOptions) => never

/** What a host op is told besides its item. */
export interface RunContext {
  /** Name of the item. */
  readonly id: string
  /** Aborted when nobody waits for the item any more. */
  readonly signal: AbortSignal | undefined
}

interface OpBase {
  /** Unique name; part of every key. */
  readonly name: string
  /** Raised whenever the same parameters give other bytes; part of every key. */
  readonly version: number
  /** True when results depend on the recipe's seed, which is then part of the key. */
  readonly draws: boolean
  /** False when devices may differ in the last bits; then the device's identity is part of the key. */
  readonly exact: boolean
  /** Parameters that are paths: those of a configuration file are relative to it. */
  readonly paths?: readonly string[]
  /** Full parameters as plain data, with defaults, from what the caller gave. Throws TypeError. */
  params(given: unknown): OpParams
  /** Fields after the op. Called before anything is read, with null for unknown extents, and again with none. */
  infer(fields: FieldStates, params: OpParams, fail: Fail): FieldStates
  /** Input fields that the `wanted` output fields are made from. */
  needs(fields: FieldStates, params: OpParams, wanted: ReadonlySet<string>): ReadonlySet<string>
}

/** Parameters of an op with all defaults: plain data, part of every key. */
export type OpParams = Readonly<Record<string, any>>

/** Lowers to steps of a program; runs on every device with the same bytes. */
export interface DeviceOp extends OpBase {
  readonly kind: 'device'
  readonly scope: 'item'
  /**
   * Parameters for the same work on those of its fields that are there, when others were not read because no output is made from them;
   * undefined when nothing is left to do. The whole recipe has been checked before.
   */
  narrow(fields: FieldStates, params: OpParams): OpParams | undefined
  lower(builder: ProgramBuilder, params: OpParams): void
}

/**
 * Device ops in a row that are one op of a recipe: all have its place, its name and its parameters. Each has to know what the one before it found (geometry.ts says of which fields values are known), so their
 * programs end there.
 */
export interface SeriesOp extends OpBase {
  readonly kind: 'series'
  readonly scope: 'item'
  readonly parts: readonly DeviceOp[]
}

/** Native work on many items at once, whose outputs may differ in length from item to item. */
export interface BatchOp extends OpBase {
  readonly kind: 'batch'
  readonly scope: 'item'
  step(params: OpParams): BatchStep
}

/** A function on one item, on the main thread. */
export interface HostOp extends OpBase {
  readonly kind: 'host'
  readonly scope: 'item'
  run(item: Readonly<Record<string, Tensor>>, params: OpParams, context: RunContext): Readonly<Record<string, Tensor>> | Promise<Readonly<Record<string, Tensor>>>
}

/** What an op that takes many items at once is told besides them. */
export interface ManyContext {
  /** Of the items, in their order. */
  readonly ids: readonly string[]
  /** Aborted when nobody waits for the items any more. */
  readonly signal: AbortSignal | undefined
}

/** A function on items of equal shapes, stacked along a new axis 0, on the main thread: for work that costs less for many at once. */
export interface ManyOp extends OpBase {
  readonly kind: 'many'
  readonly scope: 'item'
  /** Items of a call at most. */
  size(params: OpParams): number
  /** Calls have exactly `size` items: the last one is repeated as often as it takes, and what is made of the copies is dropped. */
  readonly isFull: boolean
  /** It keeps nothing of what it is given, so that this memory may be used again. */
  readonly keepsNothing?: boolean
  /** Fields that a call is given; it adds to them and to all others, or replaces them. Absent: a call is given all, and what it makes is all there is. */
  reads?(params: OpParams): readonly string[]
  /** Awaited before the first call. What it rejects with is no fault of an item. */
  open?(params: OpParams): Promise<void>
  runMany(items: Readonly<Record<string, Tensor>>, params: OpParams, context: ManyContext): Readonly<Record<string, Tensor>> | Promise<Readonly<Record<string, Tensor>>>
}

/** Some items: a field of one shape is [count, …], one whose items differ in axis 0 is ragged. */
export interface ItemRows {
  /** Number of items. */
  readonly count: number
  /** The items' rows, by field. */
  readonly fields: Readonly<Record<string, Rows>>
  /** Buffers of `fields` that nobody else looks at. Who has no use for them any more may give them back (`native/fresh.ts`). */
  readonly own?: readonly ArrayBuffer[]
}

/** A sequence of items, read lazily: what ops of dataset scope turn into another. */
export interface ItemSequence {
  /** Number of items. */
  readonly length: number
  /** dtype and shape of each field of an item; null marks extents that differ. */
  readonly fields: FieldStates
  /** Human name of an item. */
  id(index: number): string
  /** For messages: file and row, where there are any. */
  place?(index: number): string | undefined
  /** Fields of one item, read when asked for. */
  read(index: number, fields: readonly string[], signal: AbortSignal | undefined): Promise<Readonly<Record<string, Tensor>>>
  /** Items in any order, with repetitions, in memory of their own. Absent where they are only had one by one. */
  gather?(indices: Float64Array, fields: readonly string[], signal: AbortSignal | undefined): Promise<ItemRows>
  /** All items in order, many at a time: for ops that look at each of them once. Absent where items are only had one by one. */
  runs?(fields: readonly string[], signal: AbortSignal | undefined): AsyncIterable<ItemRows>
  /**
   * The items, of the sequence that this one was made of, that decide what item `index` is, with the parameters and the seed: all of them, in an order that counts. The item's key then covers these
   * and no others. Absent where any may.
   */
  members?(index: number): readonly number[]
}

/** All items in order, where need be one by one. */
export async function * runsOf(items: ItemSequence, fields: readonly string[], signal: AbortSignal | undefined): AsyncGenerator<ItemRows> {
  if (items.runs !== undefined) return yield * items.runs(fields, signal)
  for (let index = 0; index < items.length; index++) {
    const item = await items.read(index, fields, signal)
    yield { count: 1, fields: Object.fromEntries(fields.map((name) => [name, { ...item[name]!, shape: [1, ...item[name]!.shape] }])) }
  }
}

/** Items in any order, with repetitions, where need be one by one. */
export async function rowsAt(items: ItemSequence, indices: Float64Array, fields: readonly string[], signal: AbortSignal | undefined): Promise<ItemRows> {
  if (items.gather !== undefined) return items.gather(indices, fields, signal)
  const all: Readonly<Record<string, Tensor>>[] = []
  for (const index of indices) all.push(await items.read(index, fields, signal))
  return itemsAsRows(all, fields)
}

/** Single items one after the other, copied. Their shapes may differ in axis 0. */
export function itemsAsRows(items: readonly Readonly<Record<string, Tensor>>[], fields: readonly string[]): ItemRows {
  return { count: items.length, fields: Object.fromEntries(fields.map((name) => [name, joinRows(items.map((item) => item[name]!))])) }
}

/** What an op of dataset scope is given besides its items. */
export interface ArrangeContext {
  /** Seed of the recipe; 0 when it was given none. */
  readonly seed: bigint
  /** Aborted when nobody waits for the dataset any more. */
  readonly signal: AbortSignal | undefined
  /** Nearest points, on the device that was asked for. */
  readonly nearest: NearestSearch
}

/** Turns one sequence of items into another (chooses, groups, splits). Its items' keys cover the identities of all items it sees, unless the sequence says which. */
export interface DatasetOp extends OpBase {
  readonly kind: 'dataset'
  readonly scope: 'dataset'
  arrange(items: ItemSequence, params: OpParams, context: ArrangeContext): Promise<ItemSequence>
}

/** What an op means; of the library's own ops it is no part of the public surface. */
export type OpDefinition = DeviceOp | SeriesOp | BatchOp | HostOp | ManyOp | DatasetOp

/** One op of a recipe with its parameters: plain data, and the definition that gives it meaning. */
export interface OpCall {
  /** Name of the op. */
  readonly name: string
  /** Version of the op. */
  readonly version: number
  /** Its parameters, with all defaults. */
  readonly params: OpParams
  /** What gives it meaning. */
  readonly definition: OpDefinition
}

/** A call of `definition` with checked parameters, which are its own: changing what was given changes neither results nor keys. */
export function callOf(definition: OpDefinition, given: unknown): OpCall {
  return Object.freeze({ name: definition.name, version: definition.version, params: frozenCopy(definition.params(given)) as OpParams, definition })
}

/** A deep copy of plain data that cannot be changed. Bytes are copied but, as JavaScript has it, not frozen. */
function frozenCopy(value: unknown): unknown {
  if (value instanceof Uint8Array) return value.slice()
  if (Array.isArray(value)) return Object.freeze(value.map(frozenCopy))
  if (typeof value !== 'object' || value === null) return value
  return Object.freeze(Object.fromEntries(Object.entries(value).map(([name, element]) => [name, frozenCopy(element)])))
}

/** `needs` of ops whose outputs are made from the input of the same name. */
export function needsSame(_fields: FieldStates, _params: OpParams, wanted: ReadonlySet<string>): ReadonlySet<string> {
  return wanted
}
