// How much memory reading takes, in a process of its own: VmHWM remembers the most that was ever resident. `node resident-child.mjs '{"way":…,"path":…,"batches":…}'` prints { peakMiB, items, sum }.
import { readFileSync } from 'node:fs'
import { cast, group, npy, npz, openCache, recipe, select } from '../../dist/index.js'

const { way, path, cacheDir, memoryBudget, residencyBytes, batches = Infinity, size = 32 } = JSON.parse(process.argv[2])
const cache = await openCache({ dir: cacheDir ?? null, minFree: 0, log: () => {}, ...(memoryBudget !== undefined && { memoryBudget }) })
const steps = {
  groups: recipe([group({ samples: 512, neighbors: 32, size: 16 }), cast({ dtype: 'float32', fields: ['x'] })], { seed: 1 }),
  rows: recipe([cast({ dtype: 'float32', fields: ['x'] })]),
  cached: recipe([select({ fields: ['x'] })]),
}
const [kind, order] = way.split(' ')
const source = path.endsWith('.npy') ? await npy(path, { fields: { x: 'data' }, residencyBytes }) : await npz(path, { residencyBytes })
const dataset = await cache.dataset(source, steps[kind], kind === 'cached' ? {} : { cache: false })
let [items, sum, made] = [0, 0, 0]
for (let epoch = 0; made < batches && epoch < 2; epoch++) {
  for await (const batch of dataset.batches({ size, epoch, ...(order === 'shuffled' && { shuffle: true, seed: 1 }) })) {
    items += batch.indices.length
    sum += batch.x.data[0] + batch.x.data.at(-1)
    if (++made === batches) break
  }
}
if (kind === 'cached') for (let k = 0; k < Math.min(dataset.length, 200); k++) sum += (await dataset.get((k * 7919) % dataset.length)).x.data[0]
const peakMiB = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024
await cache.close()
source.close()
console.log(JSON.stringify({ peakMiB, items, sum, computed: dataset.report?.computed }))
