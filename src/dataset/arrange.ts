import { sha256 } from '../core/hash.js'
import { frame, HASH_BYTES } from '../core/keys.js'
import { byteCount } from '../core/tensor.js'
import type { DeviceSource } from '../devices/device.js'
import { giveBack } from '../native/fresh.js'
import { inputFields, segments, type Segment } from '../ops/compile.js'
import type { ItemSequence } from '../ops/op.js'
import type { Recipe } from '../ops/recipe.js'
import type { Notes, Source } from '../sources/source.js'
import { Executor } from './execute.js'
import { identitiesOf } from './identify.js'
import { mapped, sequenceOf, STEP_ITEMS } from './sequence.js'

/** What a build works on: items as a source, the item ops that are left to run on them, and identities where they are known beforehand. */
export interface Arranged {
  readonly source: Source
  readonly segments: readonly Segment[]
  /** 32 bytes per item; undefined when an item's identity is the hash of its bytes. */
  readonly identities: Uint8Array | undefined
}

/** Items after the ops of dataset scope, and the item ops that are left. */
export interface Sequenced {
  readonly sequence: ItemSequence
  readonly segments: readonly Segment[]
  /** What each op of dataset scope made, in their order. */
  readonly arranged: readonly ItemSequence[]
  /** Place of the last one in the recipe. */
  readonly place: number
}

/** Bytes of items that are gathered in one step. */
const GATHER_BYTES = 8 * 2 ** 20

/** Runs the ops of dataset scope: each turns the sequence of items into another, lazily. */
export async function sequenced(source: Source, recipe: Recipe, device: DeviceSource, signal: AbortSignal | undefined, notes: Notes | undefined): Promise<Sequenced> {
  const all = segments(recipe)
  const last = all.findLastIndex((segment) => segment.kind === 'dataset')
  const arranged: ItemSequence[] = []
  let sequence = sequenceOf(source, notes)
  let pending: Segment[] = []
  for (const segment of all.slice(0, last + 1)) {
    if (segment.kind !== 'dataset') {
      pending.push(segment)
      continue
    }
    if (pending.length > 0) sequence = mapped(sequence, new Executor(pending, device), recipe.ops.slice(pending[0]!.first, segment.first))
    pending = []
    sequence = await segment.op.definition.arrange(sequence, segment.op.params, {
      seed: recipe.seed ?? 0n, signal,
      nearest: async (points, at, k) => (await device.open()).nearest(points, at, k),
    })
    arranged.push(sequence)
  }
  return { sequence, segments: all.slice(last + 1), arranged, place: all[last]?.first ?? -1 }
}

/** For a build: the items after the last op of dataset scope as a source, with their identities. */
export async function arrange(source: Source, recipe: Recipe, device: DeviceSource, signal: AbortSignal | undefined, notes: Notes | undefined): Promise<Arranged> {
  const made = await sequenced(source, recipe, device, signal, notes)
  if (made.arranged.length === 0) return { source, segments: made.segments, identities: undefined }
  return { source: sourceOf(made.sequence, source), segments: made.segments, identities: await identitiesAfter(made, source, inputFields(recipe, source.fields), signal, notes) }
}

/**
 * An item that comes out of an op of dataset scope is identified by what went in. Where the ops say which items these are: H( frame({ dataset_op: place, fields }) ‖ their indices, as float64, ‖ their identities ).
 * Otherwise by everything: H( the frame ‖ H(identities of all source items) ‖ its index as u64 ), since any source item may have decided what it is. The frame has the `fields` that the items were given,
 * because an op may do one thing with a field of one shape and another with one whose extents may differ, even where they do not.
 */
async function identitiesAfter({ sequence, arranged, place }: Sequenced, source: Source, inputs: readonly string[], signal: AbortSignal | undefined, notes: Notes | undefined): Promise<Uint8Array> {
  const prefix = frame({ dataset_op: place, fields: Object.fromEntries(inputs.map((name) => [name, source.fields[name]!])) })
  const identities = new Uint8Array(sequence.length * HASH_BYTES)
  if (arranged.every(({ members }) => members !== undefined)) {
    const traces = Array.from({ length: sequence.length }, (_, i) => traceOf(arranged, i))
    const base = await identifySome(source, inputs, new Set(traces.flatMap(({ members }) => members)), signal, notes)
    traces.forEach(({ trace, members }, i) => identities.set(sha256(prefix, Buffer.from(Float64Array.from(trace).buffer), ...members.map((member) => base.get(member)!)), i * HASH_BYTES))
    return identities
  }
  const base = await identifyAll(source, inputs, signal, notes)
  const index = Buffer.alloc(8)
  for (let i = 0; i < sequence.length; i++) {
    index.writeBigUInt64LE(BigInt(i))
    identities.set(sha256(prefix, base, index), i * HASH_BYTES)
  }
  return identities
}

