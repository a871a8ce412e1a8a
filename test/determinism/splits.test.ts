import { describe, expect, test, vi } from 'vitest'
import type { DType, TypedArray } from '../../src/core/dtype.js'
import { elementCount } from '../../src/core/tensor.js'
import { Frame } from '../../src/devices/webgpu/frame.js'
import type { NormalizeStep, Program } from '../../src/ops/program.js'
import { interpret } from '../reference/interpret.js'
import { compilesSlowly, engines, withEngine, type TestEngine } from '../support/gpu.js'
import { LONG, expectOnGpu, runNative } from './compare.js'
import { affined, boxed, castTo, chain, fixedMatrix, gathered, linearTable, normalized, permuted, resampled, together, wildTable } from './programs.js'
import { Random, anyBits, floats } from './values.js'

const found = (await engines()).map((one) => [one.name, one] as const)

// How work is cut into items, windows and workgroups is the host's and the adapter's business; the bytes must not know.

function inputsOf(program: Program, count: number, random: Random): TypedArray[] {
  return program.inputs.map(({ value }) => {
    const { dtype, shape } = program.values[value]!
    const n = count * elementCount(shape)!
    return dtype === 'float32' ? floats(n, random, 'edges') : anyBits(dtype, n, random)
  })
}

const GIVEN = Float32Array.of(1.5, 2 ** -25, 0.3, -7, -9, 9, -2, 0, 3.1, 2 ** -130, -4, 5, 0, 1e-3, 7, 0, -1, 1)
const TURN = fixedMatrix([0.8, -0.6, 0.1, 1.1, 0.55, 0.75, -0.2, 0.4, 0.1, 0.2, 0.9, -0.3])
const normalizing = (dtype: DType, groups: number, members: number, options: Partial<NormalizeStep>): Program =>
  chain({ dtype, shape: [groups, members] }, normalized([groups, members], { groups, ...options }))

/** Every kernel, each over several blocks and words that are not full. No faults: an item with one is not compared. */
function everyKernel(): Program {
  const random = new Random(137)
  return together(
    chain({ dtype: 'float64', shape: [1031] }, castTo('float16', [1031], 'keep')),
    chain({ dtype: 'float32', shape: [1031] }, castTo('uint8', [1031], 'keep')),
    chain({ dtype: 'complex128', shape: [515] }, castTo('complex64', [515], 'zero')),
    chain({ dtype: 'uint8', shape: [7, 11, 13] }, gathered('uint8', [7, 11, 13], [null, Int32Array.of(10, -1, 3, 3, 0), null], Uint8Array.of(9)), permuted('uint8', [7, 5, 13], [2, 0, 1])),
    chain({ dtype: 'float32', shape: [9, 17, 21] }, resampled([9, 17, 21], [linearTable(0, 9, 6), wildTable(1, 17, 23, 4, random), wildTable(2, 21, 13, 11, random)])),
    chain({ dtype: 'float32', shape: [9, 17, 21] }, affined('float32', [9, 17, 21], 0, [11, 16, 13], TURN, 'linear')),
    chain({ dtype: 'uint8', shape: [2, 9, 7, 5, 3] }, affined('uint8', [2, 9, 7, 5, 3], 1, [7, 8, 9], TURN, 'nearest')),
    chain({ dtype: 'int16', shape: [3, 5, 17, 43] }, boxed([3, 1, 2], 32_760)),
    normalizing('float32', 2, 4999, { nonzero: true }),
    normalizing('uint16', 2, 4999, {}),
    normalizing('int8', 2, 4999, { statistics: 'extrema' }),
    normalizing('float32', 1, 17_001, { statistics: 'quantiles', quantileLow: 0.01, quantileHigh: 0.987, clip: true }),
    normalizing('float32', 2, 515, { statistics: 'none', affine: GIVEN.subarray(0, 12), clip: true }),
  )
}

