// How fast is something that is in the cache already? Items of 10 MB, opened without reading their bytes and touched for the first time (which verifies
// them); and whole datasets, from nothing to their first batch.
import { spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { npy, openCache, recipe, select, type Dataset } from 'tensorcache'
import { copySpeed } from './lib/facts.js'
import { fillNoise, noise, writeNpy } from './lib/files.js'
import { inTurns, named, scaled, seconds, spread } from './lib/measure.js'
import { atLeast, atMost, check, type Context, type Finding, type Question } from './lib/question.js'

const ITEM_NUMBERS = 2_500_000
const SMALL_NUMBERS = 16
const ROW_NUMBERS = 4096

async function run(context: Context): Promise<Finding[]> {
  const { dir, pick } = context
  const large = join(dir, 'large')
  mkdirSync(large)
  const small = join(dir, 'small')
  mkdirSync(small)
  const items = pick({ tiny: 3, quick: 8, full: 96 })
  const numbers = pick({ tiny: 1000, quick: ITEM_NUMBERS, full: ITEM_NUMBERS })
  const rows = join(dir, 'rows')
  mkdirSync(rows)
  const rowItems = pick({ tiny: 100, quick: 4096, full: 65_536 })
  const manyItems = pick({ tiny: 1000, quick: 20_000, full: 100_000 })
  await make(large, [items, numbers])
  await make(small, [manyItems, SMALL_NUMBERS])
  await make(rows, [rowItems, ROW_NUMBERS])
  return [
    ...await openItems(context, large, items, numbers),
    // Two of them are 20 MB to verify and to copy.
    ...await openDataset(context, large, 2, `${items} items of ${numbers * 4 / 1e6} MB`),
    ...await openDataset(context, small, 32, `${manyItems} small items`),
    ...await openDataset(context, rows, 32, `${rowItems} items of 16 KiB`),
  ]
}

async function make(dir: string, shape: readonly number[]): Promise<void> {
  writeNpy(join(dir, 'items.npy'), 'float32', shape, fillNoise)
  const { dataset, close } = await visit(dir)
  check(dataset.report.computed === dataset.length, 'the build')
  await close()
}

/** A cache opened anew: nothing it knew or had verified before counts. */
async function visit(dir: string): Promise<{ dataset: Dataset; close(): Promise<void> }> {
  const cache = await openCache({ dir: join(dir, 'cache'), minFree: 0 })
  const source = await npy(join(dir, 'items.npy'), { fields: { x: 'data' } })
  const dataset = await cache.dataset(source, recipe([select({ fields: ['x'] })]))
  return { dataset, close: async () => { source.close(); await cache.close() } }
}

// --- items ------------------------------------------------------------------------------------------------------------------

async function openItems({ dir, pick, peer }: Context, large: string, items: number, numbers: number): Promise<Finding[]> {
  const torch = await peer('open')
  const folder = join(dir, 'torch')
  mkdirSync(folder)
  await torch?.call('save', { source: join(large, 'items.npy'), folder })

  const hot = await visit(large)
  for (let i = 0; i < items; i++) {
    const { data } = (await hot.dataset.get(i)).x as { data: Float32Array }
    check(data.length === numbers && data[0] === Math.fround(noise(i * numbers)) && data[numbers - 1] === Math.fround(noise(i * numbers + numbers - 1)), `item ${i}`)
  }
  const opens = pick({ tiny: 10, quick: 50_000, full: 100_000 })
  const results = await inTurns(pick({ tiny: 1, quick: 3, full: 11 }), {
    verified: async () => opens / await seconds(async () => {
      for (let i = 0; i < opens; i++) await hot.dataset.get(i % items)
    }),
    first: async () => {
      const fresh = await visit(large)
      const took = await seconds(async () => {
        for (let i = 0; i < items; i++) await fresh.dataset.get(i)
      })
      await fresh.close()
      return items / took
    },
    'torch.load': torch && (async () => items / await torch.call('load', { folder, count: items })),
  })
  await hot.close()
  torch?.stop()
  const peers = named(results, 'torch.load')
  const copy = await copySpeed(pick({ tiny: 2 ** 20, quick: 2 ** 27, full: 2 ** 28 }))
  const limit = { name: 'memcpy of an item, one thread', ...scaled(copy, 1e9 / (numbers * 4)) }
  const unit = 'items/s'
  const size = `item of ${numbers * 4 / 1e6} MB`
  return [
    { what: `${size} that hits, verified before`, unit, ours: results.verified, peers, limits: [], target: atLeast(50_000, results.verified, unit) },
    { what: `${size}, first touch: verified now`, unit, ours: results.first, peers, limits: [limit], target: undefined },
  ]
}

// --- datasets ---------------------------------------------------------------------------------------------------------------

async function openDataset({ pick }: Context, dir: string, size: number, what: string): Promise<Finding[]> {
  const repetitions = pick({ tiny: 1, quick: 5, full: 21 })
  const { here } = await inTurns(repetitions, { here: () => toFirstBatch(dir, size) })
  const alone = await inTurns(Math.ceil(repetitions / 2), { alone: async () => inNewProcess(dir, size) })
  return [
    { what: `warm open to the first batch of ${size}, ${what}`, unit: 'ms', ours: here, peers: [], limits: [], target: atMost(50, here, 'ms') },
    { what: `the same in a new process, from its start, ${what}`, unit: 'ms', ours: alone.alone, peers: [], limits: [{ name: 'node that does nothing', ...spread(Array.from({ length: 3 }, bareNode)) }], target: undefined },
  ]
}

/** From opening the cache to holding a shuffled batch. */
async function toFirstBatch(dir: string, size: number): Promise<number> {
  const began = performance.now()
  const { dataset, close } = await visit(dir)
  let rows = 0
  for await (const batch of dataset.batches({ size, shuffle: true, seed: 7 })) {
    rows = batch.x.shape[0]
    break
  }
  const took = performance.now() - began
  check(dataset.report.computed === 0 && rows === Math.min(size, dataset.length), 'the first batch')
  await close()
  return took
}

function inNewProcess(dir: string, size: number): number {
  const { status, stdout } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), dir, String(size)], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'inherit'] })
  if (status !== 0) throw new Error(`a process that opens a dataset ended with ${status}`)
  return Number(stdout)
}

function bareNode(): number {
  return Number(spawnSync(process.execPath, ['-e', 'console.log(performance.now())'], { encoding: 'utf8' }).stdout)
}

export const open: Question = { name: 'open', about: 'items and datasets that are in the cache already', run }

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await toFirstBatch(process.argv[2]!, Number(process.argv[3]))
  // Counted from the start of the process, so that loading is in it.
  console.log(performance.now())
}
