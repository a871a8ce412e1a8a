import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { cast, crystalGraph, crystals, jsonl, npy, npz, openCache, parquet, recipe, safetensors, type Recipe, type Source } from '../../src/index.js'
import { encodeBlob } from '../../src/store/shard-format.js'
import { npyBytes, npzBytes } from '../support/npy.js'
import { tempDir } from '../support/temp.js'
import { blobsOf, DAMAGE, pathOf } from './support.js'

const fixtures = resolve(import.meta.dirname, '../fixtures/crystals')
const rows = resolve(import.meta.dirname, '../fixtures/parquet/snappy.parquet')
const table = resolve(import.meta.dirname, '../../examples/crystals/structures.csv')
const x = { dtype: 'float64' as const, shape: [6, 3], data: Float64Array.from({ length: 18 }, (_, i) => i) }
const probe = { dtype: 'float32' as const, shape: [2], data: Float32Array.of(1, 2) }
const ids = { dtype: 'int64' as const, shape: [6], data: BigInt64Array.from([5n, 4n, 3n, 2n, 1n, 0n]) }
const toFloat = recipe([cast({ dtype: 'float32', fields: ['a'] })])
const graph = recipe([crystalGraph({ method: 'radius', cutoff: 3 })], { seed: 3 })

/** Sources with as many options as they have: each must be opened again as it was, from what its description says. */
const SOURCES: Readonly<Record<string, readonly [(dir: string) => Promise<Source>, Recipe]>> = {
  'npz with fields, constants and ids': [async (dir) => {
    for (const name of ['one.npz', 'two.npz']) writeFileSync(join(dir, name), npzBytes({ x, probe, ids: { ...ids, data: ids.data.map((id) => id + BigInt(name.charCodeAt(0) * 10)) }, unused: x }))
    return npz([join(dir, 'one.npz'), join(dir, 'two.npz')], { fields: { a: 'x' }, constants: { p: 'probe' }, ids: 'ids' })
  }, toFloat],
  npy: [async (dir) => {
    writeFileSync(join(dir, 'x.npy'), npyBytes(x))
    return npy(join(dir, 'x.npy'), { fields: { a: 'data' } })
  }, toFloat],
  safetensors: [async (dir) => {
    writeFileSync(join(dir, 'x.safetensors'), Buffer.concat(encodeBlob([{ name: 'x', ...x, data: [x.data] }], {}).parts))
    return safetensors(join(dir, 'x.safetensors'), { fields: { a: 'x' } })
  }, toFloat],
  jsonl: [async (dir) => {
    writeFileSync(join(dir, 'docs.jsonl'), Array.from({ length: 12 }, (_, k) => `${JSON.stringify({ id: `d${k}`, text: 'word '.repeat(k + 1), meta: { label: k } })}\n`).join(''))
    return jsonl(join(dir, 'docs.jsonl'), { fields: { text: 'text', label: { column: 'meta.label', dtype: 'int32' } }, id: 'id' })
  }, recipe([])],
  parquet: [() => parquet(rows, { fields: { text: 'text' }, id: 'doc' }), recipe([])],
  'a folder of crystals': [() => crystals(fixtures, { occupancy: 'majority', onBadItem: 'skip', siteTolerance: 1e-3 }), graph],
  'a table of crystals': [() => crystals(table), graph],
}

beforeEach(() => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
})

describe('a source is opened again as it was', () => {
  test.each(Object.entries(SOURCES))('%s', { timeout: 60_000 }, async (_, [open, steps]) => {
    const dir = tempDir()
    const folder = join(dir, 'cache')
    let cache = await openCache({ dir: folder, minFree: 0 })
    const source = await open(dir)
    const { key, digest } = await cache.dataset(source, steps)
    source.close()
    const victims = [...blobsOf(cache, 'shard'), ...blobsOf(cache, 'manifest')]
    await cache.close()
    for (const victim of victims) DAMAGE['a flipped bit']!(pathOf(folder, victim))
    cache = await openCache({ dir: folder, minFree: 0 })
    expect(await cache.verify({ fix: true })).toMatchObject({ sound: true, repairs: [{ outcome: 'rebuilt' }] })
    expect((await cache.openDataset(key))!.digest).toBe(digest)
    expect(await cache.verify({ recompute: 4 })).toMatchObject({ sound: true, recomputed: { items: 4, differences: [], skipped: [] } })
    await cache.close()
  })
})