/** Kernels whose units are elements, words or workgroups, at one length; what has no groups of length 0 is left out there. */
function lengths(n: number): Program {
  return together(
    chain({ dtype: 'float32', shape: [n] }, castTo('float64', [n], 'keep')),
    chain({ dtype: 'int16', shape: [n] }, castTo('uint8', [n])),
    chain({ dtype: 'uint8', shape: [n] }, gathered('uint8', [n], [Int32Array.from({ length: n }, (_, i) => n - 1 - i)])),
    chain({ dtype: 'complex64', shape: [n] }, gathered('complex64', [n], [Int32Array.from({ length: n }, (_, i) => n - 1 - i)])),
    chain({ dtype: 'float32', shape: [n, 2] }, resampled([n, 2], [linearTable(1, 2, 1)])),
    chain({ dtype: 'float32', shape: [2, 2, 2] }, affined('float32', [2, 2, 2], 0, [1, 1, n], TURN, 'linear', 'clamp')),
    chain({ dtype: 'int8', shape: [2, 2, 2] }, affined('int8', [2, 2, 2], 0, [1, 1, n], TURN, 'nearest', 'clamp')),
    chain({ dtype: 'float16', shape: [1, n, 1] }, boxed([0, 1, 2], 0)),
    normalizing('float32', 1, n, { statistics: 'none', affine: GIVEN.subarray(0, 6) }),
    normalizing('uint8', n, 1, {}),
  )
}

