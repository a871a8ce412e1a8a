// Hybrid training: a solver makes few fields that are true, a model fitted to them makes many that are cheap, and the hardest of those are what the solver does next. What a cycle generates is of no use once the cycle
// is over: it lies in scopes that empty themselves, also when the cycle fails. The reference data and the evaluations stay.
import { execFileSync } from 'node:child_process'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { items, openCache, recipe, type Cache, type Tensor } from 'tensorcache'
import { CELLS, COURANT, deviation, firstFrame, fit, FRAMES, initial, predict, solve, steepening, type Weights } from './burgers.js'

export interface HybridOptions {
  /** Fields that the solver makes in a cycle, and that the fitted model makes. Default 8 and 64. */
  readonly solved?: number
  readonly predicted?: number
}

export interface HybridResult {
  readonly table: readonly (readonly string[])[]
  /** What `tensorcache du` prints before the cycles, in the middle of the first, and after them. */
  readonly usage: readonly [before: string, during: string, after: string]
  readonly referenceDigests: readonly [before: string, after: string]
  /** The worst relative deviation from the reference, by cycle; undefined where it failed. */
  readonly errors: readonly (number | undefined)[]
}

const REFERENCE = 'tensors/burgers'

export async function hybrid(dir: string, { solved = 8, predicted = 64 }: HybridOptions = {}): Promise<HybridResult> {
  const cache = await openCache({ dir, minFree: 0 })
  const du = (): string => execFileSync(process.execPath, [join(dirname(createRequire(import.meta.url).resolve('tensorcache/package.json')), 'dist/cli/main.js'), 'du', '--cache-dir', dir], { encoding: 'utf8' }).trimEnd()
  const before = await reference(cache)
  const usage = [du(), '', '']
  const table = [['cycle', 'solved', 'predicted', 'seconds', 'left behind', 'worst deviation, or why it failed']]
  const errors: (number | undefined)[] = []
  const known: Float32Array[] = []
  let hardest = Array.from({ length: solved }, (_, k) => 1000 + k)

  for (let cycle = 1; cycle <= 3; cycle++) {
    const began = performance.now()
    const name = `cycle_${String(cycle).padStart(3, '0')}`
    const counts = { solved: 0, predicted: 0 }
    let outcome: string
    try {
      // The second cycle is in too much of a hurry: half of its fields diverge.
      const courant = (done: number): number => cycle === 2 && done >= solved / 2 ? 3 : COURANT
      const trained = await train({ cache, name, seeds: hardest, first: 10_000 * cycle, predicted, known, counts, courant, onGenerated: () => { if (cycle === 1) usage[1] = du() } })
      hardest = trained.hardest
      const error = await evaluate(before.dataset, trained.weights)
      // Goes when the reference data it was measured on go.
      await cache.put(name, { deviation: error, weights: trained.weights }, { namespace: 'evaluation', dependsOn: [before.digest], metadata: { numItems: before.dataset.length } })
      errors.push(error)
      outcome = `${(100 * error).toFixed(2)} %`
    } catch (error) {
      errors.push(undefined)
      outcome = (error as Error).message
    }
    const left = (await Promise.all(['physical', 'synthetic'].map((kind) => count(cache, `generated/${kind}/${name}`)))).reduce((sum, n) => sum + n)
    table.push([name, String(counts.solved), String(counts.predicted), ((performance.now() - began) / 1000).toFixed(2), left === 0 ? 'nothing' : `${left} fields`, outcome])
  }
  usage[2] = du()
  await before.dataset.close()
  const after = await reference(cache)
  await cache.close()
  return { table, usage: usage as unknown as HybridResult['usage'], referenceDigests: [before.digest, after.digest], errors }
}

interface CycleOptions {
  readonly cache: Cache
  readonly name: string
  /** What is solved; where the predictions begin, and how many there are. */
  readonly seeds: readonly number[]
  readonly first: number
  readonly predicted: number
  /** Solutions of all cycles, which this one adds to. */
  readonly known: Float32Array[]
  readonly counts: { solved: number; predicted: number }
  courant(done: number): number
  onGenerated(): void
}

/** One cycle. Both of its scopes are empty when it ends, however it ends. */
async function train({ cache, name, seeds, first, predicted, known, counts, courant, onGenerated }: CycleOptions): Promise<{ weights: Weights; hardest: number[] }> {
  await using physical = cache.scope(`generated/physical/${name}`)
  await using synthetic = cache.scope(`generated/synthetic/${name}`)
  for (const seed of seeds) {
    const field = solve(initial(seed), courant(counts.solved))
    await physical.put(`gen_${String(counts.solved++).padStart(6, '0')}`, tensor(field))
  }
  for await (const key of physical.keys()) known.push((await physical.get<Tensor<'float32'>>(key))!.value.data)
  const weights = fit(known)
  for (let seed = first; counts.predicted < predicted; seed++) {
    await synthetic.put(`gen_${String(counts.predicted++).padStart(6, '0')}`, tensor(predict(weights, firstFrame(initial(seed)))))
  }
  onGenerated()
  const hard: { seed: number; steepening: number }[] = []
  for await (const key of synthetic.keys()) hard.push({ seed: first + Number(key.slice(4)), steepening: steepening((await synthetic.get<Tensor<'float32'>>(key))!.value.data) })
  return { weights, hardest: hard.sort((a, b) => b.steepening - a.steepening).slice(0, seeds.length).map(({ seed }) => seed) }
}

/** Solutions that no model is fitted to, as a dataset: computed once. */
async function reference(cache: Cache): Promise<{ dataset: Awaited<ReturnType<Cache['dataset']>>; digest: string }> {
  const solutions = Array.from({ length: 16 }, (_, k) => ({ id: `held_out_${k}`, fields: { u: tensor(solve(initial(k), COURANT)) } }))
  const dataset = await cache.dataset(await items(solutions), recipe([]), { name: 'burgers', namespace: REFERENCE })
  return { dataset, digest: dataset.digest }
}

/** How far the worst prediction of a last frame is off. */
async function evaluate(dataset: Awaited<ReturnType<Cache['dataset']>>, weights: Weights): Promise<number> {
  let worst = 0
  for (let k = 0; k < dataset.length; k++) {
    const truth = ((await dataset.get(k)) as unknown as { u: Tensor<'float32'> }).u.data
    worst = Math.max(worst, deviation(predict(weights, truth), truth))
  }
  return worst
}

function tensor(field: Float32Array): Tensor<'float32'> {
  return { dtype: 'float32', shape: [FRAMES, CELLS], data: field }
}

async function count(cache: Cache, namespace: string): Promise<number> {
  let found = 0
  for await (const _ of cache.keys({ namespace })) found++
  return found
}
