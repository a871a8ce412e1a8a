// How fast do CIFs become graphs? From a CSV to a cached dataset of CrystalNN graphs beside pymatgen, neighbours within a radius beside batched torch, then the
// cached graphs read again beside np.load and torch.load, and one structure more.
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { crystalGraph, crystals, niggli, openCache, recipe, type Dataset, type Source, type Tensor } from 'tensorcache'
import { radius } from './crystal-neighbors.js'
import { noise, writeArray } from './lib/files.js'
import { inTurns, named, seconds } from './lib/measure.js'
import type { Peer } from './lib/peer.js'
import { atLeast, atMost, check, timesPeer, type Context, type Finding, type Question } from './lib/question.js'
import { root } from './lib/root.js'

const steps = recipe([niggli(), crystalGraph({ method: 'crystalnn' })])
const ELEMENTS = ['Sr', 'Ti', 'O', 'Ba', 'Zr', 'F', 'K', 'Mg', 'Cl', 'La', 'Fe', 'N']

async function run(context: Context): Promise<Finding[]> {
  const sets = realSets(context)
  // One process for all of them: to load pymatgen takes seconds.
  const python = await context.peer('crystals')
  const ase = await context.peer('ase_neighbors')
  const findings: Finding[] = []
  for (const { name, path } of sets) findings.push(...await graphs(context, python, name, path), ...await radius(context, python, ase, name, path))
  ase?.stop()
  return [...findings, ...await again(context, python, sets[0]!.path)]
}

/** The validation sets of CDVAE where they are, and perovskites of our own otherwise. */
function realSets({ dir, size, pick }: Context): { name: string; path: string }[] {
  const folder = join(process.env.TENSORCACHE_SHARED ?? join(root, '../shared'), 'data/crystals')
  const real = ['perov_5', 'carbon_24'].map((name) => ({ name, path: join(folder, `${name}_val.csv`) })).filter(({ path }) => existsSync(path))
  if (size !== 'tiny' && real.length > 0) return real
  const path = join(dir, 'perovskites.csv')
  writeFileSync(path, `material_id,cif\n${Array.from({ length: pick({ tiny: 20, quick: 3787, full: 3787 }) }, (_, k) => `m${k},"${perovskite(k)}"\n`).join('')}`)
  return [{ name: 'perovskites', path }]
}

/** A distorted perovskite that no other number gives. */
function perovskite(k: number): string {
  // Nothing lies on the cell's boundary, where rounding decides whether pymatgen has 0 or 1.
  const vary = (at: number): string => (0.55 + 0.02 * noise(16 * k + at)).toFixed(8)
  const cell = ['length_a', 'length_b', 'length_c'].map((tag, at) => `_cell_${tag} ${(4.2 + 0.4 * noise(16 * k + at)).toFixed(8)}\n`).join('') + ['alpha', 'beta', 'gamma'].map((tag, at) => `_cell_angle_${tag} ${(90 + 2 * noise(16 * k + 3 + at)).toFixed(8)}\n`).join('')
  const [a, b, x] = [0, 1, 2].map((at) => ELEMENTS[(k * (at + 1) + at) % ELEMENTS.length]!) as [string, string, string]
  const sites = [[a, '0.05', '0.05', '0.05'], [b, '0.55', '0.55', vary(7)], [x, '0.55', '0.55', '0.05'], [x, '0.55', '0.05', vary(8)], [x, '0.05', '0.55', '0.55']]
  return `data_${k}\n${cell}loop_\n_symmetry_equiv_pos_site_id\n_symmetry_equiv_pos_as_xyz\n1 'x, y, z'\nloop_\n_atom_site_type_symbol\n_atom_site_label\n_atom_site_symmetry_multiplicity\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n_atom_site_occupancy\n${sites.map(([element, ...place], at) => `${element} ${element}${at} 1 ${place.join(' ')} 1\n`).join('')}`
}

// --- from CSV to CrystalNN graphs -----------------------------------------------------------------------------------------------------

/** Everything from nothing: the cache is empty, the CSV is not parsed. */
async function built(path: string, dir: string): Promise<{ dataset: Dataset; source: Source; close(): Promise<void> }> {
  const cache = await openCache({ dir, minFree: 0 })
  const source = await crystals(path, { idColumn: 'material_id' })
  const dataset = await cache.dataset(source, steps)
  return { dataset, source, close: async () => { source.close(); await cache.close() } }
}

