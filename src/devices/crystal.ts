import type { TypedArray } from '../core/dtype.js'
import { dataOf, isRagged, shapeOf, type Rows } from '../core/rows.js'
import { emptyTensor, type Tensor } from '../core/tensor.js'
import type { NativeGraphMethod, NativeStructures } from '../native/addon.js'
import { native } from '../native/load.js'
import type { Batch, BatchResult, BatchStep } from '../ops/batch.js'
import { CRYSTAL } from '../ops/crystal-fields.js'

/** Batch steps on crystals, by the addon. */
export async function runCrystalStep(step: BatchStep, batch: Batch, threads: number): Promise<BatchResult> {
  const uneven = unevenItem(step, batch)
  if (uneven !== undefined) return { fields: {}, faults: [uneven] }
  switch (step.kernel) {
    case 'niggli': return niggli(batch, threads)
    case 'lattice-parameters': return latticeParameters(step, batch)
    case 'crystal-graph': return crystalGraph(step, batch, threads)
  }
}

/** The first item whose fields disagree about how many atoms it has. */
export function unevenItem({ reads }: BatchStep, { count, fields }: Batch): BatchResult['faults'][number] | undefined {
  const byAtom = reads.filter((name) => name !== CRYSTAL.lattice)
  for (let item = 0; item < count; item++) {
    const lengths = byAtom.map((name) => shapeOf(fields[name]!, item)[0]!)
    if (lengths.some((length) => length !== lengths[0])) return { item, message: `expected as many atoms in each field, found ${byAtom.map((name, k) => `${lengths[k]} in ${name}`).join(', ')}` }
  }
  return undefined
}

/** Where each structure's atoms begin, from 0. */
export function atomOffsets({ count, fields }: Batch): Float64Array {
  const rows = fields[CRYSTAL.frac]!
  if (!isRagged(rows)) return Float64Array.from({ length: count + 1 }, (_, k) => k * rows.shape[1]!)
  const first = rows.offsets[0]!
  return first === 0 ? rows.offsets : rows.offsets.map((at) => at - first)
}

/** How many atoms each structure has, as the field `num_atoms`. */
export function atomCounts(offsets: Float64Array): Tensor {
  return { dtype: 'int32', shape: [offsets.length - 1], data: Int32Array.from({ length: offsets.length - 1 }, (_, k) => offsets[k + 1]! - offsets[k]!) }
}

/** The arrays of a batch in the form native code takes. */
export function structuresOf(batch: Batch, offsets: Float64Array): NativeStructures {
  return { offsets, frac: dataOf(batch.fields[CRYSTAL.frac]!) as Float64Array, lattices: dataOf(batch.fields[CRYSTAL.lattice]!) as Float64Array }
}

async function niggli(batch: Batch, threads: number): Promise<BatchResult> {
  const structures = structuresOf(batch, atomOffsets(batch))
  const lattice = emptyTensor('float64', [batch.count, 3, 3])
  const [frac, coordinates] = alike(batch.fields[CRYSTAL.frac]!)
  const faults = await native().niggli(structures, { lattices: lattice.data as Float64Array, frac: coordinates as Float64Array }, threads)
  return { fields: { [CRYSTAL.frac]: frac, [CRYSTAL.lattice]: lattice }, faults }
}

/** Rows of the same lengths with data of their own. */
function alike(rows: Rows): [Rows, TypedArray] {
  const length = dataOf(rows).length
  if (!isRagged(rows)) {
    const tensor = emptyTensor(rows.dtype, rows.shape)
    return [tensor, tensor.data]
  }
  const { data } = emptyTensor(rows.dtype, [length])
  const first = rows.offsets[0]!
  return [{ ...rows, offsets: rows.offsets.map((at) => at - first), data }, data]
}

async function latticeParameters({ params }: BatchStep, { count, fields }: Batch): Promise<BatchResult> {
  const made = (): Tensor<'float64'> => emptyTensor('float64', [count, 3])
  const [lengths, angles] = [made(), made()]
  const lattices = dataOf(fields[CRYSTAL.lattice]!) as Float64Array
  if (params.scaled !== true) return { fields: { lengths, angles }, faults: await native().latticeParameters(lattices, { lengths: lengths.data, angles: angles.data }) }
  const scaled = made()
  const atoms = Int32Array.from({ length: count }, (_, item) => shapeOf(fields[CRYSTAL.numbers]!, item)[0]!)
  const faults = await native().latticeParameters(lattices, { lengths: lengths.data, angles: angles.data, scaled: scaled.data }, atoms)
  return { fields: { lengths, angles, scaled_lengths: scaled }, faults }
}

async function crystalGraph({ params }: BatchStep, batch: Batch, threads: number): Promise<BatchResult> {
  const offsets = atomOffsets(batch)
  const numbers = dataOf(batch.fields[CRYSTAL.numbers]!) as Int32Array
  const { oxidation, ...method } = params
  const states = typeof oxidation === 'string' ? { oxidation: dataOf(batch.fields[oxidation]!) as Float64Array } : {}
  const graphs = await native().crystalGraph({ ...structuresOf(batch, offsets), numbers, ...states }, method as NativeGraphMethod, threads)
  const edges = graphs.offsets
  return {
    fields: {
      edge_source: { dtype: 'int32', tail: [], offsets: edges, data: graphs.source },
      edge_target: { dtype: 'int32', tail: [], offsets: edges, data: graphs.target },
      edge_image: { dtype: 'int16', tail: [3], offsets: edges, data: graphs.image },
      edge_distance: { dtype: 'float32', tail: [], offsets: edges, data: graphs.distance },
      edge_vector: { dtype: 'float32', tail: [3], offsets: edges, data: graphs.vector },
      num_atoms: atomCounts(offsets),
      ...(params.method === 'radius' && params.maxNeighbors !== 0 && { edges_cut: { dtype: 'int32', shape: [batch.count], data: graphs.cut } as Tensor }),
      ...(graphs.weight !== undefined && { edge_weight: { dtype: 'float32', tail: [], offsets: edges, data: graphs.weight } }),
    },
    faults: graphs.faults,
  }
}
