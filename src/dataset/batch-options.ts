import { boolean, checkOptions, number, show } from '../core/options.js'
import { seedOf } from '../core/seed.js'
import type { FieldSpecs } from '../core/tensor.js'
import { checkAugmentations } from '../ops/random/random-op.js'
import type { RandomOp } from '../ops/random/random-op.js'
import type { CollateFunction } from './collate.js'
import { graphFields, type GraphFields } from './graphs.js'

/** Options of `batches`. Those that choose the order are `shuffle`, `seed`, `epoch`, `weights`, `draws` and `bucket`; the others change nothing about it. */
export interface BatchOptions {
  /** Items per batch; of each rank, where there are several. */
  readonly size: number
  /** Another order in every epoch, computed from `seed` and `epoch`; default false. Needs a seed: no seed, no shuffle. */
  readonly shuffle?: boolean
  /** An integer from 0 to 2^64 - 1 (as a bigint beyond 2^53). */
  readonly seed?: number | bigint
  /** From 0; default 0. */
  readonly epoch?: number
  /**
   * Items drawn with replacement, item i with a probability in proportion to `weights[i]` (finite, from 0), in place of each item once. Other draws in every epoch, from `seed` and `epoch`; needs a seed. To mix datasets, give the
   * items of each in `concat(…)` their share.
   */
  readonly weights?: Float64Array | readonly number[]
  /** With `weights`: how many are drawn in an epoch; default: as many as there are items. */
  readonly draws?: number
  /** Items of about one length together, so that little is padded. */
  readonly bucket?: BucketOptions
  /**
   * The part of a rank, where several processes or threads train together: step by step, rank `index` of `count` gets `size` of the `size × count` items whose turn it is. `env` reads RANK and WORLD_SIZE, as torchrun sets them. Items that do
   * not fill the last step are shared out evenly; are there fewer of them than ranks, the step before takes them in. So all ranks make the same number of steps, together see every item once, and the last
   * batch of a rank may have fewer than `size` items, or one more.
   */
  readonly shard?: Shard | 'env'
  /**
   * Random changes (`randomFlip`, `randomCrop`, …) of each item, drawn from seed, epoch and item: the same on every device and with every number of ranks. Needs a seed.
   */
  readonly augment?: readonly RandomOp[]
  /** Leaves out a last batch that is not full; default false. */
  readonly dropLast?: boolean
  /** Batches that are prepared ahead; default 2, so that one is ready and one in work. */
  readonly prefetch?: number
  /**
   * How items become a batch: `stack` (default; equal shapes), `pad` (zeros at the end of each axis, true shapes in `<field>_shape`), `list`
   * (arrays of tensors), `graph` (as PyTorch Geometric: fields that differ in length are concatenated, `edge_index` int32 [2, edges] with the nodes of the graphs before
   * added, `batch` int32 [nodes], `ptr` int32 [graphs + 1]), or a function from the items to the batch's fields.
   */
  readonly collate?: Collate
  /** For `graph`: the field with one row per node; default `numbers`. */
  readonly nodeField?: string
  /** Fields to read; default all. */
  readonly fields?: readonly string[]
  /** Recycles a batch's memory at the next step: faster, and only for consumers that keep nothing. Default false. */
  readonly reuse?: boolean
  /** Aborted: the loop rejects with its reason. */
  readonly signal?: AbortSignal
}

/** How items become a batch: see `BatchOptions.collate`. */
export type Collate = 'stack' | 'pad' | 'list' | 'graph' | CollateFunction

/** One of several ranks. */
export interface Shard {
  /** From 0. */
  readonly index: number
  /** Ranks together. */
  readonly count: number
}

/** Puts items of about one length together. */
export interface BucketOptions {
  /** Its extent on axis 0 is an item's length. */
  readonly field: string
  /** Items of the epoch's order that are sorted together; a multiple of a step's. Default: a hundred steps. The larger, the less is padded and the less random the order is. */
  readonly window?: number
}

/** Checked, with all defaults. */
export interface BatchPlan {
  readonly size: number
  readonly shuffle: boolean
  readonly seed: bigint
  readonly epoch: number
  readonly weights: Float64Array | undefined
  readonly draws: number | undefined
  /** Items that lie together in blocks of `block`, which is a step of all ranks. */
  readonly bucket: { readonly field: string; readonly window: number; readonly block: number } | undefined
  readonly shard: Shard
  readonly augment: readonly RandomOp[]
  readonly dropLast: boolean
  readonly prefetch: number
  readonly collate: Collate
  readonly graph: GraphFields | undefined
  readonly fields: readonly string[]
  readonly reuse: boolean
  readonly signal: AbortSignal | undefined
}

const OPTIONS = ['size', 'shuffle', 'seed', 'epoch', 'weights', 'draws', 'bucket', 'shard', 'augment', 'dropLast', 'prefetch', 'collate', 'nodeField', 'fields', 'reuse', 'signal']
/** Steps that are sorted together. */
const WINDOW_STEPS = 100

