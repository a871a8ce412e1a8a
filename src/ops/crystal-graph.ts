import type { DType } from '../core/dtype.js'
import { boolean, checkOptions, choice, number, show } from '../core/options.js'
import type { BatchStep } from './batch.js'
import { CRYSTAL, expectCrystal, needsAdded, withAdded } from './crystal-fields.js'
import { describe, fieldOf, objectParam } from './fields.js'
import { callOf, type BatchOp, type OpCall, type OpParams } from './op.js'

/** Edges by distance. */
export interface RadiusGraphOptions {
  /** Edges to all atoms within `cutoff` Å, up to 1024, images of the atom itself among them. */
  readonly method: 'radius'
  /** Å. */
  readonly cutoff: number
  /** Keeps so many of each atom's edges, the nearest, ties by (target, image); `edges_cut` tells how many were left out. Default: all. */
  readonly maxNeighbors?: number
  /** Adds an edge from each atom to itself, of distance 0; `maxNeighbors` does not count it. Default: false. */
  readonly selfLoops?: boolean
}

/** Edges by number. */
export interface KnnGraphOptions {
  /** Edges to the `k` nearest atoms, however far they are, up to 1024 Å. */
  readonly method: 'knn'
  /** Neighbours of each atom at least. */
  readonly k: number
  /** Atoms as near as the last: `keep` (default) has them all, `cut` takes those first by (target, image) until there are `k`. */
  readonly ties?: 'keep' | 'cut'
}

/** Edges by Voronoi cells, as pymatgen. */
export interface CrystalNNOptions {
  /**
   * Edges to the atoms that share a Voronoi facet of a large solid angle: pymatgen's `CrystalNN`. The defaults are those of CDVAE and its successors,
   * `CrystalNN(distance_cutoffs=None, x_diff_weight=-1, porous_adjustment=False)`.
   */
  readonly method: 'crystalnn'
  /** Every possible neighbour, with the probability that it is one as `edge_weight`, instead of the most probable set. Default: false. */
  readonly weightedCn?: boolean
  /** Å beyond the sum of two radii: weights fall from 1 to 0 between them. Default: null, none; pymatgen's is [0.5, 1]. */
  readonly distanceCutoffs?: readonly [number, number] | null
  /** Of the difference of electronegativities; 0 or less: none. Default: -1; pymatgen's is 3. */
  readonly xDiffWeight?: number
  /** Weights facets by solid angle per area, for porous crystals. Default: false; pymatgen's is true. */
  readonly porousAdjustment?: boolean
  /** Å around an atom in which the points of its Voronoi cell lie; doubled while the cell is open. Default: 7. */
  readonly searchCutoff?: number
  /** Only neighbours of the opposite charge, or none. Needs `oxidation`. Default: false. */
  readonly cationAnion?: boolean
  /** Name of a float64 [n] field with oxidation states, for `cationAnion`, and for ionic radii with `distanceCutoffs`. Default: none. */
  readonly oxidation?: string
}

/** Options of `crystalGraph`: which pairs of atoms become edges. */
export type CrystalGraphOptions = RadiusGraphOptions | KnnGraphOptions | CrystalNNOptions

const OPTIONS = {
  radius: ['method', 'cutoff', 'maxNeighbors', 'selfLoops'],
  knn: ['method', 'k', 'ties'],
  crystalnn: ['method', 'weightedCn', 'distanceCutoffs', 'xDiffWeight', 'porousAdjustment', 'searchCutoff', 'cationAnion', 'oxidation'],
} as const

/** Å. Atoms nearer than about the least are in one place; beyond the greatest, displacements are no longer exact. */
const LENGTH = { min: 0.001, max: 1024 }
const COUNT = { integer: true, min: 1, max: 2 ** 20 }

