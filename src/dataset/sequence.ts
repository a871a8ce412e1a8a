import { isFloating } from '../core/dtype.js'
import { bytesOfRows, dataOf, rowOf, type Rows } from '../core/rows.js'
import { inStage } from '../core/stages.js'
import type { FieldSpecs, Tensor } from '../core/tensor.js'
import { neededBy } from '../ops/compile.js'
import { itemsAsRows, type FieldStates, type ItemRows, type ItemSequence, type OpCall } from '../ops/op.js'
import type { Notes, Source } from '../sources/source.js'
import type { Executor } from './execute.js'
import { contiguous } from './identify.js'
import { slicePiece } from './shard-builder.js'

/** Items of a source whose runs are asked for at a time. */
export const STEP_ITEMS = 1024
/** Bytes of items that item ops are run on in one step. */
const STEP_BYTES = 8 * 2 ** 20

/** The items of a source. */
export function sequenceOf(source: Source, notes: Notes | undefined): ItemSequence {
  return {
    length: source.length,
    fields: statesOf(source.fields),
    id: (index) => source.id(index),
    place: (index) => source.place?.(index),
    async read(index, fields, signal) {
      // Where items are brought here to be read in any order, a read in order would bring the next one.
      if (source.follow !== undefined) return rowsAsItem((await source.gather!(Float64Array.of(index), { fields, signal, notes })).fields)
      for await (const run of source.read(index, index + 1, { fields, signal, notes })) return rowsAsItem(run.fields)
      throw new RangeError(`item ${index} of ${source.length}`)
    },
    gather: (indices, fields, signal) => inStage('read', bytesOfRows, () => source.gather?.(indices, { fields, signal, notes }) ?? picked(source, indices, fields, signal, notes)),
    async * runs(fields, signal) {
      for (let start = 0; start < source.length; start += STEP_ITEMS) {
        const stop = Math.min(source.length, start + STEP_ITEMS)
        yield * source.read(start, stop, { fields, signal, notes })
        source.release(start, stop)
      }
    },
  }
}

/** Items after some item ops, computed when they are read; of the items' fields only those that what is asked for is made from are read. */
export function mapped(sequence: ItemSequence, executor: Executor, ops: readonly OpCall[]): ItemSequence {
  const states = [sequence.fields]
  for (const { definition, params } of ops) states.push(definition.infer(states.at(-1)!, params, (message) => { throw new TypeError(message) }))
  const needed = (names: readonly string[]): string[] => neededBy(ops, states, new Set(names))
  const execute = async (rows: ItemRows, ids: readonly string[], names: readonly string[], signal: AbortSignal | undefined): Promise<ItemRows[]> =>
    (await executor.run(rows, ids, signal)).map(({ count, fields, own }) => ({ count, fields: Object.fromEntries(names.map((name) => [name, fields[name]!])), ...(own !== undefined && { own }) }))
  const { gather, runs } = sequence
  const read: ItemSequence['read'] = async (index, names, signal) => {
    const item = await sequence.read(index, needed(names), signal)
    const rows = { count: 1, fields: Object.fromEntries(Object.entries(item).map(([name, tensor]) => [name, { ...tensor, shape: [1, ...tensor.shape] }])) }
    return rowsAsItem((await execute(rows, [sequence.id(index)], names, signal))[0]!.fields)
  }
  return {
    length: sequence.length,
    fields: states.at(-1)!,
    id: (index) => sequence.id(index),
    ...(sequence.place !== undefined && { place: (index: number) => sequence.place!(index) }),
    ...(sequence.members !== undefined && { members: (index: number) => sequence.members!(index) }),
    read,
    ...(gather !== undefined && {
      async gather(indices: Float64Array, names: readonly string[], signal: AbortSignal | undefined) {
        const inputs = needed(names)
        // Shapes that differ in more than axis 0 do not go together before the ops.
        if (inputs.some((name) => sequence.fields[name]!.shape.slice(1).includes(null))) {
          const items: Readonly<Record<string, Tensor>>[] = []
          for (const index of indices) items.push(await read(index, names, signal))
          return itemsAsRows(items, names)
        }
        const rows = await gather.call(sequence, indices, inputs, signal)
        // Given back by the executor as soon as nothing needs it; but a function of the user's may keep what it is given.
        const bare = { count: rows.count, fields: rows.fields }
        return joined(await execute(executor.isClosed ? rows : bare, Array.from(indices, (index) => sequence.id(index)), names, signal))
      },
    }),
    ...(runs !== undefined && {
      async * runs(names: readonly string[], signal: AbortSignal | undefined) {
        let at = 0
        for await (const run of runs.call(sequence, needed(names), signal)) {
          const bytes = Object.values(run.fields).reduce((sum, rows) => sum + dataOf(rows).byteLength, 0)
          const step = executor.wholeCalls(Math.floor(run.count * Math.min(1, STEP_BYTES / Math.max(1, bytes))))
          for (let from = 0; from < run.count; from += step) {
            const part = slicePiece(run, from, Math.min(run.count, from + step))
            yield * await execute(part, Array.from({ length: part.count }, (_, i) => sequence.id(at + i)), names, signal)
            at += part.count
          }
        }
      },
    }),
  }
}

/** Items of a source that is read by runs, put into the order asked for. */
async function picked(source: Source, indices: Float64Array, fields: readonly string[], signal: AbortSignal | undefined, notes: Notes | undefined): Promise<ItemRows> {
  const items = new Map<number, Readonly<Record<string, Tensor>>>()
  for (const [start, stop] of contiguous([...new Set(indices)].sort((a, b) => a - b))) {
    for await (const run of source.read(start, stop, { fields, signal, notes })) {
      for (let k = 0; k < run.count; k++) items.set(run.start + k, Object.fromEntries(fields.map((name) => [name, rowOf(run.fields[name]!, k)])))
    }
    source.release(start, stop)
  }
  return itemsAsRows(Array.from(indices, (index) => items.get(index)!), fields)
}

function joined(parts: readonly ItemRows[]): ItemRows {
  if (parts.length === 1) return parts[0]!
  const items = parts.flatMap(({ count, fields }) => Array.from({ length: count }, (_, k) => Object.fromEntries(Object.entries(fields).map(([name, rows]) => [name, rowOf(rows, k)]))))
  return itemsAsRows(items, Object.keys(parts[0]?.fields ?? {}))
}

export function rowsAsItem(fields: Readonly<Record<string, Rows>>): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(fields).map(([name, tensor]) => [name, rowOf(tensor, 0)]))
}

function statesOf(fields: FieldSpecs): FieldStates {
  return Object.fromEntries(Object.entries(fields).map(([name, { dtype, shape }]) => [name, { dtype, shape, finiteness: isFloating(dtype) ? 'unchecked' as const : 'finite' as const }]))
}
