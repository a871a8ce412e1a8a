// Neighbour lists on every adapter against native/src/crystal, to the bit.
import { describe, expect, test, vi } from 'vitest'
import { isRagged, type Ragged, type Rows } from '../../src/core/rows.js'
import { bytesOf, type Tensor } from '../../src/core/tensor.js'
import { createCpuDevice } from '../../src/devices/cpu.js'
import type { Device } from '../../src/devices/device.js'
import { Webgpu } from '../../src/devices/webgpu.js'
import { digestOf } from '../../src/devices/webgpu/canary.js'
import { joinEdges, type Edges } from '../../src/devices/webgpu/edges.js'
import type { Engine } from '../../src/devices/webgpu/engine.js'
import { Frame } from '../../src/devices/webgpu/frame.js'
import { crystalsOf as crystalsOfBatch, searchOf } from '../../src/devices/webgpu/graph.js'
import { LocalBackend } from '../../src/devices/webgpu/local.js'
import { neighborVariants, type Crystals, type NeighborSearch } from '../../src/devices/webgpu/neighbors.js'
import { RemoteBackend } from '../../src/devices/webgpu/remote.js'
import { kernel, type Kernel } from '../../src/devices/webgpu/wgsl.js'
import type { Batch, BatchResult, BatchStep } from '../../src/ops/batch.js'
import { layoutOf } from '../../src/ops/wgsl-layout.js'
import { ENGINE, compilesSlowly, engines, withEngine, type TestEngine } from '../support/gpu.js'
import { crystalsOf, cubic, randomStructure, referenceEdges, rockSalt, sheared, type Structure } from './neighbors.reference.js'
import { tally } from './tally.js'
import { Random } from './values.js'

const found = (await engines()).map((one) => [one.name, one] as const)

const RADIUS: NeighborSearch = { cutoff: 5.64, maxNeighbors: 0, selfLoops: false, nearest: 0, keepTies: false }
const SEARCHES: Readonly<Record<string, NeighborSearch>> = {
  radius: RADIUS,
  'radius with loops': { ...RADIUS, selfLoops: true },
  'radius, the nearest 12': { ...RADIUS, maxNeighbors: 12 },
  'radius, the nearest one, with loops': { ...RADIUS, maxNeighbors: 1, selfLoops: true },
  'the 12 nearest': { ...RADIUS, cutoff: 0, nearest: 12 },
  'the 12 nearest and their equals': { ...RADIUS, cutoff: 0, nearest: 12, keepTies: true },
  'the nearest and its equals': { ...RADIUS, cutoff: 0, nearest: 1, keepTies: true },
}

function structures(): Structure[] {
  const random = new Random(7)
  const list: Structure[] = []
  // Cells of 2 Å have many images.
  for (let at = 0; at < 60; at++) list.push(randomStructure(random, 1 + random.below(6), 2 + 4 * random.unit(), at % 7))
  list.push(cubic(9), rockSalt(5.64, 1), rockSalt(5.64, 4), cubic(50, 0, 0, 0))
  // Distances that lie on one axis and have 25 bits: midpoints of two float32, where ties round to even.
  for (const bits of [16777217, 16777219, 25165825]) list.push(cubic(8, 0, 0, 0, bits * 2 ** -26, 0, 0))
  // Just inside the cutoff, just outside, and where float32 cannot tell.
  for (const edge of [5.64 + 5e-10, 5.64 + 3e-9, 5.64001]) list.push(cubic(edge, 0, 0, 0))
  list.push(sheared(sheared(cubic(3, 0.1, 0.2, 0.3, 0.6, 0.7, 0.8), 1, 0, 60), 2, 1, 1))
  // Far outside of the cell.
  list.push(cubic(4, 120.25, -80.5, 3000.125, 0.5, 0.5, 0.5))
  list.push(randomStructure(random, 300, 14, 0), randomStructure(random, 300, 22, 3))
  return list
}