async function graphs({ dir, pick }: Context, python: Peer | undefined, name: string, path: string): Promise<Finding[]> {
  const cache = join(dir, `cache-${name}`)
  // Enough that starting processes does not show.
  const sample = pick({ tiny: 0, quick: name === 'carbon_24' ? 4 : 20, full: name === 'carbon_24' ? 160 : 800 })
  const pymatgen = python?.has('graphs')
  const ask = pymatgen && (async (processes: number) => {
    const { seconds: took, digests } = await pymatgen.call<{ seconds: number; digests: string[] }>('graphs', { path, count: sample, processes })
    expected = digests
    return sample / took
  })
  let expected: string[] = []
  let found: string[] = []
  const ours = async (): Promise<number> => {
    rmSync(cache, { recursive: true, force: true })
    let made: Awaited<ReturnType<typeof built>>
    const took = await seconds(async () => { made = await built(path, cache) })
    const { dataset, close } = made!
    check(dataset.report.computed === dataset.length, 'the build')
    found = []
    for (let index = 0; index < Math.min(sample, dataset.length); index++) found.push(digestOf(await dataset.get(index) as never))
    const items = dataset.length
    await close()
    return items / took
  }
  const cores = availableParallelism()
  const results = await inTurns(pick({ tiny: 1, quick: 2, full: 7 }), {
    ours,
    'pymatgen, one process': ask && (() => ask(1)),
    [`pymatgen, ${cores} processes`]: ask && (() => ask(cores)),
  })
  check(expected.every((digest, k) => digest === found[k]), `edges of the first ${sample} structures of ${name}`)
  const peers = named(results, 'pymatgen, one process', `pymatgen, ${cores} processes`)
  return [{ what: `${name}: CSV → CIF → Niggli → CrystalNN → cached, all cores`, unit: 'structures/s', ours: results.ours!, peers, limits: [], target: timesPeer(100, results.ours!, peers[0], 'one process of pymatgen'), note: expected.length > 0 ? `edges of ${expected.length} structures compared with pymatgen's: equal` : undefined }]
}

function digestOf({ edge_source: from, edge_target: to, edge_image: image }: Readonly<Record<string, Tensor>>): string {
  const rows = new Int32Array(5 * from!.data.length)
  for (let k = 0; k < from!.data.length; k++) rows.set([from!.data[k] as number, to!.data[k] as number, ...(image!.data as Int16Array).subarray(3 * k, 3 * k + 3)], 5 * k)
  return createHash('sha256').update(rows).digest('hex')
}

// --- reading again --------------------------------------------------------------------------------------------------------------------

async function again({ dir, pick }: Context, python: Peer | undefined, path: string): Promise<Finding[]> {
  const copies = pick({ tiny: 2, quick: 2, full: 20 })
  const large = join(dir, 'large.csv')
  const total = writeCopies(path, large, copies)
  const cache = join(dir, 'cache-large')
  await (await built(large, cache)).close()
  const store = await openCache({ dir: cache, minFree: 0 })
  const source = await crystals(large, { idColumn: 'material_id' })
  const { key } = await store.dataset(source, steps)
  const folder = join(dir, 'arrays')
  mkdirSync(folder)
  const files = await writeFlat((await store.openDataset(key))!, folder)
  await store.close()
  const torch = python?.has('load_torch')
  await torch?.call('save', { folder, files, count: total })

  const iterate = (shuffle: boolean) => async (): Promise<number> => {
    // Opened anew: nothing is verified yet.
    const fresh = await openCache({ dir: cache, minFree: 0 })
    let seen = 0
    let edges = 0
    const took = await seconds(async () => {
      const dataset = (await fresh.openDataset(key))!
      for await (const batch of dataset.batches({ size: 512, collate: 'graph', shuffle, seed: 1 })) {
        seen += (batch.ptr as Tensor).shape[0]! - 1
        edges += (batch.edge_index as Tensor).shape[1]!
      }
    })
    check(seen === total && edges > total, 'every graph once')
    await fresh.close()
    return total / took
  }
  const open = await opened(cache, key)
  const epoch = async (): Promise<number> => {
    let seen = 0
    const took = await seconds(async () => { for await (const batch of open.dataset.batches({ size: 512, collate: 'graph' })) seen += (batch.ptr as Tensor).shape[0]! - 1 })
    check(seen === total, 'every graph once')
    return total / took
  }
  const rates = await inTurns(pick({ tiny: 1, quick: 3, full: 11 }), {
    order: iterate(false), shuffled: iterate(true), epoch,
    'np.load of flat arrays, unchecked': python && (async () => total / await python.call('load_numpy', { folder, files })),
    'torch.load of a list, unchecked': torch && (async () => total / await torch.call('load_torch', { folder })),
  })
  await open.close()
  python?.stop()
  const beside = named(rates, 'np.load of flat arrays, unchecked', 'torch.load of a list, unchecked')
  const unit = 'structures/s'
  const first = (await inTurns(pick({ tiny: 1, quick: 5, full: 21 }), { first: () => toFirstBatch(path, join(dir, 'cache-first')) })).first
  const added = (await inTurns(pick({ tiny: 1, quick: 3, full: 11 }), { added: () => oneMore(path, dir) })).added
  return [
    { what: `${total} cached graphs, opened, verified and read in order`, unit, ours: rates.order!, peers: beside, limits: [], target: atLeast(2_000_000, rates.order!, unit) },
    { what: 'the same, one epoch more', unit, ours: rates.epoch!, peers: beside, limits: [], target: atLeast(2_000_000, rates.epoch!, unit) },
    { what: 'the same, opened, verified and shuffled', unit, ours: rates.shuffled!, peers: beside, limits: [], target: undefined },
    { what: 'warm open from the CSV to the first batch of 32 graphs', unit: 'ms', ours: first!, peers: [], limits: [], target: atMost(50, first!, 'ms') },
    { what: 'one structure added to the CSV: rebuilt', unit: 'ms', ours: added!, peers: [], limits: [], target: atMost(100, added!, 'ms') },
  ]
}

