import { canonicalJson } from '../core/canonical.js'
import { sha256 } from '../core/hash.js'
import { checkOptions, number, show } from '../core/options.js'
import { seedData } from '../core/seed.js'
import { withAugmentation } from './augment.js'
import type { BatchPlan } from './batch-options.js'
import { batches, type Batch, type Batched } from './batches.js'
import { orderOf, type Order } from './order.js'
import { Steps } from './steps.js'

/**
 * Where a training loop is in an epoch: plain data of a few hundred bytes, for a checkpoint. It counts what all ranks together have taken, so that any number of ranks may go on from it, with any batch size.
 */
export interface BatchState {
  /** Version of the state's form. */
  readonly format: 1
  /** Says which data, 64 hex digits: the digest of the dataset, a hash of what a view is made from, or with `cache: false` one of recipe, names and sizes. */
  readonly digest: string
  /** The epoch that was gone through. */
  readonly epoch: number
  /** Steps of the epoch that have been made. */
  readonly step: number
  /** Items of the epoch's order that all ranks together have been given. */
  readonly position: number
  /** What the order depends on besides the epoch. */
  readonly order: {
    /** Positions of an epoch: items, or draws. */
    readonly length: number
    /** Where something is drawn; as a text beyond 2^53. */
    readonly seed?: number | string
    /** Where items are shuffled. */
    readonly shuffle?: true
    /** SHA-256 of the weights, 64 hex digits. */
    readonly weights?: string
    /** Where items of about one length lie together: by which field, and how many are sorted and stay together. */
    readonly bucket?: { readonly field: string; readonly window: number; readonly block: number }
  }
}

const FORMAT = 1
const EPOCH_MAX = 2 ** 32 - 1

/** A list of items, as an iterator needs it. */
export interface Iterated extends Batched {
  /** Says which data. */
  readonly binding: string
  /** Extent of each item on axis 0 of a field. */
  lengths(field: string, signal?: AbortSignal): Promise<Float64Array>
}

/**
 * Batches of one epoch, to be gone through once. `state()` says where it is, `restore(state)` goes on from there: at once, nothing before it is read or computed.
 */
export class BatchIterator implements AsyncIterableIterator<Batch> {
  readonly #items: Iterated
  #plan: BatchPlan
  #epoch: number
  /** Where the reading began: in the middle, after `restore`. */
  #begin = { step: 0, position: 0 }
  /** Steps since then whose batch was handed out. */
  #taken = 0
  /** What `dropLast` left out, and what other ranks were given, is done with, too. */
  #isDone = false
  #starting: Promise<AsyncGenerator<Batch, void, undefined>> | undefined
  #running: AsyncGenerator<Batch, void, undefined> | undefined
  /** Of a reading that was given up for another place. */
  #ending: Promise<unknown> = Promise.resolve()
  #weights: string | undefined

  /** @internal Use `batches` of a dataset. */
  constructor(items: Iterated, plan: BatchPlan) {
    this.#items = items
    this.#plan = plan
    this.#epoch = plan.epoch
  }

  /** The epoch that is gone through: that of the options, or of the state. */
  get epoch(): number {
    return this.#epoch
  }

  /** Batches that this rank is given from where it began to the epoch's end. */
  get length(): number {
    return this.#steps(this.#length).batches
  }

  /** What comes after the batch that was handed out last. */
  state(): BatchState {
    const length = this.#length
    return {
      format: FORMAT,
      digest: this.#items.binding,
      epoch: this.#epoch,
      step: this.#begin.step + this.#taken,
      position: this.#isDone ? length : this.#taken === 0 ? this.#begin.position : this.#steps(length).positionAfter(this.#taken),
      order: this.#order(length),
    }
  }

