// A training loop that may be killed at any moment: resumed, it gives the batches and the losses that it would have given otherwise, to the last bit on TensorFlow.js' CPU backend.
import { appendFileSync } from 'node:fs'
import { openCache, type ItemList } from 'tensorcache'
import { loadTf } from 'tensorcache/tfjs'
import { compared, type Comparison } from './compare.js'
import { digestOf } from './digest.js'
import { Learner } from './learner.js'
import { Checkpoints, NOTHING, type EpochFigures, type Progress, type Sums } from './progress.js'
import type { Lists, Task, Tf } from './task.js'
import { Variables } from './variables.js'

export interface TrainOptions {
  /** Of the cache: data and checkpoints. */
  readonly dir: string
  /** All together, those before a resume among them. Default: the task's. */
  readonly epochs?: number
  /** Of initial weights, order, random changes and parts. Default 1. */
  readonly seed?: number
  /** Goes on from the newest checkpoint, where there is one. Default false. */
  readonly resume?: boolean
  /** Steps between two checkpoints; default 10. At the end of an epoch there is one, too. */
  readonly every?: number
  /** A file to which each step adds a line: step, epoch, SHA-256 of the batch, loss. */
  readonly log?: string
  /** Measures epochs with and without the cache at the end; default true. */
  readonly compare?: boolean
  /** Told of each epoch. */
  readonly onEpoch?: (figures: EpochFigures) => void
}

export interface Trained {
  readonly history: readonly EpochFigures[]
  /** Steps that had been made before this process went on; undefined where it began anew. */
  readonly resumedAt: number | undefined
  readonly steps: number
  readonly items: { readonly train: number; readonly val: number }
  readonly backend: string
  readonly comparison: Comparison | undefined
}

export async function train(task: Task, { dir, epochs = task.epochs, seed = 1, resume = false, every = 10, log, compare = true, onEpoch }: TrainOptions): Promise<Trained> {
  const { tf, name, version, backend } = await loadTf<Tf>()
  await using cache = await openCache({ dir, minFree: 0 })
  await using lists = await task.open(cache, { dir, seed, cached: true })
  const variables = new Variables(tf, seed)
  const learner = new Learner(tf, variables, await task.model(tf, variables, lists), task.rate)
  const checkpoints = new Checkpoints(cache, task.name)
  const found = resume ? await checkpoints.newest() : undefined
  if (found === undefined) await checkpoints.clear()
  else await learner.restore(found.learnt)

  const batchesOf = (epoch: number): ReturnType<ItemList['batches']> => lists.train.batches({ ...task.batches, shuffle: true, seed, epoch })
  let { step, sums, history, batches: state }: Omit<Progress, 'learnt'> = found ?? { step: 0, sums: NOTHING, history: [], batches: batchesOf(0).state() }
  const save = async (): Promise<void> => checkpoints.save({ learnt: await learner.state(), batches: state, step, sums, history })
  while (state.epoch < epochs) {
    const batches = batchesOf(state.epoch).restore(state)
    const pace = new Pace(sums)
    for (;;) {
      const next = await pace.waiting(batches.next())
      if (next.done === true) break
      const loss = learner.step(next.value)
      sums = pace.sums(next.value.indices.length, loss)
      if (log !== undefined) appendFileSync(log, `${step} ${state.epoch} ${digestOf(next.value)} ${loss}\n`)
      step++
      state = batches.state()
      if (step % every === 0) await save()
    }
    history = [...history, { epoch: state.epoch, loss: sums.loss / sums.items, ...await validate(task, lists, learner), seconds: sums.seconds, waited: sums.waited }]
    sums = NOTHING
    state = batchesOf(state.epoch + 1).state()
    await save()
    onEpoch?.(history.at(-1)!)
  }
  const comparison = compare ? await compared(task, lists, await task.open(cache, { dir, seed, cached: false }), learner, { seed, epoch: epochs }) : undefined
  learner.dispose()
  return { history, resumedAt: found?.step, steps: step, items: { train: lists.train.length, val: lists.val.length }, backend: `${name} ${version}, backend ${backend}`, comparison }
}

async function validate(task: Task, { val }: Lists, learner: Learner): Promise<{ valLoss: number; valError: number }> {
  let [valLoss, valError] = [0, 0]
  for await (const batch of val.batches(task.validation)) {
    const share = batch.indices.length / val.length
    const { loss, error } = learner.judge(batch)
    valLoss += share * loss
    valError += share * error
  }
  return { valLoss, valError }
}

/** What the time of an epoch goes into, and its losses. */
class Pace {
  #sums: Sums
  #at = performance.now()

  constructor(sums: Sums) {
    this.#sums = sums
  }

  async waiting<T>(next: Promise<T>): Promise<T> {
    const began = performance.now()
    const value = await next
    this.#sums = { ...this.#sums, waited: this.#sums.waited + (performance.now() - began) / 1000 }
    return value
  }

  sums(items: number, loss: number): Sums {
    const now = performance.now()
    this.#sums = { items: this.#sums.items + items, loss: this.#sums.loss + items * loss, seconds: this.#sums.seconds + (now - this.#at) / 1000, waited: this.#sums.waited }
    this.#at = now
    return this.#sums
  }
}