async function differs(engine: Engine, search: NeighborSearch, crystals: Crystals, { edges, faulty }: { edges: Edges; faulty: readonly number[] }): Promise<string | undefined> {
  const result = await engine.neighbors(search, crystals)
  if (result.undone.join() !== faulty.join()) return `undone: ${result.undone.join()}, not ${faulty.join()}`
  return apart(result.edges, edges)
}

function apart(a: Edges, b: Edges): string | undefined {
  return (['offsets', 'source', 'target', 'image', 'distance', 'vector', 'cut'] as const).find((name) => Buffer.compare(bytesOf(a[name]), bytesOf(b[name])) !== 0)
}

function expectNone(search: NeighborSearch, crystals: Crystals, { name, engine }: Pick<TestEngine, 'name' | 'engine'>, expected = referenceEdges(search, crystals), atLeast = 1): Promise<void> {
  return differs(engine, search, crystals, expected).then((difference) => {
    expect([name, difference]).toEqual([name, undefined])
    const edges = expected.edges.source.length
    expect(edges).toBeGreaterThanOrEqual(atLeast)
    tally(name, neighborVariants(search).map((variant) => variant.kernel), 8 * edges, 0)
  })
}

/** Cells of one or two atoms with 70 neighbours for each. */
function dense(count: number): Structure[] {
  const random = new Random(11)
  return Array.from({ length: count }, (_, k) => sheared(sheared(cubic(2.2, ...Array.from({ length: 3 * (1 + k % 2) }, () => random.unit())), 1, 0, k % 3), 2, 1, k % 5))
}

/** Where spheres that hold enough in the mean hold too little. */
const LAYERS: readonly Structure[] = [
  cubic(3, 0, 0, 0), { lattice: [2.5, 0, 0, 0, 2.5, 0, 0, 0, 60], frac: [0, 0, 0, 0.5, 0.5, 0.02] }, { lattice: [2, 0, 0, 0, 80, 0, 0, 0, 80], frac: [0.3, 0.2, 0.1] },
  cubic(4, 0, 0, 0, 0.5, 0.5, 0.5), { lattice: [0, 15, 15, 15, 0, 15, 15, 15, 0], frac: Array.from({ length: 8 }, (_, k) => [0.01 * (k & 1), 0.01 * (k >> 1 & 1), 0.01 * (k >> 2)]).flat() },
]

/** Each leaves something to the CPU, or is wrong: two atoms in one place (in the next cell), no volume, NaN, an image that could leave int16. */
const REFUSED: readonly Structure[] = [
  cubic(4, 0.25, 0, 0, -0.75, 0, 0), { lattice: [3, 0, 0, 3, 0, 0, 0, 0, 3], frac: [0, 0, 0] }, cubic(4, 0, NaN, 0), cubic(4, 20_000, 0, 0, 0.5, 0, 0),
]

