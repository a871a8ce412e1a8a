// Crystals for a graph network: CIFs in a CSV → Niggli cells → CrystalNN graphs, batched as PyTorch Geometric does.
import { crystalGraph, crystals, niggli, recipe, type Dataset, type Tensor } from 'tensorcache'
import type { Example } from '../example.js'
import { inExamples } from '../folder.js'

const file = inExamples('crystals/structures.csv')

export const structures: Example = {
  name: 'crystals',
  about: '59 crystals from published lattice constants: CIF → Niggli cell → CrystalNN graph',
  recipe: recipe([niggli(), crystalGraph({ method: 'crystalnn' })]),
  source: () => crystals(file, { idColumn: 'name', properties: ['volume_per_atom'] }),
  batches: { collate: 'graph' },
  async look(dataset) {
    const found = await Promise.all(['halite', 'diamond', 'copper', 'perovskite', 'spinel'].map(async (name) => `${name} ${await coordination(dataset, name)}`))
    return `Coordination numbers found (atomic number: neighbours): ${found.join('; ')}.`
  },
}

export const neighbors: Example = {
  name: 'neighbors',
  about: 'the same crystals: atoms within 6 Å, at most the 32 nearest, found in integers',
  recipe: recipe([niggli(), crystalGraph({ method: 'radius', cutoff: 6, maxNeighbors: 32 })]),
  source: structures.source,
  batches: { collate: 'graph' },
  look: async ({ report: { cuts } }) => cuts.map(({ count, items }) => `As asked, at most 32 neighbours: ${count} edges beyond that were left out, in ${items} crystals.`).join(' '),
}

/** `11: 6, 17: 6` for rock salt: by element, how many edges leave its atoms. */
async function coordination(dataset: Dataset, name: string): Promise<string> {
  const index = Array.from({ length: dataset.length }, (_, k) => k).find((k) => dataset.id(k) === name)!
  const item = await dataset.get(index) as unknown as Record<string, Tensor>
  const numbers = item.numbers!.data as Int32Array
  const neighbours = new Int32Array(numbers.length)
  for (const atom of item.edge_source!.data as Int32Array) neighbours[atom]!++
  return [...new Set(Array.from(numbers, (number, atom) => `${number}: ${neighbours[atom]}`))].join(', ')
}
