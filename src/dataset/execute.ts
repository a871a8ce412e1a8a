import { ItemError, MissingDependencyError } from '../core/errors.js'
import { dataOf, joinRows, rowOf } from '../core/rows.js'
import { byteCount, type Tensor } from '../core/tensor.js'
import type { DeviceIdentity, DeviceSource } from '../devices/device.js'
import type { Segment } from '../ops/compile.js'
import { runMany } from './many.js'
import { Programs, type DeviceSegment } from './programs.js'
import { slicePiece, type Piece } from './shard-builder.js'

/** Items that a host op has under way at a time: enough for threads of its own, few enough to wait for when one fails. */
const HOST_RUNS = 16

/** A batch step may make thousands of bytes of one: what a call should make, about, and items of the first call. */
const BATCH_BYTES = 16 * 2 ** 20
const FIRST_ROWS = 64

/** Runs the item ops of a recipe on items of equal shapes, device programs and host functions in turn. */
export class Executor {
  readonly #segments: readonly Segment[]
  readonly #stages: readonly Stage[]
  readonly #device: DeviceSource
  /** That of the batch steps. */
  #used: DeviceIdentity | undefined
  /** Items of one call, from what the last call made of its items. */
  readonly #batchRows = new Map<BatchSegment, number>()
  readonly #cuts = new Map<string, Cut>()
  readonly #programs: Programs

  constructor(segments: readonly Segment[], device: DeviceSource) {
    this.#segments = segments
    this.#stages = stagesOf(segments)
    this.#programs = new Programs(device)
    this.#device = device
  }

  /** What it computed on; undefined when nothing had to be computed. */
  get used(): DeviceIdentity | undefined {
    // Of several devices the one that was asked is named.
    return this.#programs.used ?? this.#used
  }

