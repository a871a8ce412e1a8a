// `npm start`: every example built cold into an empty cache, then opened again warm, up to the first batch both times; then built once more on every
// other device there is, to see that the bytes are the same. Then two examples of values by key, one of the command line, one of batches with and without a cache, and two models that are trained.
import { mkdirSync, rmSync } from 'node:fs'
import { MissingDependencyError, openCache, webgpuAdapters, type DatasetOptions } from 'tensorcache'
import type { Example } from './example.js'
import { table } from './table.js'
import { neighbors, structures } from './crystals/crystals.js'
import { hybrid } from './hybrid/hybrid.js'
import { patterns } from './patterns/patterns.js'
import { grouped, ptychography } from './ptychography/ptychography.js'
import { burgers } from './scenes/scenes.js'
import { tokens } from './tokens/tokens.js'
import { heats } from './training/crystals/heats.js'
import { grains } from './training/patterns/grains.js'
import { fall } from './training/report.js'
import { train } from './training/train.js'
import { volumes } from './volumes/volumes.js'

const root = '.tensorcache/examples'
const examples: readonly Example[] = [patterns, structures, neighbors, burgers(`${root}/scenes`), grouped]
const HOW = 'apt install mesa-vulkan-drivers (Mesa 24 or newer) brings one that needs no GPU'

interface Visit { readonly items: number; readonly computed: number; readonly seconds: number; readonly device: string; readonly digest: string; readonly look: string }

async function visit(example: Example, dir: string, device: DatasetOptions['device'] = 'auto'): Promise<Visit> {
  const began = performance.now()
  const cache = await openCache({ dir, minFree: 0 })
  const source = await example.source()
  const dataset = await cache.dataset(source, example.recipe, { name: example.name, namespace: 'examples', device })
  for await (const batch of dataset.batches({ size: 32, shuffle: true, seed: 7, ...example.batches })) {
    if (batch.ids.length === 0) throw new Error('an empty batch')
    break
  }
  const seconds = (performance.now() - began) / 1000
  const made = dataset.provenance.device
  const look = await example.look?.(dataset) ?? ''
  const result = { items: dataset.length, computed: dataset.report.computed, seconds, device: made === null ? '' : `${made.kind} (${made.name})`, digest: dataset.digest, look }
  source.close()
  await cache.close()
  return result
}

async function adapters(): Promise<{ names: string[]; note: string }> {
  try {
    const names = (await webgpuAdapters()).map(({ name }) => name)
    return { names, note: `There is no WebGPU adapter here to compare with: ${HOW}.` }
  } catch (error) {
    if (!(error instanceof MissingDependencyError)) throw error
    return { names: [], note: `${error.message}. ${HOW}.` }
  }
}

rmSync(root, { recursive: true, force: true })
const rows = [['example', 'items', 'cold', 'warm', 'speed-up', 'device', 'digest']]
const made: Visit[] = []
for (const example of examples) {
  await example.prepare?.()
  const cold = await visit(example, `${root}/cache`)
  const warm = await visit(example, `${root}/cache`)
  if (cold.computed !== cold.items || warm.computed !== 0 || warm.digest !== cold.digest) throw new Error(`${example.name}: the second visit was not a hit`)
  made.push(cold)
  rows.push([example.name, String(cold.items), seconds(cold.seconds), seconds(warm.seconds), `${(cold.seconds / warm.seconds).toFixed(0)}×`, cold.device, cold.digest.slice(0, 16)])
}
const { names, note } = await adapters()
const agreement: string[][] = []
for (const [i, example] of examples.entries()) {
  const devices = [made[i]!.device]
  for (const device of ['cpu', ...names.map((name) => `webgpu:${name}` as const)] as const) {
    const other = await visit(example, `${root}/${device.replaceAll(/\W+/g, '-')}`, device)
    if (other.digest !== made[i]!.digest) throw new Error(`${example.name}: ${other.device} made ${other.digest}, ${devices[0]} made ${made[i]!.digest}`)
    if (!devices.includes(other.device)) devices.push(other.device)
  }
  agreement.push([`  ${example.name}`, devices.length > 1 ? devices.join(' = ') : `${devices[0]} alone: the others leave it to the CPU`])
}
console.log('\nEach example is built into an empty cache (cold), then opened again (warm), up to its first shuffled batch.\n')
console.log(table(rows))
examples.forEach((example, i) => console.log(`\n${example.name}: ${example.about}.${made[i]!.look === '' ? '' : `\n  ${made[i]!.look}`}`))
console.log(names.length === 0 ? `\n${note}` : `\nBuilt again on each device found here (${names.join(', ')}), and the digests compared:\n${table(agreement)}`)

