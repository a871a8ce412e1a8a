import { join } from 'node:path'
import { expect, test } from 'vitest'
import { items, recipe, type Cache, type Dataset, type DatasetOptions } from '../../src/index.js'
import { smallCache } from '../support/data.js'
import { tempDir } from '../support/temp.js'

async function made(cache: Cache, values: readonly number[], options: DatasetOptions): Promise<Dataset> {
  return await cache.dataset(await items(values.map((value, k) => ({ id: `${k}`, fields: { x: value } }))), recipe([]), options)
}

test('a dataset is opened by its key, its name, or its namespace and name; the newest of a name', async () => {
  const cache = await smallCache(join(tempDir(), 'cache'))
  const old = await made(cache, [1, 2], { name: 'train', namespace: 'tensors/test' })
  // The time of creation, in milliseconds, tells them apart.
  await new Promise((later) => setTimeout(later, 5))
  const { key } = await made(cache, [1, 2, 3], { name: 'train', namespace: 'tensors/test' })
  for (const wanted of [key, 'train', 'tensors/test/train']) expect((await cache.openDataset(wanted))!.key, wanted).toBe(key)
  expect((await cache.openDataset(old.key))!.length).toBe(2)
  for (const wanted of ['trian', 'tensors/train', 'tensors/test', key.replace(/^./, (digit) => (digit === 'a' ? 'b' : 'a')), key.slice(0, 12)]) expect(await cache.openDataset(wanted), wanted).toBeUndefined()
  await cache.close()
})

test('a name in several namespaces is refused, until the namespace is said', async () => {
  const cache = await smallCache(join(tempDir(), 'cache'))
  const a = await made(cache, [1], { name: 'train', namespace: 'a' })
  const b = await made(cache, [2], { name: 'train', namespace: 'b' })
  await expect(cache.openDataset('train')).rejects.toThrow(/^openDataset: "train" is the name of 2 datasets; say which: (a\/train, b\/train|b\/train, a\/train)$/)
  for (const { key, namespace } of [{ key: a.key, namespace: 'a' }, { key: b.key, namespace: 'b' }]) expect((await cache.openDataset(`${namespace}/train`))!.key).toBe(key)
  // Of the top level there is nothing to say.
  const top = await made(cache, [3], { name: 'train' })
  expect((await cache.openDataset('train'))!.key).toBe(top.key)
  for (const wanted of ['', 7, undefined]) await expect(cache.openDataset(wanted as string)).rejects.toThrow(/expected a key of 64 hex digits, or the name of a dataset/)
  await cache.close()
})