describe.each(found)('neighbours on %s are those of the CPU', (_name, one) => {
  test.each(Object.entries(SEARCHES))('%s', async (_what, search) => {
    await expectNone(search, crystalsOf(structures()), one, undefined, 400)
  })

  test('in any workgroups, frames and windows', async () => {
    const searches = [RADIUS, SEARCHES['radius, the nearest 12']!, SEARCHES['the 12 nearest and their equals']!]
    const crystals = crystalsOf([...dense(60), rockSalt(5.64, 1), ...LAYERS])
    const expected = searches.map((search) => referenceEdges(search, crystals))
    const dispatches = vi.spyOn(Frame.prototype, 'dispatch')
    const fills = (): number => dispatches.mock.calls.filter(([{ kernel: name }]) => name === 'neighbors-fill').length
    try {
      for (const workgroupSize of compilesSlowly(one) ? [32] : [16, 64, 256]) {
        await withEngine(one, { workgroupSize }, async (engine, limits) => {
          const on = { name: one.name, engine }
          for (const [frameBytes, bindingBytes] of [[2 ** 40, 2 ** 31], [1, 2 ** 31], [20_000, 2 ** 31], [2 ** 40, 8192], [2 ** 40, 4096]] as const) {
            Object.assign(limits, { frameBytes, bindingBytes })
            for (const [k, search] of searches.entries()) {
              dispatches.mockClear()
              await expectNone(search, crystals, on, expected[k])
              // A binding of 4,096 bytes holds 256 edges: one row or two of these.
              if (k === 0 && bindingBytes === 4096) expect(fills()).toBeGreaterThan(50)
              if (k === 0 && frameBytes === 2 ** 40 && bindingBytes === 2 ** 31) expect(fills()).toBe(1)
            }
          }
        })
      }
    } finally {
      dispatches.mockRestore()
    }
  })

  test('with more workgroups than one dimension has', async () => {
    const random = new Random(13)
    const some = Array.from({ length: 10 }, () => randomStructure(random, 48, 10, 0))
    const crystals = crystalsOf(Array.from({ length: 1830 }, (_, k) => some[k % 10]!))
    await withEngine(one, { workgroupSize: 16, frameBytes: 2 ** 40 }, (engine) => expectNone({ ...RADIUS, cutoff: 1.5 }, crystals, { name: one.name, engine }, undefined, 10_000))
  })

  test('no structures, none with an edge, some without atoms', async () => {
    for (const search of Object.values(SEARCHES)) await expectNone(search, crystalsOf([]), one, undefined, 0)
    await expectNone(RADIUS, crystalsOf([cubic(50, 0, 0, 0), cubic(60, 0, 0, 0)]), one, undefined, 0)
    for (const search of [RADIUS, SEARCHES['the 12 nearest']!]) {
      await expectNone(search, crystalsOf([cubic(4), cubic(4, 0, 0, 0), cubic(4)]), one)
      await expectNone(search, crystalsOf([cubic(4)]), one, undefined, 0)
    }
  })

  test('where one sphere is not enough for the nearest', async () => {
    const dispatches = vi.spyOn(Frame.prototype, 'dispatch')
    try {
      for (const nearest of [1, 8, 40]) {
        dispatches.mockClear()
        for (const keepTies of [false, true]) await expectNone({ ...RADIUS, cutoff: 0, nearest, keepTies }, crystalsOf(LAYERS), one)
        // Around each of eight atoms that are close together there are seven others: of the first three spheres only the last one reaches the next eight.
        if (nearest === 8) expect(dispatches.mock.calls.filter(([{ kernel: name }]) => name === 'neighbors-select').length).toBe(6)
      }
    } finally {
      dispatches.mockRestore()
    }
  })

  test('structures that only the CPU does are left to it, the others are not', async () => {
    const mixed = crystalsOf([...dense(5), ...REFUSED, ...LAYERS, REFUSED[0]!, REFUSED[0]!])
    for (const search of Object.values(SEARCHES)) {
      const { edges, faulty } = referenceEdges(search, mixed)
      // The CPU does the last of the refused.
      expect(faulty).toEqual([5, 6, 7, 14, 15])
      const result = await one.engine.neighbors(search, mixed)
      expect([...result.undone]).toEqual([5, 6, 7, 8, 14, 15])
      expect(apart(result.edges, without(edges, 8))).toBeUndefined()
    }
  })

  test('more wanted than there are, or than can be kept count of', async () => {
    const crystals = crystalsOf(dense(5))
    await expectNone({ ...RADIUS, maxNeighbors: 5000 }, crystals, one)
    expect([...(await one.engine.neighbors({ ...RADIUS, maxNeighbors: 2 ** 32 - 1 }, crystals)).undone]).toEqual([0, 1, 2, 3, 4])
    expect([...(await one.engine.neighbors({ ...RADIUS, cutoff: 0, nearest: 2 ** 32 - 1 }, crystals)).undone]).toEqual([0, 1, 2, 3, 4])
    // Millions of neighbours of one atom: more than an invocation may go through.
    expect([...(await one.engine.neighbors({ ...RADIUS, cutoff: 1000 }, crystals)).undone]).toEqual([0, 1, 2, 3, 4])
  })

  test('an atom with more edges than a binding holds, and a cell with more atoms, are left to the CPU', async () => {
    await withEngine(one, { bindingBytes: 4096 }, async (engine) => {
      const small = dense(4)
      const random = new Random(17)
      // 300 edges of one atom, more rows than a binding holds, more atoms.
      const large = [cubic(1.3, 0, 0, 0), randomStructure(random, 40, 12, 0), randomStructure(random, 120, 12, 0)]
      const crystals = crystalsOf([...small.slice(0, 2), ...large, ...small.slice(2)])
      const result = await engine.neighbors(RADIUS, crystals)
      expect([...result.undone]).toEqual([2, 3, 4])
      expect(apart(result.edges, [2, 3, 4].reduce(without, referenceEdges(RADIUS, crystals).edges))).toBeUndefined()
    })
  })
})

