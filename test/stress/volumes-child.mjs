// One process of the tests of memory: builds a dataset of volumes. `node volumes-child.mjs '{"dir":…,"warm":…,"paths":[…]}'`.
// Prints one JSON line: { digest, computed, peak, shape }. `peak`: bytes that this process had at most, beyond what it had after a build of the volume `warm`.
import { readFileSync } from 'node:fs'
import { cropForeground, nifti, normalize, openCache, orient, recipe, resample } from '../../dist/index.js'

const { dir, warm, paths, memoryBudget, jobs = 2, spacing = 1.5 } = JSON.parse(process.argv[2])
const steps = recipe([orient(), resample({ spacing }), cropForeground({ source: 'image' }), normalize({ mode: 'range', aMin: -175, aMax: 250, clip: true })])
const cache = await openCache({ dir, memoryBudget, minFree: 0 })

async function build(of) {
  const source = await nifti(of)
  const dataset = await cache.dataset(source, steps, { device: 'cpu', jobs })
  source.close()
  return dataset
}

const residentMax = () => Number(/^VmHWM:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))[1]) * 1024
await build([warm])
const before = residentMax()
const dataset = await build(paths)
const peak = residentMax() - before
console.log(JSON.stringify({ digest: dataset.digest, computed: dataset.report.computed, peak, shape: (await dataset.get(0)).image.shape }))
await cache.close()
