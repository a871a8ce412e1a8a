// What does it cost to have a cached dataset's batches as tensors of TensorFlow.js? Batches of 32 rows of 64 × 64 float32 beside the same numbers handed over from memory; and how long a training step waits for its batch.
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import * as tf from '@tensorflow/tfjs'
import { npy, openCache, recipe, select, type BatchOptions, type Dataset } from 'tensorcache'
import { tfBatches, type TfBatchesOptions } from 'tensorcache/tfjs'
import { fillNoise, noise, writeNpy } from './lib/files.js'
import { inTurns, seconds, spread, type Spread } from './lib/measure.js'
import { atMost, check, timesPeer, type Context, type Finding, type Named, type Question } from './lib/question.js'

const SIZE = 32
const ROW = 64 * 64
const STEP_MS = 5

type Handed = AsyncIterable<{ readonly [field: string]: tf.Tensor }> | Iterable<{ readonly x: tf.Tensor }>

async function run({ dir, pick }: Context): Promise<Finding[]> {
  const rows = pick({ tiny: 200, quick: 16_384, full: 16_384 })
  const repetitions = pick({ tiny: 1, quick: 7, full: 21 })
  const epochs = pick({ tiny: 1, quick: 2, full: 4 })
  const path = join(dir, 'rows.npy')
  writeNpy(path, 'float32', [rows, 64, 64], fillNoise)
  await using cache = await openCache({ dir: join(dir, 'cache'), minFree: 0 })
  const source = await npy(path, { fields: { x: 'data' } })
  await using dataset = await cache.dataset(source, recipe([select({ fields: ['x'] })]))
  source.close()

  const memory = new Float32Array(rows * ROW)
  fillNoise(memory, 0)
  const shuffled: BatchOptions = { size: SIZE, shuffle: true, seed: 7 }
  const copies = { shuffled: await checkEpoch(dataset, shuffled), inOrder: await checkEpoch(dataset, { size: SIZE }) }

  let epoch = 0
  const tensorsBefore = tf.memory().numTensors
  const thousands = (use: Use, of: () => Handed) => async (): Promise<number> => epochs * Math.ceil(rows / SIZE) / 1000 / await seconds(async () => {
    for (let i = 0; i < epochs; i++) await pass(of(), use)
  })
  const ours = (options: BatchOptions) => (): Handed => tfBatches(tf, dataset, { ...options, epoch: epoch++ })
  const results = await inTurns(repetitions, {
    views: thousands(handedOver, ours({ size: SIZE })),
    memory: thousands(handedOver, () => fromMemory(memory, rows)),
    viewsRead: thousands(readOnce, ours({ size: SIZE })),
    memoryRead: thousands(readOnce, () => fromMemory(memory, rows)),
    shuffledRead: thousands(readOnce, ours(shuffled)),
    gatheredRead: thousands(readOnce, () => gathered(memory, rows, epoch++)),
  })
  const steps = pick({ tiny: 10, quick: 400, full: 2000 })
  const computing = await waiting(dataset, shuffled, steps, async () => { compute(STEP_MS) })
  const computingReused = await waiting(dataset, { ...shuffled, reuse: true, copy: false }, steps, async () => { compute(STEP_MS) })
  const computingInOrder = await waiting(dataset, { size: SIZE }, steps, async () => { compute(STEP_MS) })
  const idle = await waiting(dataset, shuffled, steps, () => setTimeout(STEP_MS))
  check(tf.memory().numTensors === tensorsBefore, 'the number of tensors that are left')

  const unit = 'thousand batches/s'
  const inMemory = (spread: Spread): Named => ({ name: 'tf.tensor of arrays in memory', ...spread })
  const gatheredThere: Named = { name: 'rows gathered in memory, one thread', ...results.gatheredRead }
  const waits = (what: string, { share, first, longest }: Waits): Finding => ({
    what: `${what}, share spent waiting`, unit: '%', better: 'less', ours: share, peers: [], limits: [], beside: [{ name: 'the first wait of a loop in ms, which is not counted', ...first }, { name: 'the longest other', ...longest }], target: atMost(1, share, '%'),
  })
  return [
    { what: 'in order, not looked at', unit, ours: results.views, peers: [inMemory(results.memory)], limits: [], target: undefined },
    {
      what: 'in order, read once', unit, ours: results.viewsRead, peers: [inMemory(results.memoryRead)], limits: [], target: timesPeer(0.9, results.viewsRead, inMemory(results.memoryRead)),
      note: `numbers are copied ${copies.inOrder} times on their way from the mapped shard to a tensor`,
    },
    {
      what: 'shuffled, read once', unit, ours: results.shuffledRead, peers: [gatheredThere], limits: [inMemory(results.memoryRead)], target: timesPeer(0.9, results.shuffledRead, gatheredThere),
      note: `numbers are copied ${copies.shuffled} times, by the threads that put a batch together`,
    },
    waits(`steps that compute for ${STEP_MS} ms, shuffled`, computing),
    waits(`steps that compute for ${STEP_MS} ms, shuffled, reuse: true, copy: false`, computingReused),
    waits(`steps that compute for ${STEP_MS} ms, in order`, computingInOrder),
    waits(`steps that wait for ${STEP_MS} ms, shuffled`, idle),
  ]
}

