import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { PNG } from 'pngjs'
import { expect, test } from 'vitest'
import { CELLS, COURANT, initial, solve } from '../../examples/hybrid/burgers.js'
import { burgers } from '../../examples/scenes/scenes.js'
import { openCache, type Tensor } from 'tensorcache'
import { tempDir } from '../support/temp.js'

test('windows are what the solver computed, on half as many cells, with the viscosity it computed with', async () => {
  const example = burgers(join(tempDir(), 'example'))
  await example.prepare!()
  const cache = await openCache({ dir: join(tempDir(), 'cache'), minFree: 0 })
  const source = await example.source()
  const dataset = await cache.dataset(source, example.recipe)
  expect([dataset.length, dataset.fields]).toEqual([216, { u: { dtype: 'float32', shape: [8, 32, 1] }, nu: { dtype: 'float64', shape: [] } }])
  expect([dataset.id(0), dataset.id(215)]).toEqual(['sim_000000/000000-000007', 'sim_000023/000032-000039'])
  for (const [item, scene, first, nu] of [[0, 0, 0, 0.002], [13, 1, 16, 0.005], [215, 23, 32, 0.02]] as const) {
    const { u, nu: said } = await dataset.get(item) as unknown as { u: Tensor<'float32'>; nu: Tensor<'float64'> }
    const truth = solve(initial(scene), COURANT, { count: 40, nu })
    expect(said.data[0]).toBe(nu)
    const off = u.data.map((value, k) => Math.abs(value - 1.25 * (truth[first * CELLS + 2 * k]! + truth[first * CELLS + 2 * k + 1]!) / 2))
    expect(Math.max(...off)).toBeLessThan(1e-6)
  }
  expect((await cache.dataset(await example.source(), example.recipe)).report.computed).toBe(0)
  expect(await example.look!(dataset)).toContain(example.sheet)
  const { width, height, data } = PNG.sync.read(readFileSync(example.sheet))
  expect([width, height].every((pixels) => pixels > 600 && pixels < 2000)).toBe(true)
  // Both ends of the scale are there.
  const counts = { red: 0, blue: 0 }
  for (let at = 0; at < data.length; at += 4) {
    if (data[at]! > 200 && data[at + 2]! < 40) counts.red++
    if (data[at + 2]! > 120 && data[at]! < 40) counts.blue++
  }
  expect(Math.min(counts.red, counts.blue)).toBeGreaterThan(2000)
  source.close()
  await cache.close()
})
