// Nearest points on every adapter against the plainest search there is, to the bit.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { bytesOf } from '../../src/core/tensor.js'
import { createCpuDevice } from '../../src/devices/cpu.js'
import type { Device } from '../../src/devices/device.js'
import { Webgpu } from '../../src/devices/webgpu.js'
import { digestOf } from '../../src/devices/webgpu/canary.js'
import type { Engine } from '../../src/devices/webgpu/engine.js'
import { GpuError } from '../../src/devices/webgpu/errors.js'
import { Frame } from '../../src/devices/webgpu/frame.js'
import { GOLDEN } from '../../src/devices/webgpu/golden.js'
import { LocalBackend } from '../../src/devices/webgpu/local.js'
import { NEAREST, nearestOnDevice } from '../../src/devices/webgpu/nearest-miniature.js'
import { RemoteBackend } from '../../src/devices/webgpu/remote.js'
import { kernel, type Kernel } from '../../src/devices/webgpu/wgsl.js'
import { group, items, recipe } from '../../src/index.js'
import type { Nearest, PlanePoints } from '../../src/ops/points.js'
import { layoutOf } from '../../src/ops/wgsl-layout.js'
import { smallCache } from '../support/data.js'
import { ENGINE, compilesSlowly, engines, withEngine, type TestEngine } from '../support/gpu.js'
import { tempDir } from '../support/temp.js'
import { LONG } from './compare.js'
import { asked } from './nearest.arbitrary.js'
import { hardPoints, pointsOf, referenceNearest } from './nearest.reference.js'
import { tally } from './tally.js'
import { Random } from './values.js'

const found = (await engines()).map((one) => [one.name, one] as const)
/** One will do where adapters have nothing of their own. */
const [quick] = [...found].sort(([, a], [, b]) => Number(compilesSlowly(a)) - Number(compilesSlowly(b)))
const HARD = Object.entries(hardPoints(new Random(5)))

let ids = 0

/** So many of the points, spread over all of them. */
function spread({ x }: PlanePoints, wanted: number): Int32Array {
  const count = Math.min(wanted, x.length)
  return Int32Array.from({ length: count }, (_, k) => Math.floor(k * x.length / count))
}

interface Outcome {
  /** Places where what was found is not what there is. */
  readonly wrong: readonly number[]
  readonly undone: readonly number[]
}

async function outcome(engine: Engine, points: PlanePoints, at: Int32Array, k: number, id = ids++, expected = referenceNearest(points, at, k)): Promise<Outcome> {
  const { index, squared, undone } = await engine.nearest({ id, points, at, k })
  const wrong: number[] = []
  at.forEach((_, place) => {
    const differs = (a: Int32Array | Float64Array, b: Int32Array | Float64Array): boolean => Buffer.compare(bytesOf(a.subarray(place * k, (place + 1) * k)), bytesOf(b.subarray(place * k, (place + 1) * k))) !== 0
    if (!undone.includes(place) && (differs(index, expected.index) || differs(squared, expected.squared))) wrong.push(place)
  })
  return { wrong, undone: [...undone] }
}

/** All are found, and all rightly. */
async function expectAll({ name, engine }: Pick<TestEngine, 'name' | 'engine'>, points: PlanePoints, at: Int32Array, k: number): Promise<void> {
  const id = ids++
  expect([name, k, await outcome(engine, points, at, k, id)]).toEqual([name, k, { wrong: [], undone: [] }])
  engine.forgetPoints(id)
  tally(name, ['nearest-points'], at.length * k, 0)
}