  /** What ops left out of items, as their parameters ask for. */
  get cuts(): readonly Cut[] {
    return [...this.#cuts.values()]
  }

  /** Whether no op keeps what it is given: then nobody but the caller sees what goes in and what comes out. */
  get isClosed(): boolean {
    return this.#segments.every((segment) => segment.kind === 'device' || (segment.kind === 'many' && segment.op.definition.keepsNothing === true))
  }

  /** Items that go together best: what some op takes in one call. A call that is not full may cost as much as one that is. */
  get callItems(): number {
    return Math.max(1, ...this.#segments.map((segment) => segment.kind === 'many' ? segment.op.definition.size(segment.op.params) : 1))
  }

  /** About so many items, at least one: a multiple of `callItems`. */
  wholeCalls(items: number): number {
    return this.callItems * Math.max(1, Math.round(items / this.callItems))
  }

  /** Number of ops. */
  get length(): number {
    return this.#segments.reduce((sum, segment) => sum + (segment.kind === 'device' ? segment.ops.length : 1), 0)
  }

  /**
   * `piece` holds the fields the recipe reads. Gives one piece where shapes stay equal, several where a host op made them differ in more than axis 0.
   * Rejects with NonFiniteError or ItemError for the first item that fails.
   */
  async run(piece: Piece, ids: readonly string[], signal: AbortSignal | undefined): Promise<Piece[]> {
    let pieces: Piece[] = [piece]
    let finite: ReadonlySet<string> = new Set()
    for (const segment of this.#stages) {
      const next: Piece[] = []
      // What is known after a segment is what is known of every piece.
      const known: ReadonlySet<string>[] = []
      let at = 0
      if (segment.kind === 'many' && pieces.length > 1) pieces = rejoined(pieces)
      for (const part of pieces) {
        const names = ids.slice(at, at += part.count)
        if (segment.kind === 'programs') {
          for (const done of await this.#programs.run(segment.programs, part, finite, names)) {
            known.push(done.finite)
            next.push(done.piece)
          }
        } else if (segment.kind === 'batch') {
          next.push(...await this.#runBatch(segment, part, names))
        } else if (segment.kind === 'host') {
          next.push(...await this.#runHost(segment.op, part, names, signal))
        } else if (segment.kind === 'many') {
          next.push(...await runMany(segment, part, names, signal))
        } else {
          throw new ItemError(names[0] ?? '', `op ${segment.op.name} works on whole datasets, not on items`)
        }
      }
      finite = new Set([...known[0] ?? []].filter((name) => known.every((set) => set.has(name))))
      pieces = next
    }
    return pieces
  }

  async #runBatch(segment: BatchSegment, piece: Piece, ids: readonly string[]): Promise<Piece[]> {
    const { op, first } = segment
    const step = op.definition.step(op.params)
    const device = await this.#device.open()
    const pieces: Piece[] = []
    for (let start = 0; start < piece.count;) {
      const rows = this.#batchRows.get(segment) ?? FIRST_ROWS
      const part = slicePiece(piece, start, Math.min(piece.count, start + rows))
      const { fields, faults: [fault], by } = await device.batch(step, { count: part.count, fields: Object.fromEntries(step.reads.map((name) => [name, part.fields[name]!])) })
      if (fault !== undefined) throw new ItemError(ids[start + fault.item] ?? '', `op ${first} (${op.name}): ${fault.message}`)
      if (by === undefined || this.#used === undefined) this.#used = by ?? device.identity
      if (step.cuts !== undefined) this.#count(`op ${first} (${op.name}): ${step.cuts.what}`, fields[step.cuts.field]!.data as Int32Array)
      pieces.push({ count: part.count, fields: { ...part.fields, ...fields } })
      const bytes = Object.values(fields).reduce((sum, made) => sum + dataOf(made).byteLength, 0)
      this.#batchRows.set(segment, Math.max(1, Math.floor(part.count * Math.min(4, BATCH_BYTES / Math.max(1, bytes)))))
      start += part.count
    }
    return pieces
  }

  #count(what: string, counts: Int32Array): void {
    const cut = this.#cuts.get(what) ?? { what, count: 0, items: 0 }
    const items = counts.reduce((sum, count) => sum + (count > 0 ? 1 : 0), 0)
    if (items > 0) this.#cuts.set(what, { what, count: cut.count + counts.reduce((sum, count) => sum + count, 0), items: cut.items + items })
  }

  async #runHost(op: HostSegment['op'], piece: Piece, ids: readonly string[], signal: AbortSignal | undefined): Promise<Piece[]> {
    const made: HostItem[] = []
    const failures = new Map<number, unknown>()
    let next = 0
    const lane = async (): Promise<void> => {
      while (next < piece.count && failures.size === 0) {
        const item = next++
        try {
          made[item] = await runItem(op, piece, item, ids[item] ?? '', signal)
        } catch (error) {
          failures.set(item, error)
        }
      }
    }
    await Promise.all(Array.from({ length: Math.min(HOST_RUNS, piece.count) }, lane))
    // Items begin in order, so of those that fail the first is always among them.
    if (failures.size > 0) throw failures.get(Math.min(...failures.keys()))
    return joinItems(made)
  }
}

/** Sums over the items that were computed: `count` in all, of `items` items. */
export interface Cut {
  /** `op 1 (crystalGraph): edges were cut by maxNeighbors` */
  readonly what: string
  /** How much was cut, in all. */
  readonly count: number
  /** Of how many items. */
  readonly items: number
}

/** Programs in a row are run together: what one leaves on the device the next one takes there. */
type Stage = Exclude<Segment, { kind: 'device' }> | { readonly kind: 'programs'; readonly programs: readonly DeviceSegment[] }

function stagesOf(segments: readonly Segment[]): Stage[] {
  const stages: Stage[] = []
  for (const segment of segments) {
    const last = stages.at(-1)
    if (segment.kind !== 'device') stages.push(segment)
    else if (last?.kind === 'programs') stages[stages.length - 1] = { kind: 'programs', programs: [...last.programs, segment] }
    else stages.push({ kind: 'programs', programs: [segment] })
  }
  return stages
}

type BatchSegment = Extract<Segment, { kind: 'batch' }>
type HostSegment = Extract<Segment, { kind: 'host' }>
type HostItem = Readonly<Record<string, Tensor>>

async function runItem(op: HostSegment['op'], piece: Piece, index: number, id: string, signal: AbortSignal | undefined): Promise<HostItem> {
  const item = Object.fromEntries(Object.entries(piece.fields).map(([name, rows]) => [name, rowOf(rows, index)]))
  let fields: HostItem
  try {
    fields = await op.definition.run(item, op.params, { id, signal })
  } catch (cause) {
    if (signal?.aborted === true || cause instanceof MissingDependencyError) throw cause
    throw new ItemError(id, `op ${op.name} failed: ${(cause as Error).message}`, { cause })
  }
  for (const [name, { dtype, shape, data }] of Object.entries(fields)) {
    const bytes = byteCount(dtype, shape)
    if (data.byteLength !== bytes) throw new ItemError(id, `op ${op.name}: field ${name} has ${data.byteLength} bytes, its dtype and shape say ${bytes}`)
  }
  return fields
}

/** Pieces that an op or a device made apart, put together again as far as their shapes allow. */
function rejoined(pieces: readonly Piece[]): Piece[] {
  return joinItems(pieces.flatMap(({ count, fields }) => Array.from({ length: count }, (_, k) => Object.fromEntries(Object.entries(fields).map(([name, rows]) => [name, rowOf(rows, k)])))))
}

/** Consecutive items that differ in nothing or in axis 0 become one piece, so that what follows runs in batches. */
function joinItems(items: readonly HostItem[]): Piece[] {
  const alike = items.map((item) => JSON.stringify(Object.entries(item).map(([name, { dtype, shape }]) => [name, dtype, shape.length, ...shape.slice(1)])))
  const pieces: Piece[] = []
  for (let from = 0; from < items.length;) {
    let to = from + 1
    while (to < items.length && alike[to] === alike[from]) to++
    const joined = items.slice(from, to)
    pieces.push({ count: joined.length, fields: Object.fromEntries(Object.keys(joined[0]!).map((name) => [name, joinRows(joined.map((item) => item[name]!))])) })
    from = to
  }
  return pieces
}