export const crystalGraphOp: BatchOp = {
  name: 'crystalGraph', version: 1, scope: 'item', kind: 'batch', draws: false, exact: true,
  params(given) {
    const where = 'crystalGraph'
    const options = objectParam(where, given)
    const method = choice(where, 'method', options.method, ['radius', 'knn', 'crystalnn'])
    checkOptions(where, options, OPTIONS[method])
    if (method === 'radius') {
      const { maxNeighbors } = options
      return {
        method,
        cutoff: number(where, 'cutoff', options.cutoff, LENGTH),
        maxNeighbors: maxNeighbors === undefined || maxNeighbors === null ? null : number(where, 'maxNeighbors', maxNeighbors, COUNT),
        selfLoops: boolean(where, 'selfLoops', options.selfLoops, false),
      }
    }
    if (method === 'knn') return { method, k: number(where, 'k', options.k, COUNT), ties: choice(where, 'ties', options.ties, ['keep', 'cut'], 'keep') }
    const { oxidation = null, cationAnion } = options
    if (oxidation !== null && typeof oxidation !== 'string') throw new TypeError(`${where}: oxidation must be the name of a field, not ${show(oxidation)}`)
    if (cationAnion === true && oxidation === null) throw new TypeError(`${where}: cationAnion needs oxidation, the name of a field with oxidation states`)
    return {
      method,
      weightedCn: boolean(where, 'weightedCn', options.weightedCn, false),
      distanceCutoffs: cutoffs(where, options.distanceCutoffs),
      xDiffWeight: number(where, 'xDiffWeight', options.xDiffWeight, {}, -1),
      porousAdjustment: boolean(where, 'porousAdjustment', options.porousAdjustment, false),
      searchCutoff: number(where, 'searchCutoff', options.searchCutoff, LENGTH, 7),
      cationAnion: boolean(where, 'cationAnion', cationAnion, false),
      oxidation,
    }
  },
  infer(fields, params, fail) {
    expectCrystal(fields, [CRYSTAL.numbers, CRYSTAL.frac, CRYSTAL.lattice], fail)
    if (params.oxidation != null) {
      const field = fieldOf(fields, params.oxidation, fail)
      if (field.dtype !== 'float64' || field.shape.length !== 1) fail(`expected for field ${params.oxidation} float64 [n], found ${describe(field)}`)
    }
    return withAdded(fields, written(params), SHAPES, fail)
  },
  needs: (_fields, params, wanted) => needsAdded(written(params), reads(params), wanted),
  step: (params) => ({
    kernel: 'crystal-graph', reads: reads(params), writes: written(params), params: kernelParams(params),
    ...(params.maxNeighbors != null && { cuts: { field: 'edges_cut', what: 'edges were cut by maxNeighbors' } }),
  }),
}

/**
 * The graph of each crystal's atoms: all periodic images, any cell, both directions of every bond. Atoms pass through; added are, ragged along axis 0 and sorted by
 * (source, target, image):
 *
 * - `edge_source`, `edge_target` int32 [E]: atoms of the item, from 0;
 * - `edge_image` int16 [E, 3]: cells, along the lattice vectors, from the source's cell to the target's;
 * - `edge_vector` float32 [E, 3] in Å: (frac_coords[target] + image − frac_coords[source]) · lattice;
 * - `edge_distance` float32 [E] in Å;
 * - `num_atoms` int32 [];
 * - with `maxNeighbors`: `edges_cut` int32 [], how many edges it left out;
 * - with `weightedCn`: `edge_weight` float32 [E], from 0 to 1.
 *
 * `radius` counts an atom in when distance² < cutoff² + 1e-8 Å², as pymatgen does. `radius` and `knn` are decided in integers, and give the same bytes on
 * every device. An item with coincident atoms, a flat cell or an image beyond ±32767 is an ItemError.
 *
 * Sources: nested intervals over images, U. Fincke, M. Pohst, Math. Comp. 44 (1985) 463-471; CrystalNN, N. E. R. Zimmermann, A. Jain, RSC Adv. 10 (2020) 6063
 * and H. Pan et al., Inorg. Chem. 60 (2021) 1590.
 */
export function crystalGraph(options: CrystalGraphOptions): OpCall {
  return callOf(crystalGraphOp, options)
}

const SHAPES: Readonly<Record<string, readonly (number | null)[]>> = {
  edge_source: [null], edge_target: [null], edge_image: [null, 3], edge_distance: [null], edge_vector: [null, 3], edge_weight: [null], num_atoms: [], edges_cut: [],
}

function written(params: OpParams): BatchStep['writes'] {
  const edges: { field: string; dtype: DType }[] = [
    { field: 'edge_source', dtype: 'int32' }, { field: 'edge_target', dtype: 'int32' }, { field: 'edge_image', dtype: 'int16' },
    { field: 'edge_distance', dtype: 'float32' }, { field: 'edge_vector', dtype: 'float32' }, { field: 'num_atoms', dtype: 'int32' },
  ]
  if (params.maxNeighbors != null) edges.push({ field: 'edges_cut', dtype: 'int32' })
  if (params.weightedCn === true) edges.push({ field: 'edge_weight', dtype: 'float32' })
  return edges
}

function reads(params: OpParams): string[] {
  return [CRYSTAL.numbers, CRYSTAL.frac, CRYSTAL.lattice, ...(params.oxidation == null ? [] : [params.oxidation as string])]
}

function kernelParams({ method, ...params }: OpParams): BatchStep['params'] {
  if (method === 'radius') return { method, cutoff: params.cutoff, maxNeighbors: params.maxNeighbors ?? 0, selfLoops: params.selfLoops }
  if (method === 'knn') return { method, nearest: params.k, ties: params.ties }
  const { distanceCutoffs, ...plain } = params
  const [cutoffLow, cutoffHigh] = distanceCutoffs ?? [0, 0]
  return { method, ...plain, hasDistanceCutoffs: distanceCutoffs !== null, cutoffLow, cutoffHigh }
}

function cutoffs(where: string, value: unknown): readonly [number, number] | null {
  if (value === undefined || value === null) return null
  const [low, high] = Array.isArray(value) && value.length === 2 ? value as [unknown, unknown] : [NaN, NaN]
  if (!(Number.isFinite(low) && Number.isFinite(high) && (low as number) <= (high as number))) throw new TypeError(`${where}: distanceCutoffs must be two lengths in Å, the lower first, or null, not ${show(value)}`)
  return [low as number, high as number]
}
