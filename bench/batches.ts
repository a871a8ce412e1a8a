// How many rows a second does a training loop get? Rows of 64 × 64 float32 in batches of 32: shuffled (copied together) and in order (views of the file).
import { join } from 'node:path'
import { npy, openCache, recipe, select, type BatchOptions, type Dataset } from 'tensorcache'
import { fillNoise, noise, writeNpy } from './lib/files.js'
import { inTurns, named, seconds } from './lib/measure.js'
import { RowCopiers } from './lib/row-copiers.js'
import { atLeast, check, type Context, type Finding, type Question } from './lib/question.js'

const SIZE = 32
const ROW = 64 * 64

async function run({ dir, pick, peer }: Context): Promise<Finding[]> {
  const rows = pick({ tiny: 200, quick: 8192, full: 16_384 })
  const repetitions = pick({ tiny: 1, quick: 5, full: 21 })
  const path = join(dir, 'rows.npy')
  writeNpy(path, 'float32', [rows, 64, 64], fillNoise)
  await using cache = await openCache({ dir: join(dir, 'cache'), minFree: 0 })
  const source = await npy(path, { fields: { x: 'data' } })
  await using dataset = await cache.dataset(source, recipe([select({ fields: ['x'] })]))
  source.close()

  const shuffled: BatchOptions = { size: SIZE, shuffle: true, seed: 7 }
  for (const options of [shuffled, { ...shuffled, reuse: true }, { size: SIZE }]) await checkEpoch(dataset, options)

  const torch = await peer('batches')
  await torch?.call('load', { path })
  const copiers = await RowCopiers.start(2, rows, ROW * 4)
  let epoch = 0
  // Several epochs per sample: one takes some twenty milliseconds, of which whatever else happens would be a part.
  const epochs = pick({ tiny: 1, quick: 2, full: 8 })
  const ours = (options: BatchOptions) => async (): Promise<number> => epochs * rows / 1e6 / await seconds(async () => {
    for (let i = 0; i < epochs; i++) await pass(dataset, { ...options, epoch: epoch++ })
  })
  const results = await inTurns(repetitions, {
    fresh: ours(shuffled),
    'NumPy fancy index, array in memory': torch && (async () => rows / 1e6 / await torch.call('fancy_index', { size: SIZE, seed: epoch++ })),
    reuse: ours({ ...shuffled, reuse: true }),
    'torch DataLoader, array in memory': torch && (async () => rows / 1e6 / await torch.call('data_loader', { size: SIZE, seed: epoch++, count: pick({ tiny: 100, quick: 2048, full: 8192 }) })),
    views: ours({ size: SIZE }),
    'two threads that only copy rows': async () => rows / 1e6 / await copiers.pass(),
  })
  await copiers.stop()
  torch?.stop()
  const limits = named(results, 'two threads that only copy rows')
  const peers = named(results, 'NumPy fancy index, array in memory', 'torch DataLoader, array in memory')
  const unit = 'M rows/s'
  return [
    { what: 'shuffled, copied', unit, ours: results.fresh, peers, limits, target: atLeast(1, results.fresh, unit) },
    { what: 'shuffled, copied, reuse: true', unit, ours: results.reuse, peers, limits, target: atLeast(1, results.reuse, unit) },
    { what: 'in order, views', unit, ours: results.views, peers, limits: [], target: atLeast(5, results.views, unit) },
  ]
}

/** A consumer that looks at one number of each batch: what is measured is getting the rows, not using them. */
async function pass(dataset: Dataset, options: BatchOptions): Promise<void> {
  let rows = 0
  for await (const { x } of dataset.batches(options)) {
    rows += x.shape[0]
    if (x.data[0] === 2) throw new Error('there is no such number')
  }
  if (rows !== dataset.length) throw new Error(`${rows} rows of ${dataset.length}`)
}

/** Every row once, each with all the numbers that belong to it. */
async function checkEpoch(dataset: Dataset, options: BatchOptions): Promise<void> {
  const seen = new Uint8Array(dataset.length)
  let right = true
  for await (const { indices, x } of dataset.batches(options)) {
    for (const [k, index] of indices.entries()) {
      seen[index]!++
      for (let i = 0; i < ROW; i++) right &&= x.data[k * ROW + i] === Math.fround(noise(index * ROW + i))
    }
  }
  check(right && seen.every((times) => times === 1), `an epoch with ${JSON.stringify(options)}`)
}

export const batches: Question = { name: 'batches', about: 'rows per second of a training loop', run }
