import { dataOf, isRagged, rowOf, rowsOf, type Rows } from '../core/rows.js'
import type { FieldSpecs, Tensor } from '../core/tensor.js'
import { native } from '../native/load.js'
import type { ItemRows } from '../ops/op.js'
import type { BatchPlan } from './batch-options.js'
import { partsOf, type BatchFields, type Maker } from './batches.js'
import { collated, type Item } from './collate.js'
import { assembleGraphs, numberingBytes, SOURCE, type GraphFields } from './graphs.js'

/** Items that are had as rows, or one by one. */
export interface RowItems {
  readonly fields: FieldSpecs
  id(index: number): string
  rows(indices: Float64Array, fields: readonly string[], signal: AbortSignal | undefined): Promise<ItemRows>
  item(index: number, fields: readonly string[], signal: AbortSignal | undefined): Promise<Item>
}

/** Whether these fields differ between items in axis 0 at most, so that items can be had as rows. */
export function isUniform(specs: FieldSpecs, fields: readonly string[]): boolean {
  return fields.every((name) => !specs[name]!.shape.slice(1).includes(null))
}

/** Batches of items as rows where they can be, otherwise one by one. */
export class RowsMaker implements Maker {
  readonly #items: RowItems
  readonly #plan: BatchPlan
  readonly #stop = new AbortController()

  constructor(items: RowItems, plan: BatchPlan) {
    this.#items = items
    this.#plan = plan
  }

  async make(indices: Float64Array, batches: number): Promise<BatchFields[]> {
    const { fields, size, signal, collate } = this.#plan
    const either = signal === undefined ? this.#stop.signal : AbortSignal.any([signal, this.#stop.signal])
    if (collate === 'stack') {
      // Several small batches in one go.
      const rows = await this.#items.rows(indices, fields, either)
      return Array.from({ length: batches }, (_, k): BatchFields => Object.fromEntries(fields.map((name) => [name, rowsOf(rows.fields[name]!, k * size, k === batches - 1 ? indices.length : (k + 1) * size)])))
    }
    const made: BatchFields[] = []
    for (const part of partsOf(indices, size, batches)) {
      if (isUniform(this.#items.fields, fields)) made.push(await batchOfRows(part, await this.#items.rows(part, fields, either), this.#items, this.#plan))
      else made.push(await collated(await Promise.all(Array.from(part, (index) => this.#items.item(index, fields, either))), this.#plan))
    }
    return made
  }

  stop(): void {
    this.#stop.abort(new Error('nobody waits for it'))
  }
}

/** A batch of items that lie in rows, as `collate` has it. */
export async function batchOfRows(indices: Float64Array, { fields }: ItemRows, of: Pick<RowItems, 'id'>, plan: BatchPlan): Promise<BatchFields> {
  if (plan.graph !== undefined) return graphOf(indices.length, fields, plan.graph)
  if (plan.collate === 'stack') return { ...fields }
  const items = Array.from(indices, (index, k): Item => ({ id: of.id(index), ...Object.fromEntries(plan.fields.map((name) => [name, rowOf(fields[name]!, k)])) }))
  return collated(items, plan)
}

function graphOf(count: number, rows: ItemRows['fields'], graph: GraphFields): BatchFields {
  const fields = new Map(Object.entries(rows).map(([name, of]): [string, Tensor] => [name, graph.ragged.includes(name) ? joinedRows(of) : of as Tensor]))
  const offsets = (name: string): Float64Array => offsetsOf(rows[name]!)
  const memory = native().pooledBuffer(numberingBytes(count, offsets(graph.nodes).at(-1)!, graph.edges ? offsets(SOURCE).at(-1)! : 0))
  const batch: BatchFields = {}
  assembleGraphs(batch, graph, count, fields, offsets, memory, 0)
  return batch
}

/** All rows of all items as one tensor; those of items that happen to have equally many are a tensor already. */
function joinedRows(rows: Rows): Tensor {
  if (!isRagged(rows)) return { ...rows, shape: [rows.shape[0]! * rows.shape[1]!, ...rows.shape.slice(2)] }
  const { dtype, tail } = rows
  return { dtype, shape: [rows.offsets.at(-1)! - rows.offsets[0]!, ...tail], data: dataOf(rows) } as Tensor
}

function offsetsOf(rows: Rows): Float64Array {
  if (!isRagged(rows)) return Float64Array.from({ length: rows.shape[0]! + 1 }, (_, k) => k * rows.shape[1]!)
  const first = rows.offsets[0]!
  return first === 0 ? rows.offsets : rows.offsets.map((at) => at - first)
}