/** `read` are the fields of the items as they are read, `length` how many items there are. Throws TypeError. */
export function checkBatchOptions(given: BatchOptions, read: FieldSpecs, length: number): BatchPlan {
  const where = 'batches'
  checkOptions(where, given, OPTIONS)
  const size = number(where, 'size', given.size, { integer: true, min: 1 })
  const shuffle = boolean(where, 'shuffle', given.shuffle, false)
  const weights = given.weights === undefined ? undefined : checkWeights(given.weights, length)
  const augment = checkAugmentations(where, given.augment)
  for (const [name, asked, what] of [['shuffle', shuffle, 'the order'], ['weights', weights !== undefined, 'the draws'], ['augment', augment.length > 0, 'what it draws']] as const) {
    if (asked && given.seed === undefined) throw new TypeError(`batches: ${name} needs a seed, so that ${what} can be had again`)
  }
  if (shuffle && weights !== undefined) throw new TypeError('batches: weights draw the items at random; leave out shuffle')
  if (given.draws !== undefined && weights === undefined) throw new TypeError('batches: draws says how many are drawn by weights; there are none')
  const collate = given.collate ?? 'stack'
  if (typeof collate !== 'function' && !['stack', 'pad', 'list', 'graph'].includes(collate)) {
    throw new TypeError(`batches: collate must be stack, pad, list, graph or a function, not ${show(collate)}`)
  }
  const fields = given.fields ?? Object.keys(read)
  for (const field of fields) {
    if (!Object.hasOwn(read, field)) throw new TypeError(`batches: the dataset has no field ${show(field)}; it has ${Object.keys(read).join(', ')}`)
  }
  const shard = checkShard(given.shard)
  const specs = augmented(augment, Object.fromEntries(fields.map((name) => [name, read[name]!])))
  checkCollate(collate, fields, specs)
  return {
    size, shuffle, weights, shard, augment, collate, fields,
    seed: given.seed === undefined ? 0n : seedOf(where, given.seed),
    epoch: number(where, 'epoch', given.epoch, { integer: true, min: 0, max: 2 ** 32 - 1 }, 0),
    draws: weights === undefined ? undefined : number(where, 'draws', given.draws, { integer: true, min: 1 }, length),
    bucket: given.bucket === undefined ? undefined : checkBucket(given.bucket, size * shard.count, read),
    dropLast: boolean(where, 'dropLast', given.dropLast, false),
    prefetch: number(where, 'prefetch', given.prefetch, { integer: true, min: 0, max: 1024 }, 2),
    graph: collate === 'graph' ? graphFields(specs, fields, given.nodeField ?? 'numbers') : undefined,
    reuse: boolean(where, 'reuse', given.reuse, false),
    signal: given.signal,
  }
}

/** Fields after the random ops. Throws TypeError where one does not fit. */
export function augmented(augment: readonly RandomOp[], fields: FieldSpecs): FieldSpecs {
  return augment.reduce((specs, op, i) => op.infer(specs, (message) => { throw new TypeError(`batches: augment ${i} (${op.name}): ${message}`) }), fields)
}

function checkCollate(collate: Collate, fields: readonly string[], specs: FieldSpecs): void {
  if (collate === 'pad') {
    for (const field of fields) {
      if (fields.includes(`${field}_shape`)) throw new TypeError(`batches: collate 'pad' puts the true shapes of ${field} into ${field}_shape, but the dataset has a field of that name; leave it out, or choose collate 'list'`)
    }
  }
  if (collate === 'stack') {
    for (const field of fields) {
      if (specs[field]!.shape.includes(null)) throw new TypeError(`batches: field ${field} has shapes that differ between items; choose collate 'pad' or 'list', or name other fields`)
    }
  }
}

function checkWeights(given: Float64Array | readonly number[], length: number): Float64Array {
  if (!(given instanceof Float64Array) && !Array.isArray(given)) throw new TypeError(`batches: weights must be a list of numbers, not ${show(given)}`)
  if (given.length !== length) throw new TypeError(`batches: weights must be one number per item, ${length}, not ${given.length}`)
  const weights = Float64Array.from(given)
  const bad = weights.findIndex((weight) => !(weight >= 0 && weight < Infinity))
  if (bad >= 0) throw new TypeError(`batches: weights must be finite and not negative; that of item ${bad} is ${weights[bad]}`)
  if (!weights.some((weight) => weight > 0)) throw new TypeError('batches: at least one of the weights must be more than 0')
  return weights
}

function checkShard(given: Shard | 'env' | undefined): Shard {
  if (given === undefined) return { index: 0, count: 1 }
  if (given === 'env') return { index: fromEnvironment('RANK', 0), count: fromEnvironment('WORLD_SIZE', 1) }
  const where = 'batches: shard'
  checkOptions(where, given, ['index', 'count'])
  const count = number(where, 'count', given.count, { integer: true, min: 1, max: 2 ** 20 })
  return { index: number(where, 'index', given.index, { integer: true, min: 0, max: count - 1 }), count }
}

function fromEnvironment(name: 'RANK' | 'WORLD_SIZE', min: number): number {
  const text = process.env[name]
  const value = text !== undefined && /^\d{1,7}$/.test(text) ? Number(text) : NaN
  const most = name === 'RANK' ? Number(process.env.WORLD_SIZE) - 1 : 2 ** 20
  if (!(value >= min && !(value > most))) throw new TypeError(`batches: shard 'env' reads the rank from the environment: RANK must be an integer from 0 to WORLD_SIZE - 1; RANK is ${show(process.env.RANK)}, WORLD_SIZE ${show(process.env.WORLD_SIZE)}`)
  return value
}

function checkBucket(given: BucketOptions, step: number, specs: FieldSpecs): NonNullable<BatchPlan['bucket']> {
  const where = 'batches: bucket'
  checkOptions(where, given, ['field', 'window'])
  const spec = Object.hasOwn(specs, given.field) ? specs[given.field] : undefined
  if (spec === undefined) throw new TypeError(`${where}: the dataset has no field ${show(given.field)}; it has ${Object.keys(specs).join(', ')}`)
  if (spec.shape[0] !== null) throw new TypeError(`${where}: field ${given.field} has items of one length, ${show(spec.shape)}`)
  const window = number(where, 'window', given.window, { integer: true, min: step }, WINDOW_STEPS * step)
  if (window % step !== 0) throw new TypeError(`${where}: window must be a multiple of the ${step} items of a step, not ${window}`)
  return { field: given.field, window, block: step }
}
