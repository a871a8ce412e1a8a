import { setImmediate } from 'node:timers/promises'
import { describe, expect, test, vi } from 'vitest'
import { DTYPES, type TypedArray } from '../../src/core/dtype.js'
import { elementCount, typedArray } from '../../src/core/tensor.js'
import type { Device } from '../../src/devices/device.js'
import { Webgpu, createWebgpuDevice } from '../../src/devices/webgpu.js'
import { ARITHMETIC, Canary, verdictKey, type Verdicts } from '../../src/devices/webgpu/canary.js'
import { Engine } from '../../src/devices/webgpu/engine.js'
import { LocalBackend, dawnVersion } from '../../src/devices/webgpu/local.js'
import type { FrameWork } from '../../src/devices/webgpu/frame.js'
import { kernel, type Kernel } from '../../src/devices/webgpu/wgsl.js'
import { layoutOf } from '../../src/ops/wgsl-layout.js'
import type { Program } from '../../src/ops/program.js'
import { interpret } from '../reference/interpret.js'
import { ENGINE, engines, withEngine, type TestEngine } from '../support/gpu.js'
import { plainSums, sumsOnDevice } from './blocks.js'
import { difference, runGpu } from './compare.js'
import { affined, boxed, castTo, chain, fixedMatrix, gathered, linearTable, normalized, resampled } from './programs.js'
import { Random, floats } from './values.js'

const found = (await engines()).map((one) => [one.name, one] as const)
const isLavapipe = ({ name }: TestEngine): boolean => /llvmpipe/.test(name)

// As in controls.test.ts, but here the WGSL itself is wrong, and it is run.

type Kernels = (name: string) => Kernel

/** All kernels as they are, but one with passages replaced. */
function altered(name: string, ...replacements: readonly (readonly [string | RegExp, string])[]): Kernels {
  let { code } = kernel(name)
  for (const [from, to] of replacements) {
    const before = code
    code = code.replace(from, to)
    if (code === before) throw new Error(`${name} has nothing like ${from}`)
  }
  const wrong = { name, code, layout: layoutOf(code) }
  return (wanted) => wanted === name ? wrong : kernel(wanted)
}

const GUARD = /fn guard\(x: f32\) -> f32 \{[^}]*\}/
const NO_GUARD = 'fn guard(x: f32) -> f32 { return x; }'
/** Flushes as it should, but the compiler sees through it. */
const NO_XOR = 'fn guard(x: f32) -> f32 { return select(x, 0.0, abs(x) <= 0x1p-126); }'

async function differs(one: TestEngine, kernels: Kernels | undefined, program: Program, inputs: readonly TypedArray[], workgroupSize = 256): Promise<string | undefined> {
  return withEngine(one, { kernels, workgroupSize }, async (engine) => difference(program, 1, await runGpu(engine, program, 1, inputs), interpret(program, 1, inputs)))
}

async function expectNoticed(one: TestEngine, kernels: Kernels, program: Program, inputs: readonly TypedArray[], workgroupSize = 256): Promise<void> {
  expect(await differs(one, undefined, program, inputs, workgroupSize), 'the right kernel').toBeUndefined()
  expect(await differs(one, kernels, program, inputs, workgroupSize), 'the wrong kernel').toMatch(/^output 0, item 0, element \d+: 0x/)
}

/** The same program, its reading through a matrix by nearest elements. */
function nearest(program: Program): Program {
  return { ...program, steps: program.steps.map((step) => step.kernel === 'affine' ? { ...step, method: 'nearest' } : step) }
}

const random = new Random(173)

