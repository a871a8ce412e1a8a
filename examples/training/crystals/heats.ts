// Heats of formation from crystal graphs: CIFs in a CSV → Niggli cells → CrystalNN graphs → a graph network.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { crystalGraph, crystals, niggli, recipe, type ItemList, type Source, type Tensor } from 'tensorcache'
import { inExamples } from '../../folder.js'
import { lists, type Task } from '../task.js'
import { compoundsCsv } from './compounds.js'
import { paulingHeat } from './heat.js'
import { network, type Scale } from './network.js'

const TARGET = 'heat_all'
const FIELDS = ['numbers', 'edge_source', 'edge_target', 'edge_distance', TARGET]
const graphs = [niggli(), crystalGraph({ method: 'crystalnn' })]

/**
 * `data`: a CSV with columns `material_id`, `cif` and `heat_all` (eV per atom), such as those of perov_5. Without one, the crystals of the crystals example and some hundred compounds that are made here, with heats that are
 * estimated: computed in the recipe, not measured.
 */
export function heats(data?: string): Task {
  return {
    name: 'crystals',
    about: data === undefined ? 'heats of formation, estimated by Pauling\'s relation (computed, not measured), by a graph network' : `${TARGET} of ${data} by a graph network`,
    error: 'mean error in eV/atom',
    batches: { size: 32, collate: 'graph', fields: FIELDS },
    validation: { size: 128, collate: 'graph', fields: FIELDS },
    epochs: 6,
    falls: 5,
    rate: 0.01,
    async open(cache, { dir, seed, cached }) {
      const source = await opened(dir, data)
      const steps = recipe(data === undefined ? [...graphs, paulingHeat()] : graphs)
      const options = { name: 'heats', namespace: 'training/crystals' }
      const dataset = cached ? await cache.dataset(source, steps, options) : await cache.dataset(source, steps, { cache: false, name: options.name })
      return lists(await dataset.split({ train: 0.8, val: 0.2 }, { seed }), dataset, source)
    },
    model: async (tf, variables, { train }) => network(tf, variables, TARGET, await scaleOf(train)),
  }
}

async function opened(dir: string, data: string | undefined): Promise<Source> {
  if (data !== undefined) return crystals(data, { idColumn: 'material_id', properties: [TARGET] })
  mkdirSync(dir, { recursive: true })
  const compounds = join(dir, 'compounds.csv')
  writeFileSync(compounds, compoundsCsv())
  return crystals([inExamples('crystals/structures.csv'), compounds], { idColumn: 'name' })
}

async function scaleOf(list: ItemList): Promise<Scale> {
  const all: number[] = []
  for await (const batch of list.batches({ size: 512, fields: [TARGET] })) all.push(...(batch[TARGET] as Tensor<'float32'>).data)
  const mean = all.reduce((sum, value) => sum + value, 0) / all.length
  return { mean, deviation: Math.sqrt(all.reduce((sum, value) => sum + (value - mean) ** 2, 0) / all.length) }
}