/** The same without the edges of a structure. */
function without(edges: Edges, item: number): Edges {
  const items = Array.from({ length: edges.offsets.length - 1 }, (_, k) => k === item ? -1 : k)
  return joinEdges(items.length, [{ items, edges }])
}

describe('as a device', () => {
  const METHODS = { radius: { method: 'radius', cutoff: 5.64, maxNeighbors: 12, selfLoops: true }, knn: { method: 'knn', nearest: 12, ties: 'keep' } } as const

  function stepOf(method: keyof typeof METHODS): BatchStep {
    const writes = ['edge_source', 'edge_target', 'edge_image', 'edge_distance', 'edge_vector', 'num_atoms', ...method === 'radius' ? ['edges_cut'] : []]
    return { kernel: 'crystal-graph', reads: ['numbers', 'frac_coords', 'lattice'], writes: writes.map((field) => ({ field, dtype: 'int32' })), params: METHODS[method] }
  }

  /** Ragged fields that do not begin at 0, or tensors. */
  function batchOf(list: readonly Structure[], ragged: boolean): Batch {
    const { offsets, frac, lattice } = crystalsOf(list)
    const count = list.length
    const cells = { dtype: 'float64', shape: [count, 3, 3], data: lattice } as const
    if (!ragged) {
      const atoms = offsets[1]!
      return { count, fields: { numbers: { dtype: 'int32', shape: [count, atoms], data: new Int32Array(count * atoms) }, frac_coords: { dtype: 'float64', shape: [count, atoms, 3], data: frac }, lattice: cells } }
    }
    return {
      count,
      fields: {
        numbers: { dtype: 'int32', tail: [], offsets, data: new Int32Array(offsets[count]!) },
        frac_coords: { dtype: 'float64', tail: [3], offsets: offsets.map((offset) => offset + 2), data: Float64Array.of(9, 9, 9, 9, 9, 9, ...frac) }, lattice: cells,
      },
    }
  }

  /** The CPU as a device, which counts what it is asked for. */
  function counting(): Device & { readonly asked: number[] } {
    const asked: number[] = []
    const cpu = createCpuDevice({ threads: 1 })
    return { ...cpu, asked, batch: async (step, given) => (asked.push(given.count), cpu.batch(step, given)) }
  }

  const plain = (rows: Rows): unknown => isRagged(rows) ? [rows.dtype, rows.tail, [...rows.offsets], digestOf([bytesOf(rows.data)])] : [rows.dtype, rows.shape, digestOf([bytesOf(rows.data)])]
  const fieldsOf = ({ fields }: BatchResult): unknown => Object.fromEntries(Object.entries(fields).map(([name, rows]) => [name, plain(rows)]))
  const OPTIONS = { ...ENGINE, canary: true, known: {} }
  const last = found.at(-1)?.[0]

  test.skipIf(last === undefined).each(['worker', 'main'] as const)('on a %s thread: the same fields as the CPU, ragged or not', async (thread) => {
    const options = { ...OPTIONS, adapter: last }
    const cpu = counting()
    const device = new Webgpu(thread === 'worker' ? await RemoteBackend.open(options) : await LocalBackend.open(options), true, undefined, cpu)
    try {
      for (const method of ['radius', 'knn'] as const) {
        for (const batch of [batchOf(structures().slice(0, 30), true), batchOf(dense(9).filter(({ frac }) => frac.length === 6), false), batchOf(structures().slice(0, 1), true)]) {
          const results = await Promise.all([device.batch(stepOf(method), batch), device.batch(stepOf(method), batch)])
          expect(cpu.asked).toEqual([])
          const expected = await cpu.batch(stepOf(method), batch)
          cpu.asked.length = 0
          for (const result of results) expect([fieldsOf(result), result.faults]).toEqual([fieldsOf(expected), []])
          expect(new Set(['edge_source', 'edge_target', 'edge_image', 'edge_distance', 'edge_vector'].map((name) => (results[0]!.fields[name] as Ragged).offsets)).size).toBe(1)
        }
        // Some on the CPU, and all.
        for (const list of [[...dense(3), ...REFUSED, ...LAYERS, REFUSED[2]!], REFUSED]) {
          const batch = batchOf(list, true)
          const result = await device.batch(stepOf(method), batch)
          expect(cpu.asked).toEqual([list.length === 4 ? 4 : 5])
          const expected = await cpu.batch(stepOf(method), batch)
          cpu.asked.length = 0
          // The CPU does the last of REFUSED.
          expect(result.faults.map(({ item }) => item)).toEqual(expected.faults.map(({ item }) => item))
          expect(result.faults.length).toBeGreaterThan(2)
          expect(fieldsOf(result)).toEqual(fieldsOf(expected))
        }
      }
    } finally {
      await device.close()
    }
  })

  test.skipIf(last === undefined)('what is not as the step says, and other methods, are for the CPU to refuse', async () => {
    const good = batchOf(dense(3), true)
    const { numbers, frac_coords: frac, lattice } = good.fields as { numbers: Ragged; frac_coords: Ragged; lattice: Tensor }
    const shifted = frac.offsets.map((offset, k) => k === 1 ? offset + 1 : offset)
    const wrong: Rows[][] = [
      [{ ...numbers, offsets: shifted }, frac, lattice], [numbers, { ...frac, offsets: shifted }, lattice], [numbers, { ...frac, data: frac.data.subarray(1) }, lattice],
      [numbers, { ...frac, tail: [2] }, lattice], [numbers, { ...frac, data: new Float32Array(frac.data as Float64Array) }, lattice], [numbers, frac, { ...lattice, data: lattice.data.subarray(1) } as Tensor],
      [numbers, { ...frac, offsets: frac.offsets.map((offset) => offset - 3) }, lattice], [numbers, { ...frac, offsets: frac.offsets.subarray(1) }, lattice],
    ]
    for (const [a, b, c] of wrong) expect(crystalsOfBatch({ count: 3, fields: { numbers: a!, frac_coords: b!, lattice: c! } })).toBeUndefined()
    expect(crystalsOfBatch(good)).toBeDefined()
    expect(crystalsOfBatch({ ...good, count: 4 })).toBeUndefined()
    expect(crystalsOfBatch({ count: 3, fields: { numbers, lattice } })).toBeUndefined()
    const { params } = stepOf('radius')
    const others: BatchStep['params'][] = [{ method: 'crystalnn' }, { cutoff: 0 }, { cutoff: 1025 }, { cutoff: NaN }, { maxNeighbors: -1 }, { maxNeighbors: 1.5 }, { selfLoops: null }]
    for (const other of others) expect(searchOf({ ...stepOf('radius'), params: { ...params, ...other } })).toBeUndefined()
    for (const other of [{ nearest: 0 }, { ties: 'both' }]) expect(searchOf({ ...stepOf('knn'), params: { ...METHODS.knn, ...other } })).toBeUndefined()
  })

  test.skipIf(last === undefined)('that is lost meanwhile: the CPU computes with one warning, the next batch is for a new device', async () => {
    const cpu = counting()
    const backend = await LocalBackend.open({ ...OPTIONS, adapter: last, canary: false, frameBytes: 1 })
    const device = new Webgpu(backend, true, undefined, cpu)
    const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    try {
      const batch = batchOf(dense(20), true)
      const first = await device.batch(stepOf('radius'), batch)
      expect(cpu.asked).toEqual([])
      const encode = Frame.prototype.dispatch
      let calls = 0
      const dispatches = vi.spyOn(Frame.prototype, 'dispatch').mockImplementation(function dispatch(this: Frame, given) {
        if (++calls === 10) this.session.device.destroy()
        encode.call(this, given)
      })
      expect(fieldsOf(await device.batch(stepOf('radius'), batch))).toEqual(fieldsOf(first))
      dispatches.mockRestore()
      expect(calls).toBeGreaterThanOrEqual(10)
      expect(cpu.asked).toEqual([20])
      expect(warnings).toHaveBeenCalledTimes(1)
      expect(fieldsOf(await device.batch(stepOf('radius'), batch))).toEqual(fieldsOf(first))
      expect(cpu.asked).toEqual([20])
    } finally {
      warnings.mockRestore()
      await device.close()
    }
  })

  test.skipIf(last === undefined)('whose kernel fails the canary, the CPU computes everything and says so', async () => {
    const right = kernel('neighbors-fill').code
    const code = right.replace('(bits & 1u) == 0u', '(bits & 1u) == 1u')
    expect(code).not.toBe(right)
    const cpu = counting()
    const kernels = (name: string): Kernel => name === 'neighbors-fill' ? { name, code, layout: layoutOf(code) } : kernel(name)
    const device = new Webgpu(await LocalBackend.open({ ...OPTIONS, adapter: last, kernels }), true, undefined, cpu)
    const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    try {
      await device.batch(stepOf('knn'), batchOf(dense(3), true))
      await device.batch(stepOf('knn'), batchOf(dense(4), true))
      expect(cpu.asked).toEqual([3, 4])
      expect(warnings.mock.calls.map(([message]) => message)).toEqual([expect.stringContaining('neighbors-fill')])
    } finally {
      warnings.mockRestore()
      await device.close()
    }
  })
})

