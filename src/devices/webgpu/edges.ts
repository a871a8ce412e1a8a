/** Directed edges of several structures, one structure after the other. */
export interface Edges {
  /** [structures + 1], from 0: where the edges of each begin. */
  readonly offsets: Float64Array
  readonly source: Int32Array
  readonly target: Int32Array
  /** [edges, 3] */
  readonly image: Int16Array
  readonly distance: Float32Array
  /** [edges, 3] */
  readonly vector: Float32Array
  /** [structures]: how many edges a bound on neighbours has left out. */
  readonly cut: Int32Array
}

/** Edges of some structures of a batch. */
export interface Piece {
  /** Which ones, in the order of `edges`; -1 for one whose edges do not count. */
  readonly items: ArrayLike<number>
  readonly edges: Edges
}

/** With room for the edges that `offsets` says. */
export function emptyEdges(offsets: Float64Array): Edges {
  const size = offsets.at(-1)!
  return {
    offsets, source: new Int32Array(size), target: new Int32Array(size), image: new Int16Array(3 * size), distance: new Float32Array(size), vector: new Float32Array(3 * size),
    cut: new Int32Array(offsets.length - 1),
  }
}

/** The edges of a batch of `count` structures, each of which is in one piece at most. */
export function joinEdges(count: number, pieces: readonly Piece[]): Edges {
  const [only] = pieces
  if (pieces.length === 1 && only!.items.length === count && Array.prototype.every.call(only!.items, (item, at) => item === at)) return only!.edges
  const offsets = new Float64Array(count + 1)
  for (const { items, edges } of pieces) {
    for (let at = 0; at < items.length; at++) if (items[at]! >= 0) offsets[items[at]! + 1] = edges.offsets[at + 1]! - edges.offsets[at]!
  }
  for (let item = 0; item < count; item++) offsets[item + 1]! += offsets[item]!
  const joined = emptyEdges(offsets)
  for (const { items, edges } of pieces) {
    for (let at = 0; at < items.length;) {
      const first = items[at]!
      const begin = at++
      if (first < 0) continue
      // Those that follow one another in both are copied together.
      while (at < items.length && items[at] === first + at - begin) at++
      const [start, stop, to] = [edges.offsets[begin]!, edges.offsets[at]!, offsets[first]!]
      joined.source.set(edges.source.subarray(start, stop), to)
      joined.target.set(edges.target.subarray(start, stop), to)
      joined.image.set(edges.image.subarray(3 * start, 3 * stop), 3 * to)
      joined.distance.set(edges.distance.subarray(start, stop), to)
      joined.vector.set(edges.vector.subarray(3 * start, 3 * stop), 3 * to)
      joined.cut.set(edges.cut.subarray(begin, at), first)
    }
  }
  return joined
}
