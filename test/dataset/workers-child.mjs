// One reader of several in worker threads: opens the cache for itself and reads its share of an epoch.
import { parentPort, workerData } from 'node:worker_threads'
import { openCache } from '../../dist/index.js'

const { dir, key, index, count, epoch, mode } = workerData
const cache = await openCache({ dir, ...mode })
const dataset = await cache.openDataset(key)
const seen = []
let sum = 0
for await (const batch of dataset.batches({ size: 8, shuffle: true, seed: 7, epoch, shard: { index, count } })) {
  seen.push(...batch.y.data)
  for (const value of batch.x.data) sum += value
}
parentPort.postMessage({ seen, sum, digest: dataset.digest })
await cache.close()