describe.skipIf(found.length === 0)('wrong kernels are noticed', () => {
  const controls: readonly { what: string; name: string; from: string; to: string; search?: NeighborSearch }[] = [
    { what: 'a root rounded down', name: 'neighbors-fill', from: 'return bits;', to: 'return bits - 1u;' },
    { what: 'ties to odd', name: 'neighbors-fill', from: '(bits & 1u) == 0u', to: '(bits & 1u) == 1u' },
    { what: 'components rounded down', name: 'neighbors-fill', from: 'select(0u, 1u, up)', to: '0u' },
    { what: 'source and target swapped', name: 'neighbors-fill', from: 'ends[edge] = walk.source', to: 'ends[edge] = walk.target_atom - walk.first_atom' },
    { what: 'a cutoff in float32', name: 'neighbors-count', from: 'is_less64((*walk).limit, key)', to: 'false' },
    { what: 'intervals that are too narrow', name: 'neighbors-count', from: 'ceil(center - half)', to: 'ceil(center - 0.99 * half)' },
    { what: 'one tie too many', name: 'neighbors-select', from: 'var ties = 0u;', to: 'var ties = 1u;', search: SEARCHES['the 12 nearest']! },
    { what: 'a list that drops its last', name: 'neighbors-select', from: 'let full = found >= params.wanted', to: 'let full = found + 1u >= params.wanted', search: SEARCHES['radius, the nearest 12']! },
    { what: 'ties that are not kept', name: 'neighbors-select', from: 'select(ties, 0xffffffffu, KEEP_TIES)', to: 'ties', search: SEARCHES['the 12 nearest and their equals']! },
  ]
  test.each(controls)('$what', async ({ name, from, to, search = RADIUS }) => {
    const [, one] = found.at(-1)!
    const right = kernel(name).code
    const code = right.replaceAll(from, to)
    expect(code).not.toBe(right)
    const kernels = (wanted: string): Kernel => wanted === name ? { name, code, layout: layoutOf(code) } : kernel(wanted)
    const crystals = crystalsOf(structures().slice(0, -2))
    await withEngine(one, { kernels }, async (engine) => {
      expect(await differs(engine, search, crystals, referenceEdges(search, crystals))).toBeDefined()
    })
  })
})
