// What a build reads of a source whose items have witnesses: only what nobody has seen, or what is not stored.
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { plan } from '../../src/dataset/plan.js'
import { deviceSource } from '../../src/devices/select.js'
import { crystalGraph, crystals, niggli, recipe, type Cache, type CrystalsOptions, type Dataset, type Source } from '../../src/index.js'
import { range, smallCache } from '../support/data.js'
import { tempDir } from '../support/temp.js'

const cif = (a: number): string => `data_x\n${['a', 'b', 'c'].map((axis) => `_cell_length_${axis} ${a}\n`).join('')}${['alpha', 'beta', 'gamma'].map((angle) => `_cell_angle_${angle} 90\n`).join('')}loop_\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nFe 0 0 0\nFe 0.5 0.5 0.5\n`
const row = (id: string, a: number, energy: number): string => `${id},"${cif(a)}",${energy}\n`
const steps = recipe([niggli(), crystalGraph({ method: 'crystalnn' })])
const OPTIONS: CrystalsOptions = { idColumn: 'id', properties: ['energy'] }

let cache: Cache
let path: string
beforeEach(async () => {
  const dir = tempDir()
  cache = await smallCache(join(dir, 'cache'))
  path = join(dir, 'rows.csv')
  writeFileSync(path, `id,cif,energy\n${range(0, 700).map((k) => row(`m${k}`, 2.5 + k / 1000, k)).join('')}`)
})
afterEach(() => cache.close())

/** Items that were read, in order. */
async function built(options: CrystalsOptions = OPTIONS, ops = steps): Promise<{ read: number[]; dataset: Dataset }> {
  const source = await crystals(path, options)
  const read: number[] = []
  const watched: Source = new Proxy(source, {
    get(target, name) {
      if (name === 'read') return (start: number, stop: number, rest: never) => (read.push(...range(start, stop)), target.read(start, stop, rest))
      const value = Reflect.get(target, name, target) as unknown
      return typeof value === 'function' ? value.bind(target) as unknown : value
    },
  })
  const dataset = await cache.dataset(watched, ops)
  source.close()
  return { read, dataset }
}

describe('a source with witnesses', () => {
  test('one row more is the only one that is read', async () => {
    const first = await built()
    expect([first.read.length, first.dataset.report.computed]).toEqual([700, 700])
    appendFileSync(path, row('new', 4, 0))
    const { read, dataset } = await built()
    expect([read, dataset.report.computed, dataset.length]).toEqual([[700], 1, 701])
    expect((await dataset.get(700)).id).toBe('new')
  })

  test('rows taken away and put in another order are not read at all', async () => {
    await built()
    const [head, ...rows] = readFileSync(path, 'utf8').split(/(?<=\n)(?=m\d+,)/)
    writeFileSync(path, head + rows.filter((_, k) => k % 3 !== 0).reverse().join(''))
    const { read, dataset } = await built()
    expect([read, dataset.report.computed, dataset.length]).toEqual([[], 0, 466])
    expect((await dataset.get(0)).id).toBe('m698')
  })

  test('a changed cell is read again and computed; a changed name is read again and hits', async () => {
    await built()
    writeFileSync(path, readFileSync(path, 'utf8').replace('_cell_length_a 2.6\n', '_cell_length_a 2.61\n').replace('\nm300,', '\nother,'))
    const { read, dataset } = await built()
    expect([read, dataset.report.computed]).toEqual([[100, 300], 1])
  })

  test('what is remembered serves other recipes, not other ways of reading', async () => {
    await built()
    const other = await built(OPTIONS, recipe([niggli(), crystalGraph({ method: 'knn', k: 8 })]))
    // Identified without reading; read because nothing of it is stored.
    expect([other.read.length, other.dataset.report.computed]).toEqual([700, 700])
    writeFileSync(path, readFileSync(path, 'utf8').replace('id,cif,energy', 'id,cif,other_energy'))
    expect((await built({ idColumn: 'id', properties: { energy: 'other_energy' } })).read).toEqual([])
    expect((await built({ idColumn: 'id' })).read.length).toBe(700)
    expect((await built({ ...OPTIONS, properties: { energy: 'other_energy' }, siteTolerance: 1e-3 })).read.length).toBe(700)
  })

  test('items that were lost are read again, those beside them are not', async () => {
    const { dataset } = await built()
    const shards = [...dataset.shards.manifest.rows.blobs]
    expect(shards.length).toBeGreaterThan(0)
    await cache.store.quarantine(await cache.store.blob(shards[0]!), 'on purpose')
    appendFileSync(path, row('new', 4, 0))
    const lost = dataset.shards.manifest.rows.blobOf.filter((blob) => blob === 0).length
    const again = await built()
    expect([again.read.length, again.dataset.report.computed]).toEqual([lost + 1, lost + 1])
  })

  test('a plan reads what a build would', async () => {
    await built()
    appendFileSync(path, row('new', 4, 0))
    const source = await crystals(path, OPTIONS)
    const device = deviceSource('cpu')
    const found = await plan({ store: cache.store, source, recipe: steps, device, signal: undefined })
    expect(found).toMatchObject({ items: 701, hits: 700, missing: 1 })
    source.close()
    await device.close()
  })
})
