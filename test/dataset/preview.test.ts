import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { cast, group, items, npz, preview, recipe, type Tensor } from '../../src/index.js'
import { range, smallCache, steps, writeRows } from '../support/data.js'
import { tempDir } from '../support/temp.js'

const values = (item: { readonly [field: string]: Tensor | string }, field: string): number[] => Array.from((item[field] as Tensor).data as Float32Array)

describe('preview', () => {
  test('one item as the dataset would have it, without a cache', async () => {
    const dir = tempDir()
    writeRows(join(dir, 'a.npz'), range(0, 20), 64)
    const source = await npz(join(dir, 'a.npz'))
    const before = readdirSync(dir)
    const shown = await preview(source, steps, 7)
    expect(readdirSync(dir)).toEqual(before)
    const cache = await smallCache(join(dir, 'cache'))
    const item = await (await cache.dataset(source, steps)).get(7)
    expect(shown.id).toBe(item.id)
    expect(values(shown, 'x')).toEqual(values(item, 'x'))
    expect(values(shown, 'y')).toEqual([7])
    await cache.close()
    source.close()
  })

  test('of an op of dataset scope, one group', async () => {
    const source = await items(range(0, 30).map((k) => ({ id: `p${k}`, fields: { xcoords: { dtype: 'float64' as const, shape: [], data: Float64Array.of(k % 6) }, ycoords: { dtype: 'float64' as const, shape: [], data: Float64Array.of(Math.floor(k / 6)) }, v: Float32Array.of(k) } })))
    const grouped = recipe([group({ samples: 5, neighbors: 4, size: 3 }), cast({ dtype: 'float32', fields: ['v'] })], { seed: 3 })
    const cache = await smallCache(tempDir())
    const item = await (await cache.dataset(source, grouped)).get(2)
    expect(values(await preview(source, grouped, 2), 'v')).toEqual(values(item, 'v'))
    await cache.close()
  })

  test('misuse, and items that are not there', async () => {
    const source = await items([{ id: 'a', fields: { x: Float32Array.of(1) } }])
    const keep = recipe([cast({ dtype: 'float32' })])
    await expect(preview(source, keep, 1)).rejects.toThrow(RangeError)
    await expect(preview(source, recipe([cast({ dtype: 'float32', fields: ['z'] })]), 0)).rejects.toMatchObject({ code: expect.any(String) as string })
    await expect(preview({} as never, keep, 0)).rejects.toThrow(/expected a source/)
    await expect(preview(source, [] as never, 0)).rejects.toThrow(/expected a recipe/)
    await expect(preview(source, keep, 0, { devise: 'cpu' } as never)).rejects.toThrow(/device/)
    await expect(preview(source, keep, 0, { device: 'gpu' as never })).rejects.toThrow(/device must be/)
  })
})