describe.each(found)('a wrong kernel is noticed on %s', (_name, one) => {
  const n = 3000
  // No number here, and no result, is near 2^-126: only what the compiler makes of products and sums can differ.
  const ordinary = new Float32Array(2 * n).map(() => 1 + random.unit())
  const weights = { axis: 1, taps: 2, index: Int32Array.of(0, 1), weight: Float32Array.of(0.3, 0.7) }
  const weigh = chain({ dtype: 'float32', shape: [n, 2] }, resampled([n, 2], [weights]))

  test('resample without guard, on values at the edge of tininess', async () => {
    await expectNoticed(one, altered('resample', [GUARD, NO_GUARD]), weigh, [floats(2 * n, random, 'edges')])
  })

  test('the canary without guard, by its verdict', async () => {
    const check = (kernels?: Kernels): Promise<readonly string[]> =>
      withEngine(one, { kernels }, async (engine) => (await new Canary(engine, one.facts, dawnVersion(), {}).check([])).failed)
    expect(await check()).toEqual([])
    expect(await check(altered('canary', [GUARD, NO_GUARD]))).toEqual([ARITHMETIC])
  })

  // What the compiler does to sums and products that nothing keeps apart; lavapipe's makes y of x + y - x. Where it does nothing, as SwiftShader's,
  // this says so.
  test('arithmetic without guard, on ordinary numbers', async () => {
    expect(await simplified(one)).toEqual([])
    expect(await simplified(one, altered('canary', [GUARD, NO_XOR]))).toEqual([])
    const without = await simplified(one, altered('canary', [GUARD, NO_GUARD]))
    if (isLavapipe(one)) expect(without).toEqual(['(x + y) - x'])
    // The weighted sums of resample offer it nothing to simplify; other compilers would fuse them.
    if (isLavapipe(one)) expect(await differs(one, altered('resample', [GUARD, NO_GUARD]), weigh, [ordinary])).toBeUndefined()
  })

  const turn = fixedMatrix([0.8, -0.6, 0.1, 1.1, 0.55, 0.75, -0.2, 0.4, 0.1, 0.2, 0.9, -0.3])
  const cube = [9, 10, 11]
  const turned = chain({ dtype: 'float32', shape: cube }, affined('float32', cube, 0, cube, turn, 'linear'))

  test('affine without guard, on values at the edge of tininess', async () => {
    await expectNoticed(one, altered('affine', [GUARD, NO_GUARD]), turned, [floats(990, random, 'edges')])
  })

  test('affine: a carry that is lost, coordinates that are cut off, axes swapped, an edge that is not held, a cell too wide', async () => {
    const values = floats(990, random, 'plain')
    const nearby = chain({ dtype: 'float32', shape: cube }, affined('float32', cube, 0, cube, turn, 'nearest'))
    const held = chain({ dtype: 'float32', shape: cube }, affined('float32', cube, 0, cube, turn, 'linear', 'clamp'))
    await expectNoticed(one, altered('affine', ['a.y + b.y + select(0u, 1u, lower < a.x)', 'a.y + b.y']), turned, [values])
    await expectNoticed(one, altered('affine', ['vec2u(0x8000u, 0u)', 'vec2u(0u, 0u)']), turned, [values])
    await expectNoticed(one, altered('affine', ['b - a) * t', 'a - b) * t']), turned, [values])
    await expectNoticed(one, altered('affine', ['clamp(position, 0, bitcast<i32>(extent) - 1)', 'abs(position) % bitcast<i32>(extent)']), held, [values])
    for (const [kernel, program] of [['affine', turned], ['affine-nearest', nearby]] as const) {
      await expectNoticed(one, altered(kernel, ['position.y)', 'position.z)'], ['position.z)));\n  // Rounded', 'position.y)));\n  // Rounded']), program, [values])
      await expectNoticed(one, altered(kernel, ['position >= 0 && position <', 'position >= -1 && position <=']), program, [values])
      await expectNoticed(one, altered(kernel, ['return at.low + bitcast<i32>(at.rest >> 23u)', 'return at.low']), program, [values])
      await expectNoticed(one, altered(kernel, ['if (unit >= params.elements)', 'if (unit + 1u >= params.elements)'].map((text) => kernel === 'affine' ? text : text.replace('unit', 'begin')) as [string, string]), kernel === 'affine' ? held : nearest(held), [values])
    }
  })

  test('two elements swapped: move, normalize', async () => {
    const values = floats(100, random, 'plain')
    await expectNoticed(one, altered('move', ['result[unit * words + w] = source', 'result[(unit ^ u32(unit / 2u == 20u)) * words + w] = source']),
      chain({ dtype: 'float32', shape: [100] }, gathered('float32', [100], [Int32Array.from({ length: 100 }, (_, i) => 99 - i)])), [values])
    await expectNoticed(one, altered('normalize', ['result[element - params.result_start]', 'result[(element ^ u32(element / 2u == 20u)) - params.result_start]']),
      chain({ dtype: 'float32', shape: [100] }, normalized([100], { statistics: 'none', affine: Float32Array.of(0, 0, 2, 1, 0, 0) })), [values])
  })

  test('two taps swapped: resample', async () => {
    await expectNoticed(one, altered('resample', ['tables[indices] * params.inner', 'tables[indices + 1u] * params.inner'], ['tables[indices + t] * params.inner', 'tables[indices] * params.inner']), weigh, [ordinary])
  })

  test('the last element dropped: cast, resample, and the last member of a sum', async () => {
    const values = floats(5000, random, 'plain')
    await expectNoticed(one, altered('cast', ['if (begin >= params.elements)', 'if (begin + 1u >= params.elements)']), chain({ dtype: 'float32', shape: [5000] }, castTo('float64', [5000])), [values])
    await expectNoticed(one, altered('resample', ['if (at >= params.elements)', 'if (at + 1u >= params.elements)']), weigh, [ordinary])
    await expectNoticed(one, altered('normalize-deviations', ['if (member < size)', 'if (member + 1u < size)']), chain({ dtype: 'float32', shape: [5000] }, normalized([5000], {})), [values])
  })

  test('foreground-box: a stop one short, what equals the threshold taken, axes swapped, NaN taken, the first and the last element not seen, a sign or an upper word not looked at, a start from another end', async () => {
    const shape = [29, 13, 17]
    const box = (dtype: 'uint8' | 'int16' | 'int64' | 'float16', threshold: number): Program => chain({ dtype, shape }, boxed([0, 1, 2], threshold))
    const bytes = (lit: Readonly<Record<number, number>>): Uint8Array => Uint8Array.from({ length: 29 * 13 * 17 }, (_, i) => lit[i] ?? 5)
    const middle = bytes({ 2222: 9, 3333: 8, 4444: 9 })
    const ends = bytes({ 0: 9, 3000: 9, 6408: 9 })
    await expectNoticed(one, altered('foreground-box', ['position + vec3u(1u)', 'position']), box('uint8', 7), [middle])
    await expectNoticed(one, altered('foreground-box', ['extents - position', 'extents - position - vec3u(1u)']), box('uint8', 7), [middle])
    await expectNoticed(one, altered('foreground-box', ['is_at_most(params.keys.xy, key)', 'is_at_most(params.keys.xy, key + vec2u(1u, 0u))']), box('uint8', 8), [bytes({ 0: 8, 2222: 9 })])
    await expectNoticed(one, altered('foreground-box', ['vec3u(params.stride_x, params.stride_y, params.stride_z)', 'vec3u(params.stride_x, params.stride_z, params.stride_y)']), box('uint8', 7), [middle])
    await expectNoticed(one, altered('foreground-box', ['is_at_most(key, params.keys.zw)', 'true']), box('float16', 1), [Uint16Array.from(middle, (value, i) => value === 5 ? 0 : i === 2222 ? 0x4000 : 0x7c01)])
    await expectNoticed(one, altered('foreground-box', ['i < size; i +=', 'i + 1u < size; i +=']), box('uint8', 7), [ends])
    await expectNoticed(one, altered('foreground-box', ['var i = local; i < size', 'var i = max(local, 1u); i < size']), box('uint8', 7), [ends])
    await expectNoticed(one, altered('foreground-box', ['!is_floating(DTYPE) && !is_signed_integer(DTYPE)', '!is_floating(DTYPE)']), box('int16', 7), [Int16Array.from(ends, (value, i) => i === 3000 || value === 5 ? value : -value)])
    await expectNoticed(one, altered('foreground-box', ['a.y < b.y || (a.y == b.y && a.x <= b.x)', 'a.x <= b.x']), box('int64', 7), [BigInt64Array.from(middle, (value) => BigInt(value) - 2n ** 33n * BigInt(value % 2))])
    await expectNoticed(one, altered('foreground-starts', ['params.extent_y - boxes', 'params.extent_z - boxes']), box('uint8', 7), [middle])
    await expectNoticed(one, altered('foreground-starts', [' || boxes[6u * item + 3u] == 0u', '']), box('uint8', 9), [middle])
  })

  // The second pass of moments corrects what the first does wrong: outputs hardly tell, so the sums themselves are looked at.
  test('a sum in whose tree the workgroup shows: only at another size than the one it was written for', async () => {
    const values = floats(5 * 4096 - 7, random, 'cancel')
    const sums = (workgroupSize: number, kernels?: Kernels): Promise<Uint32Array> => withEngine(one, { workgroupSize, kernels }, (engine) => sumsOnDevice(engine, values))
    const kernels = altered('normalize-sums', ['for (var half = 256u;', `for (var i = local + WORKGROUP_SIZE; i < 512u; i += WORKGROUP_SIZE) {
      sums[local] = guard(sums[local] + sums[i]);
    }
    for (var half = WORKGROUP_SIZE / 2u;`])
    const expected = plainSums(values)
    for (const size of [64, 256]) expect(await sums(size)).toEqual(expected)
    expect(await sums(256, kernels)).toEqual(expected)
    expect(await sums(64, kernels)).not.toEqual(expected)
  })

  test('a cast that rounds half up', async () => {
    const half = Float32Array.of(1, 1 + 2 ** -11, 1 + 3 * 2 ** -11)
    await expectNoticed(one, altered('cast', ['(rest == 0x80000000u && (units & 1u) != 0u)', 'rest == 0x80000000u']), chain({ dtype: 'float32', shape: [3] }, castTo('float16', [3])), [half])
  })
})