  /**
   * Goes on from a state that `state()` gave, here or elsewhere: with the epoch it had, and with as many ranks and items per batch as this one has. Gives itself. Throws TypeError when the state is of other data, or
   * of another order: then what is left would not be what was left.
   */
  restore(state: BatchState): this {
    const where = 'restore'
    checkOptions(where, state, ['format', 'digest', 'epoch', 'step', 'position', 'order'])
    if (state.format !== FORMAT) throw new TypeError(`${where}: format ${show(state.format)} is not known; this version reads ${FORMAT}`)
    if (state.digest !== this.#items.binding) throw new TypeError(`${where}: the state is of other data: it says ${show(state.digest)}, this is ${this.#items.binding}`)
    const epoch = number(where, 'epoch', state.epoch, { integer: true, min: 0, max: EPOCH_MAX })
    const step = number(where, 'step', state.step, { integer: true, min: 0 })
    const position = number(where, 'position', state.position, { integer: true, min: 0, max: this.#length })
    // What lies together in blocks stays together, however many ranks there are now.
    const bucket = state.order?.bucket
    const plan = this.#plan.bucket === undefined || bucket === undefined ? this.#plan : { ...this.#plan, bucket: { field: this.#plan.bucket.field, ...sizesOf(bucket) } }
    const [then, now] = [canonicalJson(state.order), canonicalJson(this.#order(this.#length, plan))]
    if (then !== now) throw new TypeError(`${where}: the state is of another order: it says ${then}, this is ${now}`)
    // What an earlier reading failed with was said where it was read.
    this.#ending = this.#starting?.then((running) => running.return()).catch(() => undefined) ?? this.#ending
    this.#starting = undefined
    this.#running = undefined
    this.#plan = plan
    this.#epoch = epoch
    this.#begin = { step, position }
    this.#taken = 0
    this.#isDone = false
    return this
  }

  /** The next batch, which is prepared ahead. */
  next(): Promise<IteratorResult<Batch, void>> {
    return this.#running === undefined ? this.#first() : this.#counted(this.#running)
  }

  /** Ends the epoch: what is being prepared is dropped. */
  async return(): Promise<IteratorResult<Batch, void>> {
    // What was never asked for need not be begun.
    this.#starting ??= Promise.resolve(this.#running = nothing())
    await (await this.#starting).return()
    return { done: true, value: undefined }
  }

  /** Itself: it is gone through once. */
  [Symbol.asyncIterator](): this {
    return this
  }

  /** As `return`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.return()
  }

  async #first(): Promise<IteratorResult<Batch, void>> {
    return this.#counted(await this.#start())
  }

  #counted(running: AsyncGenerator<Batch, void, undefined>): Promise<IteratorResult<Batch, void>> {
    return running.next().then((result) => {
      // Unless it has been told to go on elsewhere meanwhile.
      if (running !== this.#running) return result
      if (result.done === true) this.#isDone = true
      else this.#taken++
      return result
    })
  }

  #start(): Promise<AsyncGenerator<Batch, void, undefined>> {
    return this.#starting ??= this.#ending.then(async () => {
      const plan = this.#plan
      const lengths = plan.bucket === undefined ? undefined : await this.#items.lengths(plan.bucket.field, plan.signal)
      const orderIn = (epoch: number): Order => orderOf(plan, epoch, this.#items.length, lengths)
      const steps = new Steps(orderIn(this.#epoch), plan, this.#begin.position)
      const next = this.#epoch < EPOCH_MAX ? new Steps(orderIn(this.#epoch + 1), plan, 0).order : undefined
      return this.#running = batches(withAugmentation(this.#items, plan), plan, { number: this.#epoch, order: steps.order, next }, steps.batches)
    })
  }

  /** Positions of an epoch. */
  get #length(): number {
    return this.#plan.draws ?? this.#items.length
  }

  #steps(length: number): Steps {
    return new Steps({ length, indices: () => { throw new Error('only counted') } }, this.#plan, this.#begin.position)
  }

  #order(length: number, { shuffle, seed, weights, bucket, augment }: BatchPlan = this.#plan): BatchState['order'] {
    const isRandom = shuffle || weights !== undefined || augment.length > 0
    return {
      length,
      ...(isRandom && { seed: seedData(seed) }),
      ...(shuffle && { shuffle }),
      ...(weights !== undefined && { weights: this.#weights ??= sha256(new Uint8Array(weights.buffer)).toString('hex') }),
      ...(bucket !== undefined && { bucket }),
    }
  }
}

async function * nothing(): AsyncGenerator<Batch, void, undefined> {}

function sizesOf(bucket: { readonly window?: unknown; readonly block?: unknown }): { window: number; block: number } {
  const where = 'restore: order.bucket'
  const block = number(where, 'block', bucket.block, { integer: true, min: 1 })
  const window = number(where, 'window', bucket.window, { integer: true, min: block })
  if (window % block !== 0) throw new TypeError(`${where}: window must be a multiple of block, ${block}, not ${window}`)
  return { window, block }
}
