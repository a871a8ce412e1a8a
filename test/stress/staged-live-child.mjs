// One process of the tests of staged sources without a cache: two shuffled epochs. `node staged-live-child.mjs '{"staging":…,"url":…,"items":…,"diskBudget":…}'`. Prints { digest, items, sums } or { error, code }.
import { createHash } from 'node:crypto'
import { cast, http, openCache, recipe, staged } from '../../dist/index.js'

const { staging, url, items, diskBudget, shape } = JSON.parse(process.argv[2])

try {
  const cache = await openCache({ dir: null, log: () => {} })
  const source = await staged({
    items: Array.from({ length: items }, (_, k) => ({ id: `v${k}`, files: [{ url: `${url}/v${k}.nii` }] })),
    open: { type: 'nifti' }, dir: staging, diskBudget, concurrency: 3, ahead: 4, fetch: http({ backoff: 1 }),
    fields: { image: { dtype: 'int16', shape }, affine: { dtype: 'float64', shape: [4, 4] } },
  })
  const dataset = await cache.dataset(source, recipe([cast({ dtype: 'float32', fields: ['image'] })]), { cache: false })
  const hash = createHash('sha256')
  let count = 0
  for (let epoch = 0; epoch < 2; epoch++) {
    for await (const { indices, image } of dataset.batches({ size: 3, shuffle: true, seed: 1, epoch })) {
      hash.update(new Uint8Array(image.data.buffer, image.data.byteOffset, image.data.byteLength))
      count += indices.length
    }
  }
  await cache.close()
  source.close()
  console.log(JSON.stringify({ digest: '', computed: 0, items: count, sums: hash.digest('hex') }))
} catch (error) {
  console.log(JSON.stringify({ error: error.message, code: error.code }))
  process.exitCode = 3
}
