// How soon does a training run go on? From restoring a checkpoint in the middle of a shuffled epoch of ten million items to its first batch, beside beginning the epoch anew; and what saying where one is costs.
import { join } from 'node:path'
import { npy, openCache, recipe, select, type Batch, type BatchState, type ItemList } from 'tensorcache'
import { fillNoise, noise, writeNpy } from './lib/files.js'
import { inTurns, seconds } from './lib/measure.js'
import { atMost, check, type Context, type Finding, type Question } from './lib/question.js'

const SIZE = 32
const ROW = 64
const OPTIONS = { size: SIZE, shuffle: true, seed: 7 }

async function run({ dir, pick }: Context): Promise<Finding[]> {
  const rows = 16_384
  const items = pick({ tiny: 100_000, quick: 10_000_000, full: 10_000_000 })
  const path = join(dir, 'rows.npy')
  writeNpy(path, 'float32', [rows, ROW], fillNoise)
  await using cache = await openCache({ dir: join(dir, 'cache'), minFree: 0 })
  const source = await npy(path, { fields: { x: 'data' } })
  await using dataset = await cache.dataset(source, recipe([select({ fields: ['x'] })]))
  source.close()
  // Each row many times: what an epoch's length costs is its order, not its bytes.
  const many = dataset.select(Float64Array.from({ length: items }, (_, k) => k % rows))
  const begun = many.batches(OPTIONS)
  await begun.next()
  const state = begun.state()
  await begun.return()

  let step = Math.floor(items / SIZE / 2)
  const there = (): BatchState => ({ ...state, step: ++step, position: step * SIZE })
  await checkRest(many, there())
  const results = await inTurns(pick({ tiny: 1, quick: 21, full: 101 }), {
    restored: () => firstBatch(() => many.batches(OPTIONS).restore(there())),
    anew: () => firstBatch(() => many.batches({ ...OPTIONS, epoch: step++ })),
    state: async () => 1000 * await seconds(() => { for (let k = 0; k < 1000; k++) begun.state() }),
  })
  return [
    {
      what: `restore in an epoch of ${items.toLocaleString('en')} items, to the first batch`, unit: 'ms', ours: results.restored, peers: [],
      limits: [], beside: [{ name: 'an epoch from its beginning', ...results.anew }], target: atMost(10, results.restored, 'ms'),
    },
    { what: 'state()', unit: 'µs', ours: results.state, peers: [], limits: [], target: undefined, note: `${JSON.stringify(state).length} bytes of JSON` },
  ]
}

async function firstBatch(begin: () => ReturnType<ItemList['batches']>): Promise<number> {
  let batches: ReturnType<ItemList['batches']>
  const took = 1000 * await seconds(async () => {
    batches = begin()
    await batches.next()
  })
  await batches!.return()
  return took
}

/** What comes after a state is what comes after so many steps, with the numbers that belong to it. */
async function checkRest(many: ItemList, state: BatchState): Promise<void> {
  const short = { ...state, step: 3, position: 3 * SIZE }
  const whole = many.batches(OPTIONS)
  const expected: number[][] = []
  for (let k = 0; k < 6; k++) expected.push([...((await whole.next()).value as Batch).indices])
  await whole.return()
  const rest = many.batches(OPTIONS).restore(short)
  let right = true
  for (let k = 3; k < 6; k++) {
    const { indices, x } = (await rest.next()).value as Batch
    right &&= [...indices].join() === expected[k]!.join()
    indices.forEach((index, row) => { right &&= x.data[row * ROW] === Math.fround(noise((index % 16_384) * ROW)) })
  }
  await rest.return()
  check(right, 'the batches after a state')
}

export const resume: Question = { name: 'resume', about: 'going on in the middle of an epoch', run }
