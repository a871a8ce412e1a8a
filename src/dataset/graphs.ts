import type { FieldSpecs, Tensor } from '../core/tensor.js'
import { native } from '../native/load.js'

/** The two fields that become `edge_index`. */
export const SOURCE = 'edge_source'
export const TARGET = 'edge_target'
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

/** Bytes that the numbers of a batch's nodes and edges take, beside its fields. */
export function numberingBytes(graphs: number, nodes: number, edges: number): number {
  return align(4 * (graphs + 1)) + align(4 * nodes) + align(8 * edges)
}

/**
 * A batch as PyTorch Geometric has it, from its concatenated and stacked fields: `edge_index` is edge_source and edge_target with the nodes of the graphs before added,
 * `batch` says which graph a node is of, `ptr` where each graph's nodes begin. They lie in `memory` from byte `offset` on.
 */
export function assembleGraphs(into: Record<string, unknown>, { nodes, ragged, fixed, edges }: GraphFields, graphs: number, fields: ReadonlyMap<string, Tensor>, offsets: (field: string) => Float64Array, memory: ArrayBuffer, offset: number): void {
  for (const field of fixed) into[field] = fields.get(field)
  for (const field of ragged) if (!edges || (field !== SOURCE && field !== TARGET)) into[field] = fields.get(field)
  const starts = offsets(nodes)
  const ptr = new Int32Array(memory, offset, graphs + 1)
  ptr.set(starts)
  const batch = new Int32Array(memory, offset += align(4 * ptr.length), starts[graphs])
  native().numberNodes(starts, batch)
  into.batch = { dtype: 'int32', shape: [batch.length], data: batch }
  into.ptr = { dtype: 'int32', shape: [graphs + 1], data: ptr }
  if (!edges) return
  const ends = [SOURCE, TARGET].map((field) => fields.get(field)!.data as Int32Array)
  const count = ends[0]!.length
  const index = new Int32Array(memory, offset += align(4 * batch.length), 2 * count)
  const edgeStarts = offsets(SOURCE)
  ends.forEach((end, row) => native().numberEdges(starts, edgeStarts, end, index.subarray(row * count, (row + 1) * count)))
  into.edge_index = { dtype: 'int32', shape: [2, count], data: index }
}

/** Fields begin on cache lines. */
export function align(bytes: number): number {
  return Math.ceil(bytes / 64) * 64
}
