import { createHash } from 'node:crypto'
import { DTYPES, type DType } from '../../core/dtype.js'
import { sha256 } from '../../core/hash.js'
import { Philox } from '../../core/philox.js'
import { bytesOf, elementCount } from '../../core/tensor.js'
import type { AffineStep, NormalizeStep, Program, ProgramValue, Step } from '../../ops/program.js'
import type { AdapterFacts } from './dawn.js'
import type { Edges } from './edges.js'
import type { Engine } from './engine.js'
import type { Frame, FrameWork } from './frame.js'
import { GOLDEN } from './golden.js'
import { NEAREST, nearestOnDevice } from './nearest-miniature.js'
import type { Crystals, NeighborSearch } from './neighbors.js'
import { kernel } from './wgsl.js'

/**
 * Whether a device may be believed. Before its first program: 65,536 vectors of each operation in the way kernels use them, compared with the host's own
 * arithmetic. Before the first use of a kernel: a miniature of it, whose result is known (golden.ts). A device that fails is not used for that kernel.
 */

/** The check that comes before all others. */
export const ARITHMETIC = 'arithmetic'

/** What is known of an adapter from earlier: by `verdictKey`, whether it passed. */
export type Verdicts = Readonly<Record<string, boolean>>

/** Under which a verdict is remembered: another driver, Dawn or kernel text is another case. `dawn` is the version of the package. */
export function verdictKey(facts: AdapterFacts, dawn: string, check: string): string {
  const text = check === ARITHMETIC ? kernel('canary').code : kernel(check).code
  const { name, vendor, architecture, driver } = facts
  return sha256(JSON.stringify([name, vendor, architecture, driver, dawn, check, GOLDEN_OF[check] === undefined ? '' : GOLDEN[GOLDEN_OF[check]!]]), text).toString('hex')
}

export class Canary {
  readonly #engine: Engine
  readonly #facts: AdapterFacts
  readonly #dawn: string
  readonly #verdicts = new Map<string, Promise<boolean>>()
  readonly #known: Verdicts

  constructor(engine: Engine, facts: AdapterFacts, dawn: string, known: Verdicts) {
    this.#engine = engine
    this.#facts = facts
    this.#dawn = dawn
    this.#known = known
  }

