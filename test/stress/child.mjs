// One process of the stress tests: builds a dataset from an NPZ and says what it has. `node child.mjs '{"dir":…,"file":…}'`.
// Prints one JSON line: { digest, computed, items, sums } or { error, code }. `sums` is a SHA-256 over every item as read back.
import { createHash } from 'node:crypto'
import { cast, normalize, npz, openCache, recipe } from '../../dist/index.js'

const { dir, file, memoryBudget = 6 * 2 ** 20, minFree = 0, jobs = 2, rows = 64 } = JSON.parse(process.argv[2])

try {
  const cache = await openCache({ dir, memoryBudget, minFree })
  const source = await npz(file, { fields: { x: 'x', y: 'y' } })
  const steps = recipe([cast({ dtype: 'float32', fields: ['x'] }), normalize({ mode: 'zscore', fields: ['x'] })])
  const dataset = await cache.dataset(source, steps, { name: 'stress', jobs })
  const hash = createHash('sha256')
  for await (const batch of dataset.batches({ size: rows })) {
    for (const field of ['x', 'y']) hash.update(new Uint8Array(batch[field].data.buffer, batch[field].data.byteOffset, batch[field].data.byteLength))
  }
  const result = { digest: dataset.digest, computed: dataset.report.computed, items: dataset.length, sums: hash.digest('hex') }
  await cache.close()
  console.log(JSON.stringify(result))
} catch (error) {
  console.log(JSON.stringify({ error: error.message, code: error.code }))
  process.exitCode = 3
}
