// One process of the tests of staged sources: builds a dataset of volumes that a server has. `node staged-child.mjs '{"dir":…,"staging":…,"url":…,"items":…}'`.
// Prints one JSON line: { digest, computed, items, sums } or { error, code }.
import { createHash } from 'node:crypto'
import { cast, http, openCache, recipe, staged } from '../../dist/index.js'

const { dir, staging, url, items, diskBudget, shape = [null, null, null], jobs = 2 } = JSON.parse(process.argv[2])

try {
  const cache = await openCache({ dir, memoryBudget: 6 * 2 ** 20, minFree: 0 })
  const source = await staged({
    items: Array.from({ length: items }, (_, k) => ({ id: `v${k}`, files: [{ url: `${url}/v${k}.nii` }] })),
    open: { type: 'nifti' }, dir: staging, diskBudget, concurrency: 3, fetch: http({ backoff: 1 }),
    fields: { image: { dtype: 'int16', shape }, affine: { dtype: 'float64', shape: [4, 4] } },
  })
  const dataset = await cache.dataset(source, recipe([cast({ dtype: 'float32', fields: ['image'] })]), { name: 'staged', jobs })
  const hash = createHash('sha256')
  for (let k = 0; k < dataset.length; k++) hash.update((await dataset.get(k)).image.data)
  const result = { digest: dataset.digest, computed: dataset.report.computed, items: dataset.length, sums: hash.digest('hex') }
  source.close()
  await cache.close()
  console.log(JSON.stringify(result))
} catch (error) {
  console.log(JSON.stringify({ error: error.message, code: error.code }))
  process.exitCode = 3
}