mkdirSync(`${root}/tokens`, { recursive: true })
const text = await tokens(`${root}/tokens`)
console.log(`\ntokens: 40 short documents → tokens, a value per document under a key of its text → rows of 128. Then the same again, and with one document edited.\n`)
console.log(table(text.table))
console.log(`\nThe first row reads: ${text.firstRow.replaceAll('<|endoftext|>', ' ∎ ').slice(0, 120)} …`)

const cycles = await hybrid(`${root}/hybrid`)
console.log('\nhybrid: Burgers\' equation, solved for few fields, predicted for many by a model fitted to them. Each cycle generates into scopes of its own; the second one fails.\n')
console.log(table(cycles.table))
for (const [k, when] of ['Before the cycles', 'In the middle of the first', 'After them: nothing of a cycle is left, and tensors/ is as it was'].entries()) console.log(`\n${when}, tensorcache du:\n${cycles.usage[k]}`)
if (cycles.referenceDigests[0] !== cycles.referenceDigests[1]) throw new Error('hybrid: the reference data have changed')

const torsos = await volumes(`${root}/volumes`)
console.log('\nvolumes: torsos with masks, stored as scanners and hospitals do, and a series over time → one orientation, voxel size and shape, by a configuration file and the command line.\n')
console.log(torsos.transcript)
console.log(`\nBefore and after, to look at: ${torsos.sheet}`)

const scanned = await ptychography(`${root}/ptychography`)
console.log('\nptychography: a simulated scan; groups of patterns that were taken near each other, into a cache, from it, and computed when they are read. An epoch is shuffled batches of 32; the fastest of five.\n')
console.log(table(scanned.table))
if (new Set(scanned.digests).size !== 1) throw new Error('ptychography: the batches differ')
console.log(`\nWhere such groups should live, by the time that computing one took (the file being in memory) and by what reading one takes from a disk of 1 GB/s, which is assumed:\n  ${scanned.strategies.join('\n  ')}\n\n${scanned.transcript}`)
console.log(`\nGroups on the object, and their patterns: ${scanned.sheet}`)

console.log('\ntraining: heats of formation from crystal graphs, estimated and not measured; smooth or grainy, from diffraction patterns. Few items and few epochs: that the loss falls is what is shown, not that the models generalise. An epoch in seconds, and of these those spent waiting for data, with the cache and computed when read.\n')
const learnt = [['example', 'epochs', 'loss, first', 'last', 'fell', 'validation loss, first', 'last', 'validation', 'cached', 'waiting', 'not cached', 'waiting']]
for (const task of [heats(), grains]) {
  const run = await train(task, { dir: `${root}/training` })
  const [first, last] = [run.history[0]!, run.history.at(-1)!]
  const { cached, live } = run.comparison!
  if (fall(run) < task.falls) throw new Error(`${task.name}: the loss fell from ${first.loss} to ${last.loss} only`)
  learnt.push([task.name, String(task.epochs), first.loss.toFixed(3), last.loss.toFixed(3), `${fall(run).toFixed(0)}×`, first.valLoss.toFixed(3), last.valLoss.toFixed(3), `${task.error} ${last.valError.toFixed(2)}`,
    ...[cached, live].flatMap(({ seconds: all, waited }) => [`${all.toFixed(2)} s`, `${waited.toFixed(3)} s`])])
}
console.log(table(learnt))
console.log('\nOne that goes on where it was killed: npm run train -- crystals --resume')

console.log(`\nThe cache stays in ${root}/cache. Look inside: node dist/cli/main.js ls --cache-dir ${root}/cache`)

function seconds(value: number): string {
  return value < 1 ? `${(value * 1000).toFixed(1)} ms` : `${value.toFixed(2)} s`
}