/** Which items an item was made of, through all ops of dataset scope: what each of them took, and the items of the source in the end. */
function traceOf(arranged: readonly ItemSequence[], index: number): { trace: number[]; members: number[] } {
  let members = [index]
  const trace: number[] = []
  for (const sequence of arranged.toReversed()) {
    const next: number[] = []
    for (const item of members) {
      const of = sequence.members!(item)
      trace.push(of.length, ...of)
      next.push(...of)
    }
    members = next
  }
  return { trace, members }
}

async function identifySome(source: Source, fields: readonly string[], wanted: ReadonlySet<number>, signal: AbortSignal | undefined, notes: Notes | undefined): Promise<Map<number, Uint8Array>> {
  const items = Float64Array.from(wanted).sort()
  const sequence = sequenceOf(source, notes)
  const rows = rowsPerStep(source, fields)
  const found = new Map<number, Uint8Array>()
  for (let at = 0; at < items.length; at += rows) {
    signal?.throwIfAborted()
    const part = items.subarray(at, at + rows)
    const run = await sequence.gather!(part, fields, signal)
    const identities = await identitiesOf(run, fields, source.reader, 1)
    part.forEach((item, k) => found.set(item, identities.subarray(k * HASH_BYTES, (k + 1) * HASH_BYTES)))
    run.own?.forEach(giveBack)
  }
  return found
}

async function identifyAll(source: Source, fields: readonly string[], signal: AbortSignal | undefined, notes: Notes | undefined): Promise<Buffer> {
  const identities = new Uint8Array(source.length * HASH_BYTES)
  for (let start = 0; start < source.length; start += STEP_ITEMS) {
    const stop = Math.min(source.length, start + STEP_ITEMS)
    for await (const run of source.read(start, stop, { fields, signal, notes })) identities.set(await identitiesOf(run, fields, source.reader, 1), run.start * HASH_BYTES)
    source.release(start, stop)
  }
  return sha256(identities)
}

/** Items of these fields that come to about one step. An extent that is not known is taken for 64. */
function rowsPerStep({ fields: specs }: Pick<ItemSequence, 'fields'> | Source, fields: readonly string[]): number {
  const bytes = fields.reduce((sum, name) => sum + byteCount(specs[name]!.dtype, specs[name]!.shape.map((extent) => extent ?? 64)), 0)
  return Math.max(1, Math.min(STEP_ITEMS, Math.floor(GATHER_BYTES / Math.max(1, bytes))))
}

/** The items after the ops as a source, to be read in order. */
function sourceOf(sequence: ItemSequence, base: Source): Source {
  return {
    reader: base.reader, constants: base.constants, description: base.description, selection: base.selection, files: base.files, digest: base.digest, skipped: base.skipped ?? [],
    length: sequence.length,
    fields: Object.fromEntries(Object.entries(sequence.fields).map(([name, { dtype, shape }]) => [name, { dtype, shape }])),
    id: (index) => sequence.id(index),
    place: (index) => sequence.place?.(index),
    async * read(start, stop, { fields, signal }) {
      const rows = sequence.gather === undefined || fields.some((name) => sequence.fields[name]!.shape.slice(1).includes(null)) ? 1 : rowsPerStep(sequence, fields)
      for (let at = start; at < stop; at += rows) {
        const count = Math.min(rows, stop - at)
        if (rows > 1) {
          yield { start: at, ...await sequence.gather!(Float64Array.from({ length: count }, (_, k) => at + k), fields, signal) }
        } else {
          const item = await sequence.read(at, fields, signal)
          yield { start: at, count: 1, fields: Object.fromEntries(Object.entries(item).map(([name, tensor]) => [name, { ...tensor, shape: [1, ...tensor.shape] }])) }
        }
      }
    },
    release: () => undefined,
    assertUnchanged: () => base.assertUnchanged(),
    close: () => base.close(),
  }
}
