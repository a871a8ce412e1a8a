import { isFloating } from '../core/dtype.js'
import { sha256 } from '../core/hash.js'
import { frame, HASH_BYTES } from '../core/keys.js'
import { dataOf, rowOf, type Rows } from '../core/rows.js'
import type { FieldSpecs, Tensor } from '../core/tensor.js'
import type { DeviceSource } from '../devices/device.js'
import { inputFields, segments, type Segment } from '../ops/compile.js'
import type { FieldStates, ItemSequence, OpCall } from '../ops/op.js'
import type { Recipe } from '../ops/recipe.js'
import type { Notes, Source } from '../sources/source.js'
import { Executor, slicePiece } from './execute.js'
import { identitiesOf } from './identify.js'

/** What a build works on: items as a source, the item ops that are left to run on them, and identities where they are known beforehand. */
export interface Arranged {
  readonly source: Source
  readonly segments: readonly Segment[]
  /** 32 bytes per item; undefined when an item's identity is the hash of its bytes. */
  readonly identities: Uint8Array | undefined
}

/** Items whose bytes are hashed in one step. */
const STEP_ITEMS = 1024
/** Bytes of items that item ops are run on in one step. */
const STEP_BYTES = 8 * 2 ** 20

/**
 * Runs the ops of dataset scope: each turns the sequence of items into another, lazily. An item that comes out of one is identified by everything that
 * went in: H( frame({ dataset_op: place, fields: those it was given }) ‖ H(identities of all source items) ‖ its index as u64 ), since any source item may have decided
 * what it is, and an op may do one thing with a field of one shape and another with one whose extents may differ, even where they do not.
 */
export async function arrange(source: Source, recipe: Recipe, device: DeviceSource, signal: AbortSignal | undefined, notes: Notes | undefined): Promise<Arranged> {
  const all = segments(recipe)
  const last = all.findLastIndex((segment) => segment.kind === 'dataset')
  if (last < 0) return { source, segments: all, identities: undefined }
  let sequence = sequenceOf(source, notes)
  let pending: Segment[] = []
  for (const segment of all.slice(0, last + 1)) {
    if (segment.kind !== 'dataset') {
      pending.push(segment)
      continue
    }
    if (pending.length > 0) sequence = mapped(sequence, new Executor(pending, device), recipe.ops.slice(pending[0]!.first, segment.first))
    pending = []
    sequence = await segment.op.definition.arrange(sequence, segment.op.params, { seed: recipe.seed ?? 0n, signal })
  }
  const inputs = inputFields(recipe, source.fields)
  const base = await identifyAll(source, inputs, signal, notes)
  const prefix = frame({ dataset_op: all[last]!.first, fields: Object.fromEntries(inputs.map((name) => [name, source.fields[name]!])) })
  const identities = new Uint8Array(sequence.length * HASH_BYTES)
  const index = Buffer.alloc(8)
  for (let i = 0; i < sequence.length; i++) {
    index.writeBigUInt64LE(BigInt(i))
    identities.set(sha256(prefix, base, index), i * HASH_BYTES)
  }
  return { source: sourceOf(sequence, source), segments: all.slice(last + 1), identities }
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

function statesOf(fields: FieldSpecs): FieldStates {
  return Object.fromEntries(Object.entries(fields).map(([name, { dtype, shape }]) => [name, { dtype, shape, finiteness: isFloating(dtype) ? 'unchecked' as const : 'finite' as const }]))
}

function sequenceOf(source: Source, notes: Notes | undefined): ItemSequence {
  return {
    length: source.length,
    fields: statesOf(source.fields),
    id: (index) => source.id(index),
    async read(index, fields, signal) {
      for await (const run of source.read(index, index + 1, { fields, signal, notes })) return row(run.fields)
      throw new RangeError(`item ${index} of ${source.length}`)
    },
    async * runs(fields, signal) {
      for (let start = 0; start < source.length; start += STEP_ITEMS) {
        const stop = Math.min(source.length, start + STEP_ITEMS)
        yield * source.read(start, stop, { fields, signal, notes })
        source.release(start, stop)
      }
    },
  }
}

/** Items after some item ops, computed when they are read. */
function mapped(sequence: ItemSequence, executor: Executor, ops: readonly OpCall[]): ItemSequence {
  let fields = sequence.fields
  ops.forEach((op) => {
    fields = op.definition.infer(fields, op.params, (message) => { throw new TypeError(message) })
  })
  return {
    length: sequence.length,
    fields,
    id: (index) => sequence.id(index),
    async read(index, names, signal) {
      const item = await sequence.read(index, Object.keys(sequence.fields), signal)
      const piece = { count: 1, fields: Object.fromEntries(Object.entries(item).map(([name, tensor]) => [name, { ...tensor, shape: [1, ...tensor.shape] }])) }
      const [done] = await executor.run(piece, [sequence.id(index)], signal)
      return Object.fromEntries(Object.entries(row(done!.fields)).filter(([name]) => names.includes(name)))
    },
    ...(sequence.runs !== undefined && { runs: executed(sequence, sequence.runs.bind(sequence), executor) }),
  }
}

/** Runs of items after some item ops. All fields are read, since it is not known here which of them the ops need. */
function executed(sequence: ItemSequence, runs: NonNullable<ItemSequence['runs']>, executor: Executor): NonNullable<ItemSequence['runs']> {
  return async function * (names, signal) {
    let at = 0
    for await (const run of runs(Object.keys(sequence.fields), signal)) {
      const bytes = Object.values(run.fields).reduce((sum, rows) => sum + dataOf(rows).byteLength, 0)
      const step = Math.max(1, Math.floor(run.count * Math.min(1, STEP_BYTES / Math.max(1, bytes))))
      for (let from = 0; from < run.count; from += step) {
        const part = slicePiece(run, from, Math.min(run.count, from + step))
        const ids = Array.from({ length: part.count }, (_, i) => sequence.id(at + i))
        at += part.count
        for (const { count, fields } of await executor.run(part, ids, signal)) yield { count, fields: Object.fromEntries(names.map((name) => [name, fields[name]!])) }
      }
    }
  }
}

function row(fields: Readonly<Record<string, Rows>>): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(fields).map(([name, tensor]) => [name, rowOf(tensor, 0)]))
}

function sourceOf(sequence: ItemSequence, base: Source): Source {
  return {
    reader: base.reader, constants: base.constants, description: base.description, selection: base.selection, files: base.files, digest: base.digest, skipped: base.skipped ?? [],
    length: sequence.length,
    fields: Object.fromEntries(Object.entries(sequence.fields).map(([name, { dtype, shape }]) => [name, { dtype, shape }])),
    id: (index) => sequence.id(index),
    async * read(start, stop, { fields, signal }) {
      for (let index = start; index < stop; index++) {
        const item = await sequence.read(index, fields, signal)
        yield { start: index, count: 1, fields: Object.fromEntries(Object.entries(item).map(([name, tensor]) => [name, { ...tensor, shape: [1, ...tensor.shape] }])) }
      }
    },
    release: () => undefined,
    assertUnchanged: () => base.assertUnchanged(),
    close: () => base.close(),
  }
}