  /** Those of the checks that the device fails, and what was learned on the way. */
  async check(kernels: Iterable<string>): Promise<{ failed: string[]; learned: Verdicts }> {
    const failed: string[] = []
    const learned: Record<string, boolean> = {}
    for (const name of new Set([ARITHMETIC, ...kernels])) {
      // Of what the user wrote there is nothing to compare with.
      if (name.startsWith('user-')) continue
      const key = verdictKey(this.#facts, this.#dawn, name)
      let verdict = this.#verdicts.get(key)
      if (verdict === undefined) {
        const known = this.#known[key]
        verdict = known === undefined ? this.#run(name) : Promise.resolve(known)
        this.#verdicts.set(key, verdict)
        // A device that was lost meanwhile has said nothing.
        verdict.catch(() => this.#verdicts.delete(key))
        if (known === undefined) learned[key] = await verdict
      }
      if (!await verdict) failed.push(name)
    }
    return { failed, learned }
  }

  async #run(name: string): Promise<boolean> {
    if (name === ARITHMETIC) return this.#engine.withFrame(['canary'], arithmeticHolds)
    const miniature = GOLDEN_OF[name]
    if (miniature === undefined) return true
    if (SEARCHES[miniature] !== undefined) return this.#finds(miniature)
    if (miniature === NEAREST) return digestOf(await nearestOnDevice(this.#engine)) === GOLDEN[NEAREST]
    const { program, count, inputs } = MINIATURES[miniature]!()
    const outputs = program.outputs.map(({ value }) => new Uint8Array(count * bytesPerItem(program.values[value]!)))
    await this.#engine.run(program, { count, inputs, outputs })
    return digestOf(outputs) === GOLDEN[miniature]
  }

  async #finds(miniature: string): Promise<boolean> {
    const { searches, crystals } = SEARCHES[miniature]!()
    const found: Edges[] = []
    for (const search of searches) {
      const { edges, undone } = await this.#engine.neighbors(search, crystals)
      if (undone.length > 0) return false
      found.push(edges)
    }
    return digestOf(found.flatMap(edgeBytes)) === GOLDEN[miniature]
  }
}

/** SHA-256 of a miniature's outputs, as it stands in golden.ts. */
export function digestOf(outputs: readonly Uint8Array[]): string {
  const hash = createHash('sha256')
  for (const bytes of outputs) hash.update(bytes)
  return hash.digest('hex')
}

export function edgeBytes({ offsets, source, target, image, distance, vector, cut }: Edges): Uint8Array[] {
  return [offsets, source, target, image, distance, vector, cut].map(bytesOf)
}

// --- arithmetic -----------------------------------------------------------------------------------------------------------------------

const VECTORS = 65_536
const RESULTS = 12

async function arithmeticHolds(frame: Frame): Promise<boolean> {
  const random = generator('arithmetic')
  const [a, b, c] = [0, 1, 2].map(() => edgyFloats(VECTORS, random)) as [Float32Array, Float32Array, Float32Array]
  // Where fusing or reassociating shows: almost equal, and almost opposite.
  for (let i = 0; i < VECTORS; i += 4) b[i] = -Math.fround(a[i]! * (1 + ((i >> 2) % 5 - 2) * 2 ** -23))
  for (let i = 1; i < VECTORS; i += 4) c[i] = -Math.fround(flushed(a[i]!) * flushed(b[i]!))
  const expected = expectedArithmetic(a, b, c)
  let result: GPUBuffer
  const work = function * (): FrameWork {
    const whole = (values: Float32Array): { buffer: GPUBuffer; offset: number; size: number } => {
      const buffer = frame.buffer(values.byteLength)
      frame.upload(buffer, new Uint8Array(values.buffer))
      return { buffer, offset: 0, size: values.byteLength }
    }
    result = frame.buffer(VECTORS * RESULTS * 4)
    const bindings = { a: whole(a), b: whole(b), c: whole(c), result: { buffer: result, offset: 0, size: VECTORS * RESULTS * 4 } }
    frame.dispatch({ kernel: 'canary', constants: {}, bindings, params: { vectors: VECTORS }, workgroups: Math.ceil(VECTORS / frame.session.options.workgroupSize) })
    yield * []
  }
  let same = false
  await frame.run(work(), () => [{ buffer: result, bytes: VECTORS * RESULTS * 4 }], ([bytes]) => { same = Buffer.compare(bytes!, new Uint8Array(expected.buffer)) === 0 })
  return same
}

/** What kernels/canary.wgsl has to find, one rounding per operation. */
function expectedArithmetic(a: Float32Array, b: Float32Array, c: Float32Array): Float32Array {
  const out = new Float32Array(VECTORS * RESULTS)
  const bits = new Uint32Array(out.buffer)
  for (let i = 0; i < VECTORS; i++) {
    const [x, y, z] = [flushed(a[i]!), flushed(b[i]!), flushed(c[i]!)]
    const at = RESULTS * i
    const xy = flushed(x * y)
    out.set([
      flushed(x + y), flushed(x - y), xy, flushed(flushed(x + y) - x), flushed(x * flushed(y + z)), 0, flushed(z + xy), flushed(xy - flushed(y * z)),
      flushed(flushed(x + y) + z), flushed(x + flushed(y + z)), x < y ? y : x,
    ], at)
    bits[at + 11] = x < y ? 1 : x > y ? 2 : 4
  }
  return out
}

/** float32, and +0 where devices may differ on tininess. A product or sum of two float32 in f64 rounds to float32 as if it were exact. */
function flushed(value: number): number {
  const rounded = Math.fround(value)
  return Math.abs(rounded) <= 2 ** -126 ? 0 : rounded
}

// --- miniatures -----------------------------------------------------------------------------------------------------------------------

interface Miniature {
  readonly program: Program
  readonly count: number
  readonly inputs: readonly Uint8Array[]
}

const ITEMS = 3

/** By name. Each runs its kernels at more than one block and workgroup, on values where devices are known to differ. */
export const MINIATURES: Readonly<Record<string, () => Miniature>> = {
  cast: () => {
    const pairs: [DType, DType][] = [['float64', 'float32'], ['float32', 'float16'], ['float16', 'float64'], ['int64', 'float32'], ['float32', 'uint8'], ['int16', 'bfloat16'], ['complex128', 'complex64']]
    return miniature('cast', pairs.map(([from, to]) => ({ input: value(from, [1031]), steps: [{ step: { kernel: 'cast', nonFinite: 'zero' }, out: value(to, [1031]) }] })))
  },
  move: () => miniature('move', (['uint8', 'float16', 'float32', 'complex128'] as const).map((dtype) => ({
    input: value(dtype, [5, 7, 9]),
    steps: [
      { step: { kernel: 'gather', index: [null, Int32Array.of(6, 5, -1, 3, 3, 0), Int32Array.of(-1, 0, 2, 4, 6, 8, 8, 1)], fill: Uint8Array.from({ length: DTYPES[dtype].size }, (_, i) => 17 * i + 1) }, out: value(dtype, [5, 6, 8]) },
      { step: { kernel: 'permute', order: [2, 0, 1] }, out: value(dtype, [8, 5, 6]) },
    ],
  }))),
  resample: () => {
    const table = (axis: number, extent: number, length: number, taps: number): object => {
      const random = generator(`table ${axis}`)
      const index = Int32Array.from({ length: length * taps }, () => random.below(extent))
      return { axis, taps, index, weight: Float32Array.from({ length: length * taps }, () => (random.float32() - 0.4) * 1.7) }
    }
    return miniature('resample', [{
      input: value('float32', [9, 17, 21]), steps: [{ step: { kernel: 'resample', tables: [table(0, 9, 6, 2), table(1, 17, 23, 4), table(2, 21, 13, 11)] }, out: value('float32', [6, 23, 13]) }],
    }])
  },
  affine: () => miniature('affine', (['clamp', 'constant'] as const).map((edges) => oblique('float32', [9, 17, 21], 'linear', edges))),
  'affine-nearest': () => miniature('affine-nearest', (['uint8', 'float16', 'int32', 'complex128'] as const).map((dtype, k) => oblique(dtype, [2, 9, 11, 13, 3], 'nearest', k % 2 === 0 ? 'constant' : 'clamp'))),
  // Thresholds that few of the random values exceed, so that each item has a box of its own.
  'foreground-box': () => miniature('foreground-box', ([['uint8', 254.5], ['int16', 32_740], ['int64', 0.9994 * 2 ** 63], ['float16', 65_000], ['float32', 2 ** 22], ['float64', 2 ** 1021]] as const).map(([dtype, threshold], k) => foreground(dtype, [[2, 41, 7, 23], [53, 11, 13, 1], [17, 3, 149]][k % 3]!, threshold))),
  'normalize-float': () => miniature('normalize-float', [false, true].map((nonzero) => normalization('float32', 2, 4999, { statistics: 'moments', nonzero }))),
  'normalize-integers': () => miniature('normalize-integers', (['bool', 'int8', 'uint16'] as const).map((dtype) => normalization(dtype, 2, 4999, { statistics: 'moments', nonzero: dtype === 'int8' }))),
  'normalize-extrema': () => miniature('normalize-extrema', [normalization('float32', 1, 9001, { statistics: 'extrema', clip: true })]),
  'normalize-quantiles': () => miniature('normalize-quantiles', [normalization('float32', 1, 17_001, { statistics: 'quantiles', quantileLow: 0.01, quantileHigh: 0.987, clip: true })]),
  'normalize-given': () => miniature('normalize-given', [normalization('float32', 2, 1500, { statistics: 'none', clip: true, affine: Float32Array.of(1.5, 2 ** -25, 0.3, -7, -9, 9, -2, 0, 3.1, 2 ** -130, -4, 5) })]),
}

/** By name: several searches in the same structures. */
export const SEARCHES: Readonly<Record<string, () => { readonly searches: readonly NeighborSearch[]; readonly crystals: Crystals }>> = {
  'neighbors-radius': () => ({ searches: [RADIUS, { ...RADIUS, selfLoops: true }], crystals: crystals('neighbors-radius') }),
  'neighbors-nearest': () => ({ searches: [{ ...RADIUS, maxNeighbors: 12 }, { ...RADIUS, nearest: 5 }, { ...RADIUS, nearest: 12, keepTies: true }], crystals: crystals('neighbors-nearest') }),
}

const RADIUS: NeighborSearch = { cutoff: 5.64, maxNeighbors: 0, selfLoops: false, nearest: 0, keepTies: false }

/** Which miniature stands for a kernel. */
const GOLDEN_OF: Readonly<Record<string, string>> = {
  cast: 'cast', move: 'move', resample: 'resample', affine: 'affine', 'affine-nearest': 'affine-nearest', 'foreground-box': 'foreground-box', 'foreground-starts': 'foreground-box', normalize: 'normalize-given', 'normalize-sums': 'normalize-float', 'normalize-deviations': 'normalize-float',
  'normalize-integers': 'normalize-integers', 'normalize-extrema': 'normalize-extrema', 'normalize-histogram': 'normalize-quantiles',
  'normalize-select': 'normalize-quantiles', 'normalize-next-key': 'normalize-quantiles',
  'scan-blocks': 'neighbors-radius', 'scan-add': 'neighbors-radius', 'neighbors-count': 'neighbors-radius', 'neighbors-fill': 'neighbors-radius', 'neighbors-select': 'neighbors-nearest', [NEAREST]: NEAREST,
}

/** The kernels that have a miniature. */
export const CHECKED_KERNELS: readonly string[] = Object.keys(GOLDEN_OF)

interface Line {
  readonly input: ProgramValue
  readonly steps: readonly { readonly step: object; readonly out: ProgramValue }[]
}

/** Several fields, each through its own steps; inputs are seeded by the name. */
function miniature(name: string, lines: readonly Line[]): Miniature {
  const values: ProgramValue[] = lines.map(({ input }) => input)
  const steps: Step[] = []
  const outputs: { field: string; value: number }[] = []
  lines.forEach(({ steps: some }, k) => {
    let at = k
    for (const { step, out } of some) {
      const next = values.push(out) - 1
      steps.push({ ...step, in: at, out: next, origin: { op: 0, opName: 'canary', field: `f${k}` } } as Step)
      at = next
    }
    outputs.push({ field: `f${k}`, value: at })
  })
  const random = generator(name)
  const inputs = lines.map(({ input: { dtype, shape } }) => {
    const elements = ITEMS * elementCount(shape)!
    if (dtype === 'float32' && name !== 'cast') return new Uint8Array(edgyFloats(elements, random).buffer)
    const bytes = new Uint8Array(elements * DTYPES[dtype].size)
    const words = new DataView(bytes.buffer)
    for (let i = 0; i + 4 <= bytes.length; i += 4) words.setUint32(i, random.uint32(), true)
    return bytes
  })
  return { program: { values, inputs: lines.map((_, k) => ({ field: `f${k}`, value: k })), outputs, steps }, count: ITEMS, inputs }
}

/** Cells of a few skewed ones; one whose prefix sums need two blocks; ties of symmetry; a cutoff that float32 cannot tell from a distance, and distances halfway between two float32. */
function crystals(name: string): Crystals {
  const random = generator(name)
  const coordinates = (atoms: number): number[] => Array.from({ length: 3 * atoms }, () => (random.below(3 * 2 ** 20) - 2 ** 20) * 2 ** -20)
  const skewed = (edge: number): number[] => Array.from({ length: 9 }, (_, k) => (k % 4 === 0 ? edge : 0) + (random.below(4096) - 2048) * 2 ** -10)
  const cube = (edge: number): number[] => [edge, 0, 0, 0, edge, 0, 0, 0, edge]
  const made = [
    ...[1, 2, 3, 5, 7].map((atoms) => ({ lattice: skewed(6), frac: coordinates(atoms) })),
    { lattice: cube(16), frac: coordinates(150) },
    { lattice: cube(5.64), frac: [0, 0, 0, 0.5, 0.5, 0, 0.5, 0, 0.5, 0, 0.5, 0.5, 0.5, 0, 0, 0, 0.5, 0, 0, 0, 0.5, 0.5, 0.5, 0.5] },
    ...[5.64 + 5e-10, 5.64 + 3e-9].map((edge) => ({ lattice: cube(edge), frac: [0, 0, 0] })),
    ...[16777217, 16777219, 25165825].map((bits) => ({ lattice: cube(8), frac: [0, 0, 0, bits * 2 ** -26, 0, 0] })),
  ]
  const offsets = new Float64Array(made.length + 1)
  made.forEach(({ frac }, k) => { offsets[k + 1] = offsets[k]! + frac.length / 3 })
  return { offsets, frac: Float64Array.from(made.flatMap(({ frac }) => frac)), lattice: Float64Array.from(made.flatMap(({ lattice }) => lattice)) }
}

/** The last three axes but what lies inside them, turned and stretched, partly beyond the edges; whole and half elements are met, and words carry. */
function oblique(dtype: DType, shape: readonly number[], method: AffineStep['method'], edges: AffineStep['edges']): Line {
  const axis = shape.length === 3 ? 0 : 1
  const steps = (value: number): bigint => BigInt(Math.round(value * 2 ** 40))
  const matrix = BigInt64Array.from([0.75, -0.5, 0.2, 2.5, 0.6000001, 0.8, -0.1, -3.3, 1 / 3, 0.123456789, 1.0000003, -2], steps)
  const made = shape.map((extent, k) => k < axis || k > axis + 2 ? extent : extent + 2)
  return { input: value(dtype, shape), steps: [{ step: { kernel: 'affine', axis, matrix, method, edges }, out: value(dtype, made) }] }
}

function foreground(dtype: DType, shape: readonly number[], threshold: number): Line {
  const axis = shape.length - 3
  return { input: value(dtype, shape), steps: [{ step: { kernel: 'foreground-box', axes: [axis + 2, axis, axis + 1], threshold }, out: value('int32', [2, 3]) }] }
}

function normalization(dtype: DType, groups: number, members: number, options: Partial<NormalizeStep>): Line {
  const shape = [groups, members]
  const defaults = { groups, members, nonzero: false, eps: 1e-8, toLow: -1, toHigh: 2, quantileLow: 0, quantileHigh: 1, clip: false, affine: null }
  return { input: value(dtype, shape), steps: [{ step: { kernel: 'normalize', ...defaults, ...options }, out: value('float32', shape) }] }
}

function value(dtype: DType, shape: readonly number[]): ProgramValue {
  return { dtype, shape }
}

function bytesPerItem({ dtype, shape }: ProgramValue): number {
  return elementCount(shape)! * DTYPES[dtype].size
}

/** The same numbers for the same name, on every machine. */
function generator(name: string): Philox {
  const words = sha256(name)
  return new Philox([words.readUInt32LE(0), words.readUInt32LE(4)], [0, 0, 0])
}

/** Finite float32: ordinary ones, and those at which flushing, rounding and tininess change their mind. Products of three do not overflow. */
function edgyFloats(count: number, random: Philox): Float32Array {
  const out = new Float32Array(count)
  const bits = new Uint32Array(out.buffer)
  for (let i = 0; i < count; i++) {
    const word = random.uint32()
    const exponent = EXPONENTS[word >>> 28]!
    const range = exponent.length === 1 ? 0 : random.below(exponent[1]! - exponent[0]!)
    // One in eight has a mantissa of a few bits only, for ties.
    const mantissa = (word & 7) === 0 ? word & 0x700000 : word & 0x7fffff
    bits[i] = ((word << 4) & 0x80000000) | ((exponent[0]! + range) << 23) | mantissa
  }
  return out
}

/** Biased exponents: mostly around 1, some where sums lose everything, some where products meet 2^-126, subnormals and zeros. */
const EXPONENTS: readonly (readonly number[])[] = [
  [120, 134], [120, 134], [120, 134], [120, 134], [120, 134], [126, 128], [126, 128], [127], [100, 150], [100, 150], [60, 68], [60, 68], [1, 3], [1], [0], [0],
]
