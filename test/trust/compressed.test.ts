import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { npz, openCache, reindexCache, restoreCache } from '../../src/index.js'
import { range, steps, writeRows } from '../support/data.js'
import { tempDir } from '../support/temp.js'
import { blobsOf, DAMAGE, pathOf } from './support.js'

const large = Float32Array.from({ length: 60_000 }, (_, i) => i % 500)

/** A cache whose shards and values are compressed. */
async function compressed(dir: string): Promise<{ key: string; digest: string }> {
  writeRows(join(dir, 'a.npz'), range(0, 40), 8192)
  const cache = await openCache({ dir: join(dir, 'cache'), minFree: 0, compression: { codec: 'lz4', shuffle: true } })
  const source = await npz(join(dir, 'a.npz'))
  const dataset = await cache.dataset(source, steps, { name: 'rows' })
  const { key, digest } = dataset
  source.close()
  await cache.put('large', { large })
  await cache.close()
  return { key, digest }
}

describe('compressed blobs', () => {
  test('are verified, and mended from their source', async () => {
    const dir = tempDir()
    const { key, digest } = await compressed(dir)
    for (const damage of Object.values(DAMAGE)) {
      const cache = await openCache({ dir: join(dir, 'cache'), minFree: 0, compression: 'lz4' })
      const [shard] = blobsOf(cache, 'shard')
      damage(pathOf(cache.dir!, shard!))
      expect((await cache.verify()).damaged.map((blob) => blob.digest)).toEqual([shard])
      expect(await cache.verify({ fix: true })).toMatchObject({ sound: true })
      expect(await cache.verify()).toMatchObject({ sound: true, damaged: [] })
      const dataset = (await cache.openDataset(key))!
      expect(dataset.digest).toBe(digest)
      for await (const batch of dataset.batches({ size: 16, shuffle: true, seed: 1 })) expect(batch.ids.length).toBeGreaterThan(0)
      await cache.close()
    }
  })

  test('are found again when the index is lost', async () => {
    const dir = tempDir()
    const { digest } = await compressed(dir)
    rmSync(join(dir, 'cache/index'), { recursive: true })
    expect(await reindexCache(join(dir, 'cache'))).toMatchObject({ items: 40, datasets: 1, values: 1, damaged: [] })
    const cache = await openCache({ dir: join(dir, 'cache'), minFree: 0 })
    const source = await npz(join(dir, 'a.npz'))
    const dataset = await cache.dataset(source, steps)
    expect([dataset.digest, dataset.report.computed]).toEqual([digest, 0])
    const [value] = blobsOf(cache, 'value')
    expect((await cache.get<{ large: Float32Array }>(value!, { namespace: 'recovered' }))!.value.large).toEqual(large)
    expect(await cache.verify()).toMatchObject({ sound: true })
    await cache.close()
  })

  test('are backed up and restored as they are', async () => {
    const dir = tempDir()
    const { key, digest } = await compressed(dir)
    const cache = await openCache({ dir: join(dir, 'cache'), minFree: 0 })
    await cache.backup(join(dir, 'backup'))
    await cache.close()
    await restoreCache(join(dir, 'backup'), join(dir, 'again'), { verify: true })
    const again = await openCache({ dir: join(dir, 'again'), minFree: 0 })
    expect((await again.openDataset(key))!.digest).toBe(digest)
    expect((await again.get<{ large: Float32Array }>('large'))!.value.large).toEqual(large)
    await again.close()
  })
})
