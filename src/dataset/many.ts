import { ItemError, MissingDependencyError, SourceChangedError } from '../core/errors.js'
import { bytesOfRows, dataOf, equalStretches, fixedRows, rowsOf } from '../core/rows.js'
import { inStage } from '../core/stages.js'
import { byteCount, emptyTensor, type Tensor } from '../core/tensor.js'
import { giveBack } from '../native/fresh.js'
import type { Segment } from '../ops/compile.js'
import { slicePiece, type Piece } from './shard-builder.js'

/** Calls that an op has under way at a time: while one computes, the next is put together. */
const CALLS = 2

type ManySegment = Extract<Segment, { kind: 'many' }>
type Items = Readonly<Record<string, Tensor>>

/** Runs an op that takes many items at once. Gives a piece for each call. Rejects with ItemError for the first item that fails. */
export async function runMany({ first, op }: ManySegment, piece: Piece, ids: readonly string[], signal: AbortSignal | undefined): Promise<Piece[]> {
  const { definition, params } = op
  const reads = definition.reads?.(params)
  const names = reads ?? Object.keys(piece.fields)
  // Of what it makes nothing is wanted.
  if (names.some((name) => piece.fields[name] === undefined)) return [piece]
  await definition.open?.(params)
  const size = definition.size(params)
  const call = async (start: number, stop: number): Promise<Items> => {
    const items = Object.fromEntries(names.map((name) => [name, fixedRows(piece.fields[name]!, start, stop)]))
    const given = definition.isFull ? filled(items, stop - start, size) : items
    const made = await inStage('compute', bytesOfRows({ fields: items }), () => definition.runMany(given, params, { ids: ids.slice(start, stop), signal }))
    return cut(made, stop - start, definition.isFull ? size : stop - start)
  }
  const calls = equalStretches(names.map((name) => piece.fields[name]!), piece.count).flatMap(([start, stop]) => Array.from({ length: Math.ceil((stop - start) / size) }, (_, k): [number, number] => [start + k * size, Math.min(stop, start + (k + 1) * size)]))
  const done: Piece[] = []
  const failures = new Map<number, unknown>()
  const queue = calls.entries()
  const lane = async (): Promise<void> => {
    for (const [k, [start, stop]] of queue) {
      if (failures.size > 0) return
      try {
        signal?.throwIfAborted()
        const made = await call(start, stop).catch((cause: unknown) => blame(cause, `op ${first} (${op.name})`, call, [start, stop], ids, signal))
        done[k] = { count: stop - start, fields: reads === undefined ? made : { ...slicePiece(piece, start, stop).fields, ...made } }
      } catch (error) {
        failures.set(k, error)
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(CALLS, calls.length) }, lane))
  // Calls begin in order, so of those that fail the first is always among them.
  if (failures.size > 0) throw failures.get(Math.min(...failures.keys()))
  return handed(piece.own, done)
}

/** Gives back those buffers that no piece lies in. Others go with the piece, where it is one: of several nobody could say when all are done with them. */
function handed(own: readonly ArrayBuffer[] | undefined, pieces: readonly Piece[]): Piece[] {
  if (own === undefined || own.length === 0) return [...pieces]
  const used = new Set(pieces.flatMap(({ fields }) => Object.values(fields)).map((rows) => dataOf(rows).buffer))
  for (const buffer of own) if (!used.has(buffer)) giveBack(buffer)
  const left = own.filter((buffer) => used.has(buffer))
  return left.length > 0 && pieces.length === 1 ? [{ ...pieces[0]!, own: left }] : [...pieces]
}

/** Throws for the item whose fault it is, which is found by trying each alone. */
async function blame(cause: unknown, where: string, call: (start: number, stop: number) => Promise<Items>, [start, stop]: readonly [number, number], ids: readonly string[], signal: AbortSignal | undefined): Promise<never> {
  const refuse = (item: number, reason: unknown, which = ''): never => { throw new ItemError(ids[item] ?? '', `${where} failed${which}: ${(reason as Error).message}`, { cause: reason }) }
  const isNobodys = (reason: unknown): boolean => signal?.aborted === true || reason instanceof MissingDependencyError || reason instanceof SourceChangedError
  if (isNobodys(cause)) throw cause
  if (stop - start === 1) refuse(start, cause)
  for (let item = start; item < stop; item++) {
    await call(item, item + 1).catch((reason: unknown) => {
      if (isNobodys(reason)) throw reason
      refuse(item, reason)
    })
  }
  return refuse(start, cause, ` for this item and the ${stop - start - 1} after it together, for none of them alone`)
}

/** `size` items: the last of `count` is repeated. Not copied where there are as many. */
function filled(items: Items, count: number, size: number): Items {
  if (count === size) return items
  return Object.fromEntries(Object.entries(items).map(([name, tensor]): [string, Tensor] => {
    const whole = emptyTensor(tensor.dtype, [size, ...tensor.shape.slice(1)])
    const [from, to] = [tensor.data as Uint8Array, whole.data as Uint8Array]
    to.set(from)
    const length = from.length / count
    for (let row = count; row < size; row++) to.copyWithin(row * length, (count - 1) * length, count * length)
    return [name, whole]
  }))
}

/** The first `count` items of what was made of `size`. */
function cut(made: Items, count: number, size: number): Items {
  return Object.fromEntries(Object.entries(made).map(([name, tensor]): [string, Tensor] => {
    const { dtype, shape, data } = tensor
    if (shape[0] !== size) throw new TypeError(`field ${name} has the shape [${shape.join(', ')}], of ${size} items it must be [${size}, …]`)
    const bytes = byteCount(dtype, shape)
    if (data.byteLength !== bytes) throw new TypeError(`field ${name} has ${data.byteLength} bytes, its dtype and shape say ${bytes}`)
    return [name, count === size ? tensor : rowsOf(tensor, 0, count)]
  }))
}
