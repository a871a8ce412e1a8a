// What sources leave in a cache for another run: best effort, never an error.
import { chmodSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { toHex } from '../../src/core/hash.js'
import { reindexCache } from '../../src/index.js'
import { blobPath, layoutOf } from '../../src/store/layout.js'
import { NOTES } from '../../src/store/notes.js'
import { Store } from '../../src/store/store.js'
import { tempDir } from '../support/temp.js'

let dir: string
let store: Store
beforeEach(async () => {
  dir = join(tempDir(), 'cache')
  store = await Store.open({ dir, readonly: false, minFree: 0 })
})
afterEach(() => store.close())

const bytes = (length: number, seed: number): Uint8Array => Uint8Array.from({ length }, (_, k) => k * seed >> 3)
const pathOf = (key: string): string => blobPath(layoutOf(dir), toHex(store.entries.get(NOTES, key, Date.now())!.blob!))
const blobs = (): string[] => readdirSync(layoutOf(dir).blobs, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile()).map(({ name }) => name)

test('what was put is got, by others, too; the last one counts, and the one before it is gone', async () => {
  expect(await store.notes.get('a')).toBeUndefined()
  for (const length of [0, 1, 70_000]) {
    await store.notes.put('a', bytes(length, 7))
    expect(Buffer.compare((await store.notes.get('a'))!, bytes(length, 7))).toBe(0)
  }
  expect(blobs().length).toBe(1)
  const other = await Store.open({ dir, readonly: true, minFree: 0 })
  expect(Buffer.compare((await other.notes.get('a'))!, bytes(70_000, 7))).toBe(0)
  await other.notes.put('a', bytes(3, 1))
  await other.close()
  expect((await store.notes.get('a'))!.length).toBe(70_000)
})

test('nobody lists them', async () => {
  await store.notes.put('a', bytes(100, 7))
  expect(store.entries.namespaces()).toEqual([])
})

test('damage is no error', async () => {
  for (const key of ['cut', 'empty', 'long']) await store.notes.put(key, bytes(1000, key.length))
  for (const key of ['cut', 'empty', 'long']) chmodSync(pathOf(key), 0o600)
  truncateSync(pathOf('cut'), 300)
  truncateSync(pathOf('empty'), 0)
  // The header says that it is longer than the file.
  writeFileSync(pathOf('long'), Buffer.alloc(100, 0xff))
  // Whoever gets a note checks it.
  expect((await store.notes.get('cut') ?? []).length).toBeLessThan(1000)
  expect(await store.notes.get('empty')).toBeUndefined()
  expect((await store.notes.get('long') ?? []).length).toBe(0)
})

test('a lost index loses none', async () => {
  await store.notes.put('a', bytes(1000, 7))
  await store.close()
  rmSync(join(layoutOf(dir).index, 'data.mdb'))
  await reindexCache(dir)
  store = await Store.open({ dir, readonly: false, minFree: 0 })
  expect(Buffer.compare((await store.notes.get('a'))!, bytes(1000, 7))).toBe(0)
  expect(store.entries.namespaces()).toEqual([])
})
