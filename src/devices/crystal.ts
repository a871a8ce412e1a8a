import type { TypedArray } from '../core/dtype.js'
import { dataOf, isRagged, shapeOf, type Rows } from '../core/rows.js'
import { emptyTensor, type Tensor } from '../core/tensor.js'
import type { NativeGraphMethod, NativeGraphs, NativeStructures } from '../native/addon.js'
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
function unevenItem({ reads }: BatchStep, { count, fields }: Batch): BatchResult['faults'][number] | undefined {
  const byAtom = reads.filter((name) => name !== CRYSTAL.lattice)
  for (let item = 0; item < count; item++) {
    const lengths = byAtom.map((name) => shapeOf(fields[name]!, item)[0]!)
    if (lengths.some((length) => length !== lengths[0])) return { item, message: `expected as many atoms in each field, found ${byAtom.map((name, k) => `${lengths[k]} in ${name}`).join(', ')}` }
  }
  return undefined
}

/** Where each structure's atoms begin, from 0. */
function atomOffsets({ count, fields }: Batch): Float64Array {
  const rows = fields[CRYSTAL.frac]!
  if (!isRagged(rows)) return Float64Array.from({ length: count + 1 }, (_, k) => k * rows.shape[1]!)
  const first = rows.offsets[0]!
  return first === 0 ? rows.offsets : rows.offsets.map((at) => at - first)
}

/** The arrays of a batch in the form native code takes. */
function structuresOf(batch: Batch, offsets: Float64Array): NativeStructures {
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

async function crystalGraph(step: BatchStep, batch: Batch, threads: number): Promise<BatchResult> {
  const offsets = atomOffsets(batch)
  const numbers = dataOf(batch.fields[CRYSTAL.numbers]!) as Int32Array
  const { oxidation, ...method } = step.params
  const states = typeof oxidation === 'string' ? { oxidation: dataOf(batch.fields[oxidation]!) as Float64Array } : {}
  const { faults, ...edges } = await native().crystalGraph({ ...structuresOf(batch, offsets), numbers, ...states }, method as NativeGraphMethod, threads)
  return { fields: edgeFields(step, offsets, edges), faults }
}

/** Edges as the fields that the step writes; `atoms` says where each structure's atoms begin. */
export function edgeFields({ writes }: BatchStep, atoms: Float64Array, { offsets, source, target, image, distance, vector, weight, cut }: Omit<NativeGraphs, 'faults'>): Record<string, Rows> {
  const count = atoms.length - 1
  const all: Record<string, Rows> = {
    edge_source: { dtype: 'int32', tail: [], offsets, data: source },
    edge_target: { dtype: 'int32', tail: [], offsets, data: target },
    edge_image: { dtype: 'int16', tail: [3], offsets, data: image },
    edge_distance: { dtype: 'float32', tail: [], offsets, data: distance },
    edge_vector: { dtype: 'float32', tail: [3], offsets, data: vector },
    num_atoms: { dtype: 'int32', shape: [count], data: Int32Array.from({ length: count }, (_, k) => atoms[k + 1]! - atoms[k]!) },
    edges_cut: { dtype: 'int32', shape: [count], data: cut },
    ...(weight !== undefined && { edge_weight: { dtype: 'float32', tail: [], offsets, data: weight } }),
  }
  return Object.fromEntries(writes.map(({ field }) => [field, all[field]!]))
}