describe.each(found)('on %s, the same bytes', (_name, one) => {
  const sizes = compilesSlowly(one) && !LONG ? [32] : [16, 32, 64, 128, 256]
  test(`with workgroups of ${sizes.join(', ')}, one or all items in a frame, and lengths around a workgroup's`, async () => {
    const count = 3
    const program = everyKernel()
    const inputs = inputsOf(program, count, new Random(139))
    const expected = interpret(program, count, inputs)
    expect(expected.faults).toEqual([])
    for (const workgroupSize of sizes) {
      await withEngine(one, { workgroupSize }, async (engine, limits) => {
        const on = { name: one.name, engine }
        // One item, two and a rest, all.
        for (const frameBytes of [1, 500_000, 2 ** 40]) {
          limits.frameBytes = frameBytes
          await expectOnGpu(`workgroups of ${workgroupSize}, frames of ${frameBytes}`, on, program, count, inputs, expected)
        }
        for (const n of [0, 1, workgroupSize - 1, workgroupSize, workgroupSize + 1, 4 * workgroupSize - 1, 4 * workgroupSize + 1]) {
          const some = lengths(n)
          const values = inputsOf(some, 2, new Random(n))
          await expectOnGpu(`workgroups of ${workgroupSize}, length ${n}`, on, some, 2, values, interpret(some, 2, values))
        }
      })
    }
  })

  test('with bindings so small that every kernel works in windows', async () => {
    const random = new Random(149)
    const faulty = Float64Array.from({ length: 2 * 3001 }, (_, i) => [5, 700, 2999, 3001 + 600].includes(i) ? NaN : i === 1500 || i === 3001 + 3000 ? 1e300 : i / 3)
    const overflowing = new Float32Array(2 * 160 * 13).map((_, i) => [0, 900, 2028, 2093, 4147].includes(i) ? 3e38 : i)
    const doubling = { axis: 1, taps: 2, index: Int32Array.of(0, 0, 12, 12, 5, 5), weight: new Float32Array(6).fill(1) }
    const cases: readonly { name: string; program: Program; inputs?: readonly TypedArray[]; atLeast?: number }[] = [
      { name: 'cast to words', program: chain({ dtype: 'float64', shape: [3001] }, castTo('float32', [3001], 'zero')) },
      { name: 'cast to parts of words', program: chain({ dtype: 'int64', shape: [3001] }, castTo('float16', [3001], 'keep')) },
      { name: 'cast to more bytes', program: chain({ dtype: 'uint8', shape: [5003] }, castTo('float64', [5003])) },
      { name: 'cast with faults in several windows', program: chain({ dtype: 'float64', shape: [3001] }, castTo('float32', [3001])), inputs: [faulty] },
      { name: 'gather bytes', program: chain({ dtype: 'uint8', shape: [3001] }, gathered('uint8', [3001], [Int32Array.from({ length: 9005 }, () => random.below(3002) - 1)], Uint8Array.of(7))) },
      { name: 'gather words', program: chain({ dtype: 'float32', shape: [30, 20] }, gathered('float32', [30, 20], [null, Int32Array.from({ length: 99 }, (_, i) => i % 21 - 1)])) },
      { name: 'permute and cast', program: chain({ dtype: 'int16', shape: [13, 17, 9] }, permuted('int16', [13, 17, 9], [2, 1, 0]), castTo('float64', [9, 17, 13])) },
      { name: 'resample', program: chain({ dtype: 'float32', shape: [50, 12, 9] }, resampled([50, 12, 9], [wildTable(1, 12, 17, 3, random), wildTable(2, 9, 11, 2, random)])) },
      { name: 'resample with faults in several windows', program: chain({ dtype: 'float32', shape: [160, 13] }, resampled([160, 13], [doubling])), inputs: [overflowing] },
      { name: 'affine', program: chain({ dtype: 'float32', shape: [30, 6, 7, 8] }, affined('float32', [30, 6, 7, 8], 1, [7, 6, 9], TURN, 'linear')) },
      { name: 'affine with faults in several windows', program: chain({ dtype: 'float32', shape: [160, 1, 1, 13] }, affined('float32', [160, 1, 1, 13], 1, [1, 1, 13], fixedMatrix([1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0.9, 0.3]), 'linear')), inputs: [overflowing.map((value, i) => i % 2 === 0 ? value : -value)] },
      { name: 'nearest through a matrix, bytes', program: chain({ dtype: 'uint8', shape: [9, 11, 10] }, affined('uint8', [9, 11, 10], 0, [19, 23, 21], TURN, 'nearest')) },
      { name: 'nearest through a matrix, words', program: chain({ dtype: 'int32', shape: [5, 6, 7] }, affined('int32', [5, 6, 7], 0, [19, 13, 11], TURN, 'nearest')) },
      { name: 'box of bytes', program: chain({ dtype: 'uint8', shape: [40, 41, 23] }, boxed([2, 1, 0], 254)) },
      { name: 'box of doubles', program: chain({ dtype: 'float64', shape: [23, 40, 41] }, boxed([0, 1, 2], 1e300)), atLeast: 8192 },
      { name: 'moments', program: normalizing('float32', 2, 9001, {}) },
      { name: 'moments of what is not zero', program: normalizing('float32', 1, 12_289, { nonzero: true }) },
      { name: 'moments of integers', program: normalizing('int8', 3, 8193, {}) },
      { name: 'extrema', program: normalizing('float32', 2, 9001, { statistics: 'extrema', clip: true }) },
      { name: 'quantiles', program: normalizing('float32', 1, 40_001, { statistics: 'quantiles', quantileLow: 0.1, quantileHigh: 0.9 }), atLeast: 16_384 },
      { name: 'quantiles of integers', program: normalizing('uint16', 1, 70_001, { statistics: 'quantiles', quantileLow: 0.1, quantileHigh: 0.9 }), atLeast: 16_384 },
      { name: 'given parameters', program: normalizing('float32', 2, 3001, { statistics: 'none', affine: GIVEN.subarray(0, 12) }) },
      { name: 'given parameters and bytes', program: normalizing('bool', 2, 3001, { statistics: 'none', affine: GIVEN.subarray(0, 12), clip: true }) },
    ]
    const dispatches = vi.spyOn(Frame.prototype, 'dispatch')
    try {
      await withEngine(one, {}, async (engine, limits) => {
        for (const { name, program, inputs = inputsOf(program, 2, random), atLeast = 4096 } of cases) {
          const expected = interpret(program, 2, inputs)
          const counts: number[] = []
          for (const bindingBytes of [2 ** 31, atLeast, atLeast + 256, 2 * atLeast, 3 * atLeast - 4]) {
            limits.bindingBytes = bindingBytes
            dispatches.mockClear()
            await expectOnGpu(`${name}, bindings of ${bindingBytes}`, { name: one.name, engine }, program, 2, inputs, expected)
            counts.push(dispatches.mock.calls.length)
          }
          // Twice as many come from the two items alone.
          expect(counts[1], `${name} is split`).toBeGreaterThan(2 * counts[0]!)
        }
      })
    } finally {
      dispatches.mockRestore()
    }
  })

  test('with fewer items at a time, where what is kept per group is larger than the items', async () => {
    const program = together(normalizing('float32', 4, 1, {}), normalizing('uint8', 3, 2, { statistics: 'none', affine: GIVEN }))
    const count = 150
    const inputs = inputsOf(program, count, new Random(163))
    await withEngine(one, { bindingBytes: 4096 }, (engine) => expectOnGpu('tiny groups', { name: one.name, engine }, program, count, inputs, interpret(program, count, inputs)))
  })

  test('with more workgroups than one dimension has', async () => {
    const n = 16 * 65_535 + 5
    const programs = [
      chain({ dtype: 'int32', shape: [n] }, castTo('uint32', [n])),
      ...LONG ? [
        chain({ dtype: 'float32', shape: [4 * n] }, castTo('uint8', [4 * n], 'keep')),
        chain({ dtype: 'float32', shape: [n] }, gathered('float32', [n], [Int32Array.from({ length: n }, (_, i) => n - 1 - i)])),
        chain({ dtype: 'float32', shape: [n, 2] }, resampled([n, 2], [linearTable(1, 2, 1)])),
        normalizing('float32', 1, n, { statistics: 'none', affine: GIVEN.subarray(0, 6) }),
        // One workgroup to a group.
        ...[{}, { statistics: 'extrema' as const }].flatMap((options) => [normalizing('float32', 65_536, 2, options), normalizing('uint8', 65_536, 3, options)]),
      ] : [],
    ]
    await withEngine(one, { workgroupSize: 16, frameBytes: 2 ** 40 }, async (engine) => {
      for (const program of programs) {
        const inputs = inputsOf(program, 1, new Random(151))
        await expectOnGpu(`2-D, ${program.steps[0]!.kernel}`, { name: one.name, engine }, program, 1, inputs, await runNative(program, 1, inputs, 'baseline', 2, 0))
      }
    })
  })

  test.skipIf(compilesSlowly(one) && !LONG)(`when one item has more than 128 MiB, and a batch of small ones${LONG ? '' : '; casts only'}`, async () => {
    await larger(one)
  })
})