async function opened(dir: string, key: string): Promise<{ dataset: Dataset; close(): Promise<void> }> {
  const cache = await openCache({ dir, minFree: 0 })
  return { dataset: (await cache.openDataset(key))!, close: () => cache.close() }
}

/** The rows of a CSV again and again, with cells a little larger each time, so that every structure is another. */
function writeCopies(path: string, to: string, copies: number): number {
  const records = recordsOf(path)
  let text = 'material_id,cif\n'
  for (let copy = 0; copy < copies; copy++) {
    records.forEach((cif, k) => {
      const larger = cif.replaceAll(/(_cell_length_[abc]\s+)([\d.]+)/g, (_, tag: string, length: string) => `${tag}${(Number(length) * (1 + 1e-4 * copy)).toFixed(8)}`)
      text += `c${copy}-${k},"${larger.replaceAll('"', '""')}"\n`
    })
  }
  writeFileSync(to, text, { flush: true })
  return copies * records.length
}

/** The CIF texts of a CSV. */
function recordsOf(path: string): string[] {
  return Array.from(readFileSync(path, 'utf8').matchAll(/"((?:[^"]|"")*data_(?:[^"]|"")*)"/g), ([, cif]) => cif!.replaceAll('""', '"'))
}

async function writeFlat(dataset: Dataset, folder: string): Promise<string[]> {
  for await (const batch of dataset.batches({ size: dataset.length, collate: 'graph' })) {
    const edges = new Float64Array(dataset.length + 1)
    for (let k = 0; k < dataset.length; k++) edges[k + 1] = edges[k]! + ((await dataset.get(k)).edge_distance as Tensor).data.length
    const arrays: Record<string, { dtype: 'float32' | 'float64' | 'int16' | 'int32'; shape: readonly number[]; data: ArrayBufferView }> = {
      atom_offsets: { dtype: 'float64', shape: [dataset.length + 1], data: Float64Array.from(batch.ptr.data as Int32Array) },
      edge_offsets: { dtype: 'float64', shape: [dataset.length + 1], data: edges },
    }
    const [source, target] = [0, 1].map((row) => (batch.edge_index.data as Int32Array).subarray(row * edges.at(-1)!, (row + 1) * edges.at(-1)!))
    Object.assign(arrays, { edge_source: { dtype: 'int32', shape: [source!.length], data: source }, edge_target: { dtype: 'int32', shape: [target!.length], data: target } })
    for (const field of ['numbers', 'frac_coords', 'lattice', 'edge_image', 'edge_distance', 'edge_vector']) arrays[field] = batch[field]
    for (const [name, { dtype, shape, data }] of Object.entries(arrays)) writeArray(join(folder, `${name}.npy`), dtype, shape, data)
    return Object.keys(arrays)
  }
  return []
}

async function toFirstBatch(path: string, dir: string): Promise<number> {
  if (!existsSync(dir)) await (await built(path, dir)).close()
  const began = performance.now()
  const { dataset, close } = await built(path, dir)
  let count = 0
  for await (const batch of dataset.batches({ size: 32, shuffle: true, seed: 7, collate: 'graph' })) {
    count = (batch.ptr as Tensor).shape[0]! - 1
    break
  }
  const took = performance.now() - began
  check(dataset.report.computed === 0 && count === Math.min(32, dataset.length), 'the first batch')
  await close()
  return took
}

let round = 0

async function oneMore(path: string, dir: string): Promise<number> {
  const cache = join(dir, 'cache-added')
  const csv = join(dir, 'added.csv')
  const records = recordsOf(path)
  const write = (extra: readonly string[]): void => writeFileSync(csv, `material_id,cif\n${[...records, ...extra].map((cif, k) => `a${k},"${cif.replaceAll('"', '""')}"\n`).join('')}`)
  if (!existsSync(cache)) {
    write([])
    await (await built(csv, cache)).close()
  }
  round++
  write([perovskite(1_000_000 + round)])
  const began = performance.now()
  const { dataset, close } = await built(csv, cache)
  const took = performance.now() - began
  check(dataset.report.computed === 1 && dataset.length === records.length + 1, 'one structure computed')
  await close()
  return took
}

export const crystal: Question = { name: 'crystals', about: 'from CIFs to batches of graphs', run }
