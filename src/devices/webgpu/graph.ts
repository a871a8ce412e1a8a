import { joinRows, isRagged, rowOf, type Ragged, type Rows } from '../../core/rows.js'
import type { TypedArray } from '../../core/dtype.js'
import type { Batch, BatchResult, BatchStep } from '../../ops/batch.js'
import { joinEdges, type Edges } from './edges.js'
import type { Crystals, NeighborSearch } from './neighbors.js'

/** The batch step crystal-graph as a search for neighbours, and its edges as fields. */

const CUTOFF_MAX = 1024

/** What the step looks for; undefined for one that only the CPU does, or refuses. */
export function searchOf({ kernel, params }: BatchStep): NeighborSearch | undefined {
  if (kernel !== 'crystal-graph') return undefined
  const { method, cutoff, maxNeighbors, selfLoops, nearest, ties } = params
  if (method === 'radius') {
    if (typeof cutoff !== 'number' || !(cutoff > 0 && cutoff <= CUTOFF_MAX) || !isWord(maxNeighbors) || typeof selfLoops !== 'boolean') return undefined
    return { cutoff, maxNeighbors, selfLoops, nearest: 0, keepTies: false }
  }
  if (method !== 'knn' || !isWord(nearest) || nearest === 0 || (ties !== 'keep' && ties !== 'cut')) return undefined
  return { cutoff: 0, maxNeighbors: 0, selfLoops: false, nearest, keepTies: ties === 'keep' }
}

function isWord(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) >= 0 && (value as number) < 2 ** 32
}

/** The structures of a batch, without copying what is large; undefined for fields that are not what the step takes, and that only the CPU shall refuse. */
export function crystalsOf({ count, fields }: Batch): Crystals | undefined {
  const { numbers, frac_coords: coordinates, lattice } = fields
  if (!Number.isSafeInteger(count) || count < 0 || numbers === undefined || coordinates === undefined || lattice === undefined) return undefined
  const ends = offsetsOf(numbers, count, 1)
  const offsets = offsetsOf(coordinates, count, 3)
  if (ends === undefined || offsets === undefined || !offsets.every((offset, k) => offset === ends[k])) return undefined
  const first = isRagged(coordinates) ? 3 * coordinates.offsets[0]! : 0
  const frac = coordinates.data.subarray(first, first + 3 * offsets[count]!)
  if (!isDoubles(frac) || isRagged(lattice) || !isDoubles(lattice.data) || lattice.data.length !== 9 * count) return undefined
  return { offsets, frac, lattice: lattice.data }
}

/** Where the atoms of each structure begin, from 0. */
function offsetsOf(rows: Rows, count: number, perAtom: number): Float64Array | undefined {
  const tail = perAtom === 1 ? '' : `${perAtom}`
  if (!isRagged(rows)) {
    const [items, atoms, ...rest] = rows.shape
    if (items !== count || atoms === undefined || rest.join() !== tail || rows.data.length !== count * atoms * perAtom) return undefined
    return Float64Array.from({ length: count + 1 }, (_, k) => k * atoms)
  }
  const { offsets, data } = rows
  const rises = offsets.every((offset, k) => Number.isSafeInteger(offset) && offset >= (k === 0 ? 0 : offsets[k - 1]!))
  if (offsets.length !== count + 1 || rows.tail.join() !== tail || !rises || offsets[count]! * perAtom > data.length) return undefined
  return offsets.map((offset) => offset - offsets[0]!)
}

function isDoubles(data: TypedArray): data is Float64Array {
  return data instanceof Float64Array && data.buffer instanceof ArrayBuffer
}

/** Some items of a batch, copied. There must be at least one. */
export function chosen({ fields }: Batch, items: ArrayLike<number>): Batch {
  return { count: items.length, fields: Object.fromEntries(Object.entries(fields).map(([name, rows]) => [name, joinRows(Array.from(items, (item) => rowOf(rows, item)))])) }
}

/** Puts what the CPU found for `items` into the edges of a batch, which has none of them. */
export function withItems(edges: Edges, items: Uint32Array, { fields }: BatchResult): Edges {
  const count = edges.offsets.length - 1
  const column = (name: string): TypedArray => fields[name]!.data
  const theirs: Edges = {
    offsets: (fields.edge_source as Ragged).offsets, source: column('edge_source') as Int32Array, target: column('edge_target') as Int32Array, image: column('edge_image') as Int16Array,
    distance: column('edge_distance') as Float32Array, vector: column('edge_vector') as Float32Array, cut: fields.edges_cut === undefined ? new Int32Array(items.length) : column('edges_cut') as Int32Array,
  }
  const ours = Int32Array.from({ length: count }, (_, item) => item)
  for (const item of items) ours[item] = -1
  return joinEdges(count, [{ items: ours, edges }, { items, edges: theirs }])
}