describe.each(found)('nearest points on %s', (name, one) => {
  const slow = compilesSlowly(one)
  const queries = LONG ? 1500 : slow ? 40 : 120

  test.each(HARD)('%s', async (_what, points) => {
    for (const k of [1, 9, 30]) await expectAll(one, points, spread(points, queries), k)
  })

  test('few points, around workgroups and lanes, all of them nearest', async () => {
    const random = new Random(17)
    const extents = { even: 1, flat: 0 }
    for (const count of slow ? [2, 3, 17, 256] : [2, 3, 4, 15, 16, 17, 31, 33, 255, 256, 257, 1000]) {
      for (const height of Object.values(extents)) {
        const points = pointsOf(count, () => [random.unit(), height * random.unit()])
        for (const k of [1, Math.min(20, count), Math.min(200, count)]) await expectAll(one, points, spread(points, slow ? 10 : 40), k)
      }
    }
    const all = pointsOf(300, () => [random.unit(), random.unit()])
    await expectAll(one, all, spread(all, 20), 300)
  })

  test('in any workgroups, frames and windows', async () => {
    const random = new Random(19)
    const points = pointsOf(1000, (k) => k % 2 === 0 ? [random.unit(), random.unit()] : [random.below(30) / 30, random.below(30) / 30])
    const at = spread(points, slow ? 30 : 70)
    const dispatches = vi.spyOn(Frame.prototype, 'dispatch')
    try {
      for (const workgroupSize of slow ? [32] : [16, 64, 128, 256]) {
        await withEngine(one, { workgroupSize }, async (engine, limits) => {
          // A list of 9 has room for 82, and words say how many: 332 bytes.
          for (const [frameBytes, bindingBytes, frames] of [[2 ** 40, 2 ** 31, 1], [1, 2 ** 31, at.length], [4000, 2 ** 31, Math.ceil(at.length / 12)], [2 ** 40, 4096, Math.ceil(at.length / 12)]] as const) {
            Object.assign(limits, { frameBytes, bindingBytes })
            dispatches.mockClear()
            await expectAll({ name, engine }, points, at, 9)
            expect(dispatches.mock.calls.length).toBe(frames)
          }
        })
      }
    } finally {
      dispatches.mockRestore()
    }
  })

  test('any points: what is found is right', async () => {
    let [all, done] = [0, 0]
    await fc.assert(fc.asyncProperty(asked, async ({ points, at, k }) => {
      const id = ids++
      const { wrong, undone } = await outcome(one.engine, points, at, k, id)
      expect(wrong).toEqual([])
      one.engine.forgetPoints(id)
      all += at.length
      done += at.length - undone.length
    }), { numRuns: slow ? 20 : 150, seed: 1 })
    expect(done).toBeGreaterThan(all / 4)
  })

  test.skipIf(slow)('more queries than a dispatch has', async () => {
    const random = new Random(23)
    const points = pointsOf(5000, () => [random.unit(), random.unit()])
    const cpu = createCpuDevice()
    const at = Int32Array.from({ length: 4099 }, () => random.below(5000))
    expect(await outcome(one.engine, points, at, 5, ids++, await cpu.nearest(points, at, 5))).toEqual({ wrong: [], undone: [] })
    await cpu.close()
  })

  test('of many points, more than there are cells for an even spread', async () => {
    const random = new Random(29)
    const cpu = createCpuDevice()
    for (const [count, power] of [[60_000, 1], [60_000, 1.4]] as const) {
      const points = pointsOf(count, () => [random.unit() ** power, 0.3 * random.unit() ** power])
      const at = spread(points, queries)
      for (const k of [1, 64, 300]) expect(await outcome(one.engine, points, at, k, ids++, await cpu.nearest(points, at, k))).toEqual({ wrong: [], undone: [] })
    }
    await cpu.close()
  })

  test('what only the CPU tells apart, or refuses, is left to it', async () => {
    const random = new Random(31)
    const at = spread({ x: new Float64Array(300), y: new Float64Array(300) }, 40)
    const everything = [...at.keys()]
    const even = (scale: number): PlanePoints => pointsOf(300, () => [scale * random.unit(), scale * random.unit()])
    const odd = even(1)
    odd.x[250] = NaN
    for (const points of [pointsOf(300, () => [7, -7]), even(2 ** 505), even(2 ** -405), pointsOf(300, (k) => [k % 2 === 0 ? 1.7e308 : -1.7e308, k]), odd]) {
      expect(await outcome(one.engine, points, at, 3)).toMatchObject({ undone: everything })
    }
    expect(await outcome(one.engine, pointsOf(1, () => [3, 4]), Int32Array.of(0, 0), 1)).toMatchObject({ undone: [0, 1] })
    // 200 in each of two places, and 50 that lie apart.
    const crowded = pointsOf(450, (k) => k < 400 ? [k % 2, 1e-9 * random.unit()] : [0.25 + 0.5 * random.unit(), random.unit()])
    expect(await outcome(one.engine, crowded, spread(crowded, 45), 3)).toEqual({ wrong: [], undone: [...Array(40).keys()] })
    // More in a few cells than a query may look at.
    const cpu = createCpuDevice()
    const heap = pointsOf(40_000, (k) => k % 2 === 0 ? [random.unit(), random.unit()] : [0.5 + 0.003 * random.unit(), 0.5 + 0.003 * random.unit()])
    const there = Int32Array.of(0, 1, 2, 3, 4, 5, 6, 7)
    const { undone, wrong } = await outcome(one.engine, heap, there, 3, ids++, await cpu.nearest(heap, there, 3))
    expect(wrong).toEqual([])
    expect(undone).toEqual(expect.arrayContaining([1, 3, 5, 7]))
    await cpu.close()
  })

  test('more points, or longer lists, than a binding holds', async () => {
    const points = pointsOf(1025, (k) => [k, k * k])
    await withEngine(one, { bindingBytes: 4096, workgroupSize: 16 }, async (engine) => {
      for (const [of, k] of [[points, 1], [pointsOf(1000, (n) => [n, 0]), 480]] as const) await expect(engine.nearest({ id: ids++, points: of, at: Int32Array.of(0), k })).rejects.toMatchObject({ reason: 'too-large' })
      expect(engine.pointBytes).toBe(0)
    })
  })

  test('several points at once; what is forgotten goes, and with the device everything', async () => {
    const random = new Random(37)
    const some = [300, 500, 700].map((count) => pointsOf(count, () => [random.unit(), random.unit()]))
    await withEngine(one, { idleMs: 1, workgroupSize: 32, poolBytes: 30_000 }, async (engine) => {
      const ask = async (): Promise<void> => {
        const all = await Promise.all([...some, ...some].map((points, k) => outcome(engine, points, spread(points, 20), 4, k % 3)))
        expect(all).toEqual(Array(6).fill({ wrong: [], undone: [] }))
      }
      const lease = await engine.lease()
      await ask()
      const bytes = engine.pointBytes
      expect(bytes).toBeGreaterThan(4 * 1500)
      await ask()
      expect(engine.pointBytes).toBe(bytes)
      engine.forgetPoints(0)
      engine.forgetPoints(0)
      expect(engine.pointBytes).toBeLessThan(bytes)
      // Under way when it is forgotten.
      const last = outcome(engine, some[1]!, spread(some[1]!, 20), 4, 1)
      engine.forgetPoints(1)
      expect(await last).toEqual({ wrong: [], undone: [] })
      lease.release()
      await vi.waitFor(() => expect(engine.session).toBeUndefined())
      expect(engine.pointBytes).toBe(0)
      await ask()
      await vi.waitFor(() => expect(engine.session).toBeUndefined())
    })
  })
})

