// Crystals that could be: salts and perovskites of ions whose charges balance, in the structure that their radii suggest, as large as spheres that touch. Nobody measured them.
import { ELEMENTS, type Element } from './elements.js'

type Ion = Element & { readonly radius: number }
type Site = readonly [symbol: string, x: number, y: number, z: number]

const IONS = ELEMENTS.filter((element): element is Ion => element.radius !== undefined)
const CATIONS = IONS.filter(({ isAnion }) => !isAnion)
const ANIONS = IONS.filter(({ isAnion }) => isAnion)
const FACES = [[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]] as const
/** Goldschmidt's factor of perovskites, with radii of six neighbours for all ions. */
const TOLERANCE = [0.8, 1.02] as const

/** As a CSV with the columns `name` and `cif`, cells of P 1. */
export function compoundsCsv(): string {
  return `name,cif\n${[...salts(), ...perovskites()].map(({ name, a, sites }) => `${name},"${cif(name, a, sites)}"\n`).join('')}`
}

interface Compound {
  readonly name: string
  /** Å, of a cube. */
  readonly a: number
  readonly sites: readonly Site[]
}

/** Coordination by Pauling's first rule: 4, 6 or 8 anions around a cation, the more the larger it is. */
function * salts(): Generator<Compound> {
  for (const cation of CATIONS) {
    for (const anion of ANIONS) {
      const ratio = cation.radius / anion.radius
      const distance = cation.radius + anion.radius
      const [m, x] = [cation.symbol, anion.symbol]
      if (cation.valence === anion.valence) {
        if (ratio < 0.414) yield { name: `${m}${x}`, a: 4 * distance / Math.sqrt(3), sites: [...faces(m, 0, 0, 0), ...faces(x, 0.25, 0.25, 0.25)] }
        else if (ratio < 0.732) yield { name: `${m}${x}`, a: 2 * distance, sites: [...faces(m, 0, 0, 0), ...faces(x, 0.5, 0.5, 0.5)] }
        else yield { name: `${m}${x}`, a: 2 * distance / Math.sqrt(3), sites: [[m, 0, 0, 0], [x, 0.5, 0.5, 0.5]] }
      } else if (cation.valence === 2 * anion.valence && ratio >= 0.5) {
        yield { name: `${m}${x}2`, a: 4 * distance / Math.sqrt(3), sites: [...faces(m, 0, 0, 0), ...faces(x, 0.25, 0.25, 0.25), ...faces(x, 0.75, 0.75, 0.75)] }
      }
    }
  }
}

function * perovskites(): Generator<Compound> {
  for (const a of CATIONS) {
    for (const b of CATIONS) {
      for (const x of ANIONS) {
        const tolerance = (a.radius + x.radius) / Math.SQRT2 / (b.radius + x.radius)
        if (a.valence > b.valence || a.valence + b.valence !== 3 * x.valence || tolerance < TOLERANCE[0] || tolerance > TOLERANCE[1]) continue
        const sites: Site[] = [[a.symbol, 0.5, 0.5, 0.5], [b.symbol, 0, 0, 0], [x.symbol, 0.5, 0, 0], [x.symbol, 0, 0.5, 0], [x.symbol, 0, 0, 0.5]]
        yield { name: `${a.symbol}${b.symbol}${x.symbol}3`, a: 2 * (b.radius + x.radius), sites }
      }
    }
  }
}

function faces(symbol: string, x: number, y: number, z: number): Site[] {
  return FACES.map(([dx, dy, dz]) => [symbol, (x + dx) % 1, (y + dy) % 1, (z + dz) % 1])
}

function cif(name: string, a: number, sites: readonly Site[]): string {
  const cell = ['a', 'b', 'c'].map((axis) => `_cell_length_${axis} ${a.toFixed(4)}\n`).join('') + ['alpha', 'beta', 'gamma'].map((angle) => `_cell_angle_${angle} 90\n`).join('')
  return `data_${name}\n${cell}loop_\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n${sites.map((site) => `${site.join(' ')}\n`).join('')}`
}
