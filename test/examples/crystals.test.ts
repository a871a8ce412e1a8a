import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { expect, test } from 'vitest'
import { crystalGraph, crystals, niggli, recipe, type Tensor } from '../../src/index.js'
import { smallCache } from '../support/data.js'
import { tempDir } from '../support/temp.js'

const folder = resolve(import.meta.dirname, '../../examples/crystals')

test('the script makes the file that is there', () => {
  const path = join(tempDir(), 'structures.csv')
  execFileSync(process.execPath, [join(folder, 'make.mjs'), path])
  expect(readFileSync(path).equals(readFileSync(join(folder, 'structures.csv')))).toBe(true)
})

/** Neighbours in the first shell, as textbooks have them, of the elements for which they agree. */
const SHELLS: readonly (readonly [ids: readonly string[], shells: Readonly<Record<number, number>>, distance?: number])[] = [
  [['halite', 'halite, 64 atoms, skewed'], { 11: 6, 17: 6 }, 2.82], [['sylvite'], { 19: 6, 17: 6 }], [['periclase'], { 12: 6, 8: 6 }, 2.106], [['galena'], { 82: 6, 16: 6 }], [['titanium nitride'], { 22: 6, 7: 6 }],
  [['cesium chloride'], { 55: 8, 17: 8 }, 3.571], [['nickel aluminide'], { 13: 8, 28: 8 }], [['sphalerite'], { 30: 4, 16: 4 }, 2.342], [['gallium arsenide'], { 31: 4, 33: 4 }, 2.448], [['silicon carbide 3C'], { 14: 4, 6: 4 }],
  [['diamond', 'diamond, 216 atoms, skewed'], { 6: 4 }, 1.544], [['silicon'], { 14: 4 }, 2.352], [['fluorite'], { 20: 8 }, 2.366], [['uraninite'], { 92: 8 }], [['copper'], { 29: 12 }, 2.556], [['gold'], { 79: 12 }],
  [['iron'], { 26: 8 }, 2.482], [['tungsten'], { 74: 8 }], [['magnesium'], { 12: 12 }, 3.197], [['zincite'], { 30: 4, 8: 4 }], [['tausonite'], { 38: 12, 22: 6 }, 1.953], [['perovskite'], { 22: 6 }], [['rutile'], { 22: 6, 8: 3 }, 1.946],
  [['anatase'], { 22: 6, 8: 3 }, 1.937], [['corundum'], { 13: 6, 8: 4 }], [['hematite'], { 26: 6, 8: 4 }], [['graphite'], { 6: 3 }, 1.418], [['spinel'], { 12: 4, 13: 6, 8: 4 }], [['nickeline'], { 33: 6 }], [['cadmium iodide'], { 48: 6, 53: 3 }],
  [['molybdenite'], { 42: 6, 16: 3 }], [['cuprite'], { 29: 2, 8: 4 }, 1.849], [['rhenium trioxide'], { 75: 6 }, 1.867], [['auricupride'], { 79: 12 }], [['calcite'], { 20: 6, 6: 3 }, 1.282], [['pyrite'], { 26: 6, 16: 4 }],
]

test('its crystals have the atoms, the volumes and the neighbours that are known of them', async () => {
  const cache = await smallCache(join(tempDir(), 'cache'))
  const dataset = await cache.dataset(await crystals(join(folder, 'structures.csv'), { idColumn: 'name', properties: ['volume_per_atom'] }), recipe([niggli(), crystalGraph({ method: 'crystalnn' })]))
  expect(dataset.length).toBe(59)
  const found = new Map<string, Record<string, Tensor>>()
  for (let index = 0; index < dataset.length; index++) found.set(dataset.id(index), await dataset.get(index) as never)
  for (const [id, { lattice, numbers, volume_per_atom: expected }] of found) {
    const [a, b, c, d, e, f, g, h, i] = lattice!.data as Float64Array as unknown as [number, number, number, number, number, number, number, number, number]
    const volume = Math.abs(a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)) / numbers!.data.length
    expect(Math.abs(volume / (expected!.data[0] as number) - 1), id).toBeLessThan(1e-4)
  }
  for (const [ids, shells, distance] of SHELLS) {
    for (const id of ids) {
      const { numbers, edge_source: source, edge_distance: lengths } = found.get(id)!
      const degrees = new Int32Array(numbers!.data.length)
      for (const atom of source!.data as Int32Array) degrees[atom]!++
      for (const [element, count] of Object.entries(shells)) {
        const of = Array.from(degrees).filter((_, atom) => numbers!.data[atom] === Number(element))
        expect([id, element, [...new Set(of)]]).toEqual([id, element, [count]])
      }
      if (distance !== undefined) expect(Math.min(...lengths!.data as Float32Array), id).toBeCloseTo(distance, 2)
    }
  }
  await cache.close()
})