/** 128 MiB is the most that lavapipe binds at once. */
async function larger(one: TestEngine): Promise<void> {
  const n = 2 ** 27 + 12_345
  const bytes = new Uint8Array(n)
  const words = new Uint32Array(bytes.buffer, 0, Math.floor(n / 4))
  for (let i = 0, word = 1; i < words.length; i++) words[i] = word = Math.imul(word, 1_664_525) + 1_013_904_223
  const signed = new Int8Array(bytes.buffer)
  await withEngine(one, { frameBytes: 2 ** 40, poolBytes: 2 ** 30 }, async (engine) => {
    const on = { name: one.name, engine }
    const whole = chain({ dtype: 'uint8', shape: [n] }, castTo('int8', [n]))
    await expectOnGpu('one item', on, whole, 1, [bytes], { outputs: [signed], faults: [] })
    const items = Math.floor(n / 1000)
    const small = chain({ dtype: 'uint8', shape: [1000] }, castTo('int8', [1000]))
    await expectOnGpu('many items', on, small, items, [bytes.subarray(0, items * 1000)], { outputs: [signed.subarray(0, items * 1000)], faults: [] })
    if (!LONG) return
    for (const program of [
      chain({ dtype: 'uint8', shape: [n] }, castTo('float16', [n])),
      normalizing('uint8', 1, n, {}), normalizing('uint8', 1, n, { statistics: 'quantiles', quantileLow: 0.01, quantileHigh: 0.99 }),
    ]) {
      await expectOnGpu('one item', on, program, 1, [bytes], await runNative(program, 1, [bytes], 'baseline', 2, 0))
    }
    const single = floats(40_000_000, new Random(157), 'cancel')
    const rows = chain({ dtype: 'float32', shape: [40_000, 1000] }, resampled([40_000, 1000], [linearTable(1, 1000, 37)]), normalized([40_000, 37], {}))
    await expectOnGpu('rows', on, rows, 1, [single], await runNative(rows, 1, [single], 'baseline', 2, 0))
    const moments = normalizing('float32', 1, 40_000_000, {})
    await expectOnGpu('moments', on, moments, 1, [single], await runNative(moments, 1, [single], 'baseline', 2, 0))
  })
}

