// An estimate of the heat of formation, for crystals of which nobody measured it: computed from the bonds that CrystalNN found, by Pauling's relation. A bond between A and B is by (χA − χB)² eV stronger than the mean of A–A and B–B
// (L. Pauling, J. Am. Chem. Soc. 54 (1932) 3570; IUPAC Gold Book, E01990), and a compound is more stable than its elements by the sum of that. The valence of the less electronegative atom is shared out among its neighbours.
// His corrections for the bonds of O2 and N2 are left out. So this is something to learn and no measurement: NaCl gets -2.5 eV per atom where -2.1 is measured, but CeO2 -7.2 and not -3.8.
import { defineOp, type Tensor } from 'tensorcache'
import { ELEMENTS } from './elements.js'

const BY_NUMBER = new Map(ELEMENTS.map((element) => [element.number, element]))

/** Adds `heat_all` float32 [], eV per atom: below 0 where the compound is more stable than its elements. */
export const paulingHeat = defineOp({
  name: 'example.pauling_heat',
  infer: (fields) => ({ ...fields, heat_all: { dtype: 'float32', shape: [] } }),
  run(item) {
    const [numbers, from, to] = ['numbers', 'edge_source', 'edge_target'].map((name) => (item[name] as Tensor<'int32'>).data) as [Int32Array, Int32Array, Int32Array]
    const atoms = Array.from(numbers, (number) => BY_NUMBER.get(number) ?? unknown(number))
    const neighbours = new Float64Array(atoms.length)
    for (const atom of from) neighbours[atom]!++
    let heat = 0
    from.forEach((i, edge) => {
      const j = to[edge]!
      const [a, b] = [atoms[i]!, atoms[j]!]
      // Every bond is there in both directions: once, from the atom that gives electrons.
      if (a.electronegativity < b.electronegativity) heat -= a.valence / neighbours[i]! * (a.electronegativity - b.electronegativity) ** 2
    })
    return { ...item, heat_all: { dtype: 'float32', shape: [], data: Float32Array.of(heat / atoms.length) } }
  },
})

function unknown(number: number): never {
  throw new TypeError(`element ${number} is not in the example's table`)
}