type Use = (x: tf.Tensor) => void

function handedOver(x: tf.Tensor): void {
  if (x.shape[1] !== 64) throw new Error('there is no such batch')
}

const scratch = new Float32Array(SIZE * ROW)

/** What tfjs-node does at the first use of a tensor: a copy into memory of TensorFlow's. On the CPU backend the numbers are an array in any case. */
function readOnce(x: tf.Tensor): void {
  scratch.set(x.dataSync<'float32'>())
  if (scratch[0] === 2) throw new Error('there is no such number')
}

async function pass(batches: Handed, use: Use): Promise<void> {
  for await (const { x } of batches) use(x!)
}

function * fromMemory(memory: Float32Array, rows: number): Iterable<{ readonly x: tf.Tensor }> {
  for (let first = 0; first < rows; first += SIZE) {
    const stop = Math.min(rows, first + SIZE)
    yield * turn(memory.subarray(first * ROW, stop * ROW), stop - first)
  }
}

/** The loop that somebody writes whose rows are in memory: an order, and rows copied one by one. */
function * gathered(memory: Float32Array, rows: number, seed: number): Iterable<{ readonly x: tf.Tensor }> {
  const order = Uint32Array.from({ length: rows }, (_, k) => k)
  for (let k = rows - 1; k > 0; k--) {
    const other = Math.floor((noise(seed * rows + k) + 1) / 2 * (k + 1));
    [order[k], order[other]] = [order[other]!, order[k]!]
  }
  for (let first = 0; first < rows; first += SIZE) {
    const batch = order.subarray(first, first + SIZE)
    const data = new Float32Array(batch.length * ROW)
    batch.forEach((row, k) => data.set(memory.subarray(row * ROW, (row + 1) * ROW), k * ROW))
    yield * turn(data, batch.length)
  }
}

function * turn(data: Float32Array, rows: number): Iterable<{ readonly x: tf.Tensor }> {
  const x = tf.tensor(data, [rows, 64, 64], 'float32')
  try {
    yield { x }
  } finally {
    x.dispose()
  }
}

interface Waits { readonly share: Spread; readonly first: Spread; readonly longest: Spread }

/** Share of a loop's time, in percent, between asking for a batch and having it, from the second on: nobody can prepare the first. Of several loops. */
async function waiting(dataset: Dataset, options: TfBatchesOptions, steps: number, step: () => Promise<unknown>): Promise<Waits> {
  const [shares, firsts, longest]: [number[], number[], number[]] = [[], [], []]
  const count = Math.min(steps / 5, Math.floor(dataset.length / SIZE))
  for (let round = 0; round < 5; round++) {
    const waits: number[] = []
    let began = 0
    let asked = performance.now()
    for await (const _ of tfBatches(tf, dataset, { ...options, epoch: round })) {
      waits.push(performance.now() - asked)
      if (waits.length === 1) began = performance.now()
      await step()
      asked = performance.now()
      if (waits.length === count) break
    }
    const [first, ...others] = waits
    shares.push(100 * others.reduce((sum, wait) => sum + wait, 0) / (asked - began))
    firsts.push(first!)
    longest.push(Math.max(...others))
  }
  return { share: spread(shares), first: spread(firsts), longest: spread(longest) }
}

/** A step of TensorFlow.js computes on the thread that asks. */
function compute(milliseconds: number): void {
  const until = performance.now() + milliseconds
  while (performance.now() < until);
}

/** Every row once, with its numbers; how often a batch was copied on its way from the mapped shard to a tensor. */
async function checkEpoch(dataset: Dataset, options: BatchOptions): Promise<number> {
  const seen = new Uint8Array(dataset.length)
  const shards = new Set<ArrayBufferLike>()
  for (let k = 0; k < dataset.length; k++) shards.add(((await dataset.get(k)).x as { data: Float32Array }).data.buffer)
  let right = true
  let [copies, batches] = [0, 0]
  // The array that the dataset gave, and the one that the tensor has.
  const given: unknown[] = []
  const watched = {
    length: dataset.length,
    fields: dataset.fields,
    async * batches(asked: BatchOptions) {
      for await (const batch of dataset.batches(asked)) {
        given.push(batch.x.data)
        yield batch
      }
    },
  }
  for await (const { x, indices } of tfBatches(tf, watched, options)) {
    const data = x!.dataSync()
    batches++
    copies += (shards.has(data.buffer) ? 0 : 1) + (given.pop() === data ? 0 : 1)
    for (const [k, index] of indices.entries()) {
      seen[index]!++
      for (let i = 0; i < ROW; i++) right &&= data[k * ROW + i] === Math.fround(noise(index * ROW + i))
    }
  }
  check(right && seen.every((times) => times === 1), `an epoch with ${JSON.stringify(options)}`)
  return Math.round(10 * copies / batches) / 10
}

export const tfjs: Question = { name: 'tfjs', about: "a cached dataset's batches as tensors of TensorFlow.js", run }