/** Which of the canary's expressions come out otherwise than written, on numbers far from 2^-126. */
async function simplified(one: TestEngine, kernels?: Kernels): Promise<string[]> {
  const f = Math.fround
  const n = 4096
  const [a, b, c] = [0, 1, 2].map(() => new Float32Array(n).map(() => (random.unit() + 0.1) * (random.below(2) === 0 ? 1 : 1000))) as [Float32Array, Float32Array, Float32Array]
  const results = await withEngine(one, { kernels }, (engine) => engine.withFrame(['canary'], async (frame) => {
    let result: GPUBuffer
    const work = function * (): FrameWork {
      const [x, y, z] = [a, b, c].map((values) => {
        const buffer = frame.buffer(n * 4)
        frame.upload(buffer, new Uint8Array(values.buffer))
        return { buffer, offset: 0, size: n * 4 }
      })
      result = frame.buffer(n * 48)
      frame.dispatch({ kernel: 'canary', constants: {}, bindings: { a: x!, b: y!, c: z!, result: { buffer: result, offset: 0, size: n * 48 } }, params: { vectors: n }, workgroups: Math.ceil(n / 256) })
      yield * []
    }
    let made = new Float32Array()
    await frame.run(work(), () => [{ buffer: result, bytes: n * 48 }], ([bytes]) => { made = new Float32Array(bytes!.slice().buffer) })
    return made
  }))
  const written: Record<string, (x: number, y: number, z: number) => number> = {
    'x + y': (x, y) => f(x + y), 'x - y': (x, y) => f(x - y), 'x * y': (x, y) => f(x * y), '(x + y) - x': (x, y) => f(f(x + y) - x), 'x * (y + z)': (x, y, z) => f(x * f(y + z)),
    'x * y - x * y': () => 0, 'z + x * y': (x, y, z) => f(z + f(x * y)), 'x * y - y * z': (x, y, z) => f(f(x * y) - f(y * z)),
    '(x + y) + z': (x, y, z) => f(f(x + y) + z), 'x + (y + z)': (x, y, z) => f(x + f(y + z)),
  }
  return Object.entries(written).filter(([, compute], k) => a.some((x, i) => results[12 * i + k] !== compute(x, b[i]!, c[i]!))).map(([text]) => text)
}