// --- as a device ----------------------------------------------------------------------------------------------------------------------

describe.skipIf(found.length === 0)('as a device', () => {
  const OPTIONS = { ...ENGINE, canary: true, known: {}, adapter: quick?.[0] }

  /** The CPU as a device, which notes how many it is asked for. */
  function counting(): Device & { readonly asked: number[] } {
    const asked: number[] = []
    const cpu = createCpuDevice({ threads: 1 })
    return { ...cpu, asked, nearest: async (points, at, k) => (asked.push(at.length), cpu.nearest(points, at, k)) }
  }

  const plain = ({ index, squared }: Nearest): string => digestOf([bytesOf(index), bytesOf(squared)])
  const random = new Random(41)
  const points = pointsOf(5000, () => [random.unit(), random.unit()])
  const at = Int32Array.from({ length: 600 }, () => random.below(5000))

  test.each(['worker', 'main'] as const)('on a %s thread: what the CPU finds, and what is for the CPU is asked of it', async (thread) => {
    const cpu = counting()
    const device = new Webgpu(thread === 'worker' ? await RemoteBackend.open(OPTIONS) : await LocalBackend.open(OPTIONS), true, undefined, cpu)
    try {
      const expected = await cpu.nearest(points, at, 8)
      const crowded = pointsOf(5000, (k) => k % 10 === 0 ? [points.x[k]!, points.y[k]!] : [3, 3])
      const some = Int32Array.from({ length: 600 }, (_, k) => k)
      const mixed = await cpu.nearest(crowded, some, 8)
      cpu.asked.length = 0
      for (const result of await Promise.all([device.nearest(points, at, 8), device.nearest(points, at, 8)])) expect(plain(result)).toBe(plain(expected))
      expect(cpu.asked).toEqual([])
      expect(plain(await device.nearest(crowded, some, 8))).toBe(plain(mixed))
      expect(cpu.asked).toEqual([540])
      // Most of it was for the CPU: the device is not asked about these points again.
      expect(plain(await device.nearest(crowded, some, 8))).toBe(plain(mixed))
      expect(cpu.asked).toEqual([540, 600])
      // All in one place, few queries, few points: not for the GPU.
      cpu.asked.length = 0
      await device.nearest(pointsOf(5000, () => [1, 2]), at, 8)
      await device.nearest(points, at.subarray(0, 10), 8)
      await device.nearest(pointsOf(600, (k) => [k, 0]), some, 8)
      expect(cpu.asked).toEqual([600, 10, 600])
      // And what is wrong is refused in the CPU's words.
      const outside = at.map((point, k) => k === 3 ? 5000 : point)
      for (const [of, where, k] of [[points, outside, 8], [points, at, 5001], [points, at, 0], [{ ...points, x: points.x.subarray(1) }, at, 8], [{ ...points, x: points.x.map((x, k) => k === 9 ? Infinity : x) }, at, 8]] as const) {
        const refusal = await cpu.nearest(of, where, k).then(() => undefined, (error: Error) => error.message)
        expect(await device.nearest(of, where, k).then(() => undefined, (error: Error) => error.message)).toBe(refusal)
      }
    } finally {
      await device.close()
    }
  })

  test('that is lost meanwhile: the CPU computes with one warning, what is asked next is for a new device', async () => {
    const cpu = counting()
    const backend = await LocalBackend.open({ ...OPTIONS, canary: false, frameBytes: 40_000 })
    const device = new Webgpu(backend, true, undefined, cpu)
    const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    try {
      const first = plain(await device.nearest(points, at, 8))
      const encode = Frame.prototype.dispatch
      let calls = 0
      const dispatches = vi.spyOn(Frame.prototype, 'dispatch').mockImplementation(function dispatch(this: Frame, given) {
        if (++calls === 3) this.session.device.destroy()
        encode.call(this, given)
      })
      expect(plain(await device.nearest(points, at, 8))).toBe(first)
      dispatches.mockRestore()
      expect(calls).toBeGreaterThanOrEqual(3)
      expect(cpu.asked).toEqual([600])
      expect(warnings).toHaveBeenCalledTimes(1)
      expect(plain(await device.nearest(points, at, 8))).toBe(first)
      expect(cpu.asked).toEqual([600])
    } finally {
      warnings.mockRestore()
      await device.close()
    }
  })

  test('that has too little memory: less at a time, then the CPU', async () => {
    const cpu = counting()
    const backend = await LocalBackend.open({ ...OPTIONS, canary: false })
    const device = new Webgpu(backend, true, undefined, cpu)
    const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    try {
      const first = plain(await device.nearest(points, at, 8))
      let most = 100
      const buffer = Frame.prototype.buffer
      const sizes = vi.spyOn(Frame.prototype, 'buffer').mockImplementation(function made(this: Frame, bytes) {
        // Lists of so many queries.
        if (bytes > most * 4 * 81) throw new GpuError('out-of-memory', 'no memory')
        return buffer.call(this, bytes)
      })
      expect(plain(await device.nearest(points, at, 8))).toBe(first)
      expect(cpu.asked).toEqual([])
      most = 0
      expect(plain(await device.nearest(points, at, 8))).toBe(first)
      expect(cpu.asked).toEqual([600])
      expect(warnings).toHaveBeenCalledTimes(1)
      sizes.mockRestore()
      expect(plain(await device.nearest(points, at, 8))).toBe(first)
      expect(cpu.asked).toEqual([600])
    } finally {
      vi.restoreAllMocks()
      await device.close()
    }
  })

  test('whose kernel fails the canary: the CPU computes everything and says so', async () => {
    const cpu = counting()
    const device = new Webgpu(await LocalBackend.open({ ...OPTIONS, kernels: altered('root_of(square) + 4u', 'root_of(square)') }), true, undefined, cpu)
    const warnings = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    try {
      await device.nearest(points, at, 8)
      await device.nearest(points, at, 9)
      expect(cpu.asked).toEqual([600, 600])
      expect(warnings.mock.calls.map(([message]) => message)).toEqual([expect.stringContaining('nearest-points')])
    } finally {
      warnings.mockRestore()
      await device.close()
    }
  })

  test('points that nobody has any more leave it', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    const backend = await LocalBackend.open({ ...OPTIONS, canary: false, idleMs: 1e9 })
    const device = new Webgpu(backend, true, undefined)
    try {
      await device.nearest(points, at, 8)
      const bytes = backend.engine.pointBytes
      expect(bytes).toBeGreaterThan(0)
      await (async () => device.nearest({ x: points.x, y: points.y }, at, 8))()
      expect(backend.engine.pointBytes).toBe(2 * bytes)
      await vi.waitFor(() => {
        collect()
        expect(backend.engine.pointBytes).toBe(bytes)
      }, { timeout: 20_000 })
    } finally {
      await device.close()
    }
  })

  test('group: the same dataset', async () => {
    const source = await items(Array.from({ length: 5000 }, (_, k) => ({ id: `p${k}`, fields: { xcoords: points.x[k]!, ycoords: points.y[k]!, value: Float32Array.of(k) } })))
    const steps = recipe([group({ samples: 700, neighbors: 12, size: 6, seed: 3 })])
    const digests: string[] = []
    for (const choice of ['cpu', 'webgpu'] as const) {
      const cache = await smallCache(tempDir())
      const cpu = counting()
      const device = choice === 'cpu' ? createCpuDevice() : new Webgpu(await RemoteBackend.open(OPTIONS), true, undefined, cpu)
      digests.push((await cache.dataset(source, steps, { device })).digest)
      expect(cpu.asked).toEqual([])
      await device.close()
      await cache.close()
    }
    expect(digests[1]).toBe(digests[0])
  })
})

