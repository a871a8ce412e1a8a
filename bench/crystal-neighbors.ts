// Neighbours within 5 Å of whole sets of crystals, on one thread: a part of the question `crystals`. Batched torch over 27 images and ASE beside us.
import { createHash } from 'node:crypto'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { crystalGraph, crystals, niggli, openCache, recipe, type Dataset, type Tensor } from 'tensorcache'
import { writeArray } from './lib/files.js'
import { createCpuDevice } from './lib/internals.js'
import { inTurns, named, seconds } from './lib/measure.js'
import type { Peer } from './lib/peer.js'
import { check, timesPeer, type Context, type Finding } from './lib/question.js'

type Made = Awaited<ReturnType<ReturnType<typeof createCpuDevice>['batch']>>['fields']

export async function radius({ dir, pick }: Context, python: Peer | undefined, ase: Peer | undefined, name: string, path: string): Promise<Finding[]> {
  const torch = python?.has('radius')
  const cache = await openCache({ dir: join(dir, `cells-${name}`), minFree: 0 })
  const source = await crystals(path, { idColumn: 'material_id' })
  const dataset = await cache.dataset(source, recipe([niggli()]))
  const { fields, offsets } = await allOf(dataset, ['numbers', 'frac_coords', 'lattice'])
  const count = dataset.length
  const folder = join(dir, `flat-${name}`)
  mkdirSync(folder)
  writeArray(join(folder, 'frac.npy'), 'float64', [fields.frac_coords!.shape[0]!, 3], fields.frac_coords!.data as Float64Array)
  writeArray(join(folder, 'lattice.npy'), 'float64', [count, 3, 3], fields.lattice!.data as Float64Array)
  writeArray(join(folder, 'offsets.npy'), 'float64', [count + 1], offsets)
  const flat = { frac: join(folder, 'frac.npy'), lattice: join(folder, 'lattice.npy'), offsets: join(folder, 'offsets.npy') }
  await torch?.call('keep', flat)
  const few = await ase?.call('keep', { ...flat, count: pick({ tiny: 0, quick: 20, full: 300 }) })

  const call = crystalGraph({ method: 'radius', cutoff: 5 })
  const step = call.definition.kind === 'batch' ? call.definition.step(call.params) : undefined
  const batch = {
    count,
    fields: {
      numbers: { dtype: 'int32' as const, tail: [], offsets, data: fields.numbers!.data },
      frac_coords: { dtype: 'float64' as const, tail: [3], offsets, data: fields.frac_coords!.data },
      lattice: { dtype: 'float64' as const, shape: [count, 3, 3], data: fields.lattice!.data },
    },
  }
  const device = createCpuDevice({ threads: 1 })
  let edges = 0
  let theirs = 0
  let found: string[] = []
  let expected: string[] = []
  const results = await inTurns(pick({ tiny: 1, quick: 3, full: 15 }), {
    ours: async () => {
      let last: Made = {}
      const took = await seconds(async () => {
        const { fields: made, faults } = await device.batch(step!, batch as never)
        last = made
        check(faults.length === 0, 'a structure without a fault')
      })
      edges = last.edge_source!.data.length
      found = digestsOf(last, few ?? 0)
      return count / took
    },
    'torch, 27 images': torch && (async () => {
      const reply = await torch.call<{ seconds: number; edges: number }>('radius', { cutoff: 5, batch: 256 })
      theirs = reply.edges
      return count / reply.seconds
    }),
    'ASE primitive_neighbor_list': ase && (async () => {
      const { seconds: took, digests } = await ase.call<{ seconds: number; digests: string[] }>('neighbors', { cutoff: 5 })
      expected = digests
      return few! / took
    }),
  })
  await ase?.call('forget')
  check(expected.every((digest, k) => digest === found[k]), `edges of ASE of the first ${few} structures of ${name}`)
  await device.close()
  source.close()
  await cache.close()
  // They look at the nearest images only, so they miss some and never have more; the full lists are compared with pymatgen's in the tests.
  check(torch === undefined || (theirs <= edges && theirs > 0.5 * edges), `${theirs} edges of torch beside ${edges}`)
  const peers = named(results, 'torch, 27 images', 'ASE primitive_neighbor_list')
  const note = [`${edges} edges`, ...torch === undefined ? [] : [`torch misses ${(100 - 100 * theirs / edges).toFixed(1)} %`], ...ase === undefined ? [] : [`those of ${few} structures equal to ASE's`]].join(', ')
  return [{ what: `${name}: neighbours within 5 Å, one thread`, unit: 'structures/s', ours: results.ours!, peers, limits: [], target: timesPeer(3, results.ours!, named(results, 'torch, 27 images')[0], 'torch'), note }]
}

/** Fields of all items: ragged ones concatenated, and where each item's atoms begin. */
async function allOf(dataset: Dataset, names: readonly string[]): Promise<{ fields: Record<string, Tensor>; offsets: Float64Array }> {
  for await (const batch of dataset.batches({ size: dataset.length, collate: 'graph', fields: names })) {
    return { fields: Object.fromEntries(names.map((field) => [field, batch[field] as Tensor])), offsets: Float64Array.from(batch.ptr.data as Int32Array) }
  }
  throw new Error('no items')
}

/** As the peer has them: each structure's edges in order of source, target and image. */
function digestsOf({ edge_source: from, edge_target: to, edge_image: image }: Made, count: number): string[] {
  const offsets = (from as { offsets: ArrayLike<number> }).offsets
  return Array.from({ length: count }, (_, k) => {
    const rows = Array.from({ length: offsets[k + 1]! - offsets[k]! }, (_, edge) => {
      const at = offsets[k]! + edge
      return [Number(from!.data[at]), Number(to!.data[at]), ...(image!.data as Int16Array).subarray(3 * at, 3 * at + 3)]
    })
    rows.sort((a, b) => a.map((value, column) => value - b[column]!).find((difference) => difference !== 0) ?? 0)
    return createHash('sha256').update(Int32Array.from(rows.flat())).digest('hex')
  })
}