// --- what a device does that does not pass --------------------------------------------------------------------------------------------

describe.each(found)('a device that does not pass: %s', (_name, one) => {
  const weigh = chain({ dtype: 'float32', shape: [40] }, resampled([40], [linearTable(0, 40, 17)]))
  const cast = chain({ dtype: 'float32', shape: [40] }, castTo('float16', [40]))
  const values = floats(80, random, 'edges')

  /** Prepares and runs each program twice, closes the device, and says which of them were run by the engine, and what was warned of. */
  async function observe(device: Device, programs: readonly Program[]): Promise<{ onGpu: boolean[]; warnings: string[] }> {
    const warnings: string[] = []
    const listen = (warning: Error & { code?: string }): void => { if (warning.code === 'TENSORCACHE_DEVICE') warnings.push(warning.message) }
    process.on('warning', listen)
    const engine = vi.spyOn(Engine.prototype, 'run')
    const onGpu: boolean[] = []
    try {
      for (const program of [...programs, ...programs]) {
        const prepared = await device.prepare(program)
        // The canary's miniatures are not counted.
        engine.mockClear()
        const outputs = program.outputs.map(({ value }) => {
          const { dtype, shape } = program.values[value]!
          const bytes = 2 * elementCount(shape)! * DTYPES[dtype].size
          return typedArray(dtype, new ArrayBuffer(bytes), 0, bytes)
        })
        const faults = await prepared.run({ count: 2, inputs: [values], outputs })
        expect(difference(program, 2, { outputs, faults }, interpret(program, 2, [values]))).toBeUndefined()
        onGpu.push(engine.mock.calls.length > 0)
      }
      await setImmediate()
    } finally {
      engine.mockRestore()
      process.off('warning', listen)
      await device.close()
    }
    return { onGpu, warnings }
  }
  const local = async (kernels?: Kernels): Promise<Device> =>
    new Webgpu(await LocalBackend.open({ ...ENGINE, adapter: one.name, canary: true, known: {}, kernels }), true, undefined)

  test('one that passes computes, and warns of nothing', async () => {
    expect(await observe(await local(), [weigh, cast])).toEqual({ onGpu: [true, true, true, true], warnings: [] })
  })

  test('wrong arithmetic: the CPU computes everything, with one warning', async () => {
    const { onGpu, warnings } = await observe(await local(altered('canary', ['guard(x * y)', 'guard(x * y + 0x1p-80)'])), [weigh, weigh])
    expect(onGpu).toEqual([false, false, false, false])
    expect(warnings).toEqual([`tensorcache: ${one.name} computes ${ARITHMETIC} otherwise than the reference; the CPU computes instead, with the same bytes`])
  })

  test('one wrong kernel: the CPU computes what needs it, with one warning', async () => {
    const { onGpu, warnings } = await observe(await local(altered('resample', ['var t = 1u', 'var t = 2u'])), [weigh, cast])
    expect(onGpu).toEqual([false, true, false, true])
    expect(warnings).toHaveLength(1)
    expect(warnings[0]).toContain('computes resample otherwise than the reference')
  })

  test('a verdict that is remembered: nothing is checked again', async () => {
    const written: Verdicts[] = []
    const known = { [verdictKey(one.facts, dawnVersion(), 'cast')]: false }
    const device = await createWebgpuDevice({ adapter: one.name, thread: 'main', verdicts: { read: () => known, write: (learned) => { written.push(learned) } } })
    const { onGpu, warnings } = await observe(device, [weigh, cast])
    expect(onGpu).toEqual([true, false, true, false])
    expect(warnings).toHaveLength(1)
    expect(warnings[0]).toContain('computes cast otherwise')
    const learned = written.flatMap((verdicts) => Object.entries(verdicts))
    expect(learned.sort()).toEqual([ARITHMETIC, 'resample'].map((check): [string, boolean] => [verdictKey(one.facts, dawnVersion(), check), true]).sort())
  })
})