// --- what must be noticed ---------------------------------------------------------------------------------------------------------------

function altered(from: string, to: string): (name: string) => Kernel {
  const right = kernel('nearest-points').code
  const code = right.replaceAll(from, to)
  if (code === right) throw new Error(`nearest-points has nothing like ${from}`)
  return (name) => name === 'nearest-points' ? { name, code, layout: layoutOf(code) } : kernel(name)
}

describe.skipIf(found.length === 0)('wrong kernels are noticed', () => {
  const controls: readonly { what: string; from: string; to: string }[] = [
    { what: 'candidates without room for rounding', from: 'root_of(square) + 4u', to: 'root_of(square)' },
    { what: 'a root that is too small', from: 'next * next <= square', to: 'next * next < square / 2u' },
    { what: 'a rank one too low', from: 'params.wanted - 1u', to: 'params.wanted - 2u' },
    { what: 'x and y of a query swapped', from: 'vec2u(queries[at] >> 16u, queries[at] & 0xffffu)', to: 'vec2u(queries[at] & 0xffffu, queries[at] >> 16u)' },
    { what: 'a block that ends too early', from: 'vec2u(params.columns, params.rows) - vec2u(1u)', to: 'cell' },
    { what: 'a block no wider than its points', from: 'let wide = (3u * (ring + 1u) + 1u) / 2u + ((4u + (1u << params.shift) - 1u) >> params.shift)', to: 'let wide = ring' },
    { what: 'the last point of a row left out', from: 'point < ends.y', to: 'point + 1u < ends.y' },
    { what: 'a lane too few', from: 'point += LANES', to: 'point += LANES + 1u' },
    { what: 'digits that are not settled', from: 'found |= settled.x << shift', to: 'found |= settled.x' },
    { what: 'a list that begins one too early', from: 'lists[list + 1u + place]', to: 'lists[list + place]' },
    { what: 'the count of the query before', from: 'atomicStore(&counter, 0u);\n  }\n  workgroupBarrier();\n  for', to: '}\n  workgroupBarrier();\n  for' },
  ]
  test.each(controls)('$what', async ({ from, to }) => {
    const [, one] = quick!
    const points = hardPoints(new Random(43))
    const sets = ['random', 'dense in places', 'almost on a lattice'].map((name) => points[name]!)
    const notice = (kernels: (name: string) => Kernel): Promise<boolean> => withEngine(one, { kernels }, async (engine) => {
      for (const set of sets) {
        for (const k of [2, 12]) {
          const { wrong, undone } = await outcome(engine, set, spread(set, 150), k)
          if (wrong.length + undone.length > 0) return true
        }
      }
      return false
    })
    expect(await notice(kernel)).toBe(false)
    expect(await notice(altered(from, to))).toBe(true)
    // And by the canary, which sees nothing else.
    const passes = (kernels: (name: string) => Kernel): Promise<boolean> => withEngine(one, { kernels }, async (engine) => digestOf(await nearestOnDevice(engine)) === GOLDEN[NEAREST])
    expect(await passes(kernel)).toBe(true)
    expect(await passes(altered(from, to))).toBe(false)
  })
})
