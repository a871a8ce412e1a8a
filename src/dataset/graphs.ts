import { concatRows, stackRows } from '../core/rows.js'
import type { FieldSpecs, Tensor } from '../core/tensor.js'
import type { Item } from './collate.js'
import type { Span } from './shards.js'

/** The two fields that become `edge_index`. */
const SOURCE = 'edge_source'
const TARGET = 'edge_target'
const MADE = ['batch', 'ptr', 'edge_index']

/** Which fields of a dataset are what in a batch of graphs. */
export interface GraphFields {
  /** One row per node; says how many nodes a graph has. */
  readonly nodes: string
  /** Fields of any length per graph, concatenated. */
  readonly ragged: readonly string[]
  /** Fields of one shape per graph, stacked. */
  readonly fixed: readonly string[]
  readonly edges: boolean
}

/** Sorts `fields`. Throws TypeError where a batch of graphs cannot be made of them. */
export function graphFields(specs: FieldSpecs, fields: readonly string[], nodes: string): GraphFields {
  const taken = fields.find((field) => MADE.includes(field))
  if (taken !== undefined) throw new TypeError(`batches: collate 'graph' makes ${MADE.join(', ')} itself, but the dataset has a field ${taken}; leave it out`)
  const ragged = fields.filter((field) => specs[field]!.shape[0] === null)
  const odd = fields.find((field) => specs[field]!.shape.slice(1).includes(null))
  if (odd !== undefined) throw new TypeError(`batches: collate 'graph' concatenates along axis 0, but field ${odd} differs between items in others as well; leave it out`)
  if (!ragged.includes(nodes)) throw new TypeError(`batches: collate 'graph' counts a graph's nodes by the field ${nodes}, which must be among the fields and differ in length; name another as nodeField`)
  const edges = fields.includes(SOURCE) && fields.includes(TARGET)
  if (!edges && (fields.includes(SOURCE) || fields.includes(TARGET))) throw new TypeError(`batches: collate 'graph' needs both ${SOURCE} and ${TARGET}, or neither`)
  if (edges && (specs[SOURCE]!.dtype !== 'int32' || specs[TARGET]!.dtype !== 'int32')) throw new TypeError(`batches: ${SOURCE} and ${TARGET} must be int32, not ${specs[SOURCE]!.dtype} and ${specs[TARGET]!.dtype}`)
  return { nodes, ragged, fixed: fields.filter((field) => !ragged.includes(field)), edges }
}

/**
 * A batch as PyTorch Geometric has it, from items that follow one another in a shard: fields of nodes and edges are views, `edge_index` is edge_source and edge_target with the
 * nodes of the graphs before added, `batch` says which graph a node is of, `ptr` where each graph's nodes begin.
 */
export function consecutiveGraphs(into: Record<string, unknown>, { nodes, ragged, fixed, edges }: GraphFields, count: number, span: (field: string) => Span, view: (field: string) => Tensor): void {
  const spans = new Map(ragged.map((field) => [field, span(field)]))
  for (const field of fixed) into[field] = view(field)
  for (const [field, { tensor }] of spans) if (!edges || (field !== SOURCE && field !== TARGET)) into[field] = tensor
  number(into, count, spans.get(nodes)!, edges ? [spans.get(SOURCE)!, spans.get(TARGET)!] : undefined)
}

/** The same of items from anywhere: everything is copied. */
export function gatheredGraphs(into: Record<string, unknown>, { nodes, ragged, fixed, edges }: GraphFields, items: readonly Item[]): void {
  const spans = new Map(ragged.map((field): [string, Span] => {
    const { dtype, tail, offsets, data } = concatRows(items.map((item) => item[field] as Tensor))
    return [field, { tensor: { dtype, shape: [offsets.at(-1)!, ...tail], data } as Tensor, offsets }]
  }))
  for (const field of fixed) into[field] = stackRows(items.map((item) => item[field] as Tensor))
  for (const [field, { tensor }] of spans) if (!edges || (field !== SOURCE && field !== TARGET)) into[field] = tensor
  number(into, items.length, spans.get(nodes)!, edges ? [spans.get(SOURCE)!, spans.get(TARGET)!] : undefined)
}

function number(into: Record<string, unknown>, graphs: number, nodes: Span, edges: readonly [Span, Span] | undefined): void {
  const ptr = Int32Array.from(nodes.offsets)
  const batch = new Int32Array(ptr[graphs]!)
  for (let graph = 0; graph < graphs; graph++) batch.fill(graph, ptr[graph], ptr[graph + 1])
  into.batch = { dtype: 'int32', shape: [batch.length], data: batch }
  into.ptr = { dtype: 'int32', shape: [graphs + 1], data: ptr }
  if (edges === undefined) return
  const count = edges[0].tensor.data.length
  const index = new Int32Array(2 * count)
  edges.forEach(({ tensor: { data }, offsets }, row) => {
    const from = data as Int32Array
    for (let graph = 0; graph < graphs; graph++) {
      const before = ptr[graph]!
      for (let edge = offsets[graph]!, stop = offsets[graph + 1]!; edge < stop; edge++) index[row * count + edge] = from[edge]! + before
    }
  })
  into.edge_index = { dtype: 'int32', shape: [2, count], data: index }
}
