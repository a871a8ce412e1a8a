// Writes structures.csv: CIFs of well-known crystals, from published lattice constants and coordinates. `node examples/crystals/make.mjs`
//
// Sources: [W] R. W. G. Wyckoff, Crystal Structures, 2nd ed., Interscience (1963-1965); others with each entry. Coordinates are those of the
// International Tables, Vol. A. Ids are the minerals' or compounds' usual names.
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const P = ['x, y, z']
const I = [...P, 'x+1/2, y+1/2, z+1/2']
const F = [...P, 'x, y+1/2, z+1/2', 'x+1/2, y, z+1/2', 'x+1/2, y+1/2, z']
const R = [...P, 'x+2/3, y+1/3, z+1/3', 'x+1/3, y+2/3, z+2/3']
const PBNM = [...P, '-x, -y, z+1/2', '-x+1/2, y+1/2, -z+1/2', 'x+1/2, -y+1/2, -z', '-x, -y, -z', 'x, y, -z+1/2', 'x+1/2, -y+1/2, z+1/2', '-x+1/2, y+1/2, z']
const PA3 = ['x, y, z', '-x+1/2, -y, z+1/2', '-x, y+1/2, -z+1/2', 'x+1/2, -y+1/2, -z', 'z, x, y', 'z+1/2, -x+1/2, -y', '-z+1/2, -x, y+1/2', '-z, x+1/2, -y+1/2', 'y, z, x', '-y, z+1/2, -x+1/2', 'y+1/2, -z+1/2, -x', '-y+1/2, -z, x+1/2']
const third = 1 / 3

const cubic = (a) => [a, a, a, 90, 90, 90]
const tetragonal = (a, c) => [a, a, c, 90, 90, 90]
const hexagonal = (a, c) => [a, a, c, 90, 90, 120]

const rockSalt = (cation, anion, a) => ({ cell: cubic(a), operations: F, sites: [[cation, 0, 0, 0], [anion, 0.5, 0.5, 0.5]] })
const cesiumChloride = (cation, anion, a) => ({ cell: cubic(a), operations: P, sites: [[cation, 0, 0, 0], [anion, 0.5, 0.5, 0.5]] })
const zincBlende = (cation, anion, a) => ({ cell: cubic(a), operations: F, sites: [[cation, 0, 0, 0], [anion, 0.25, 0.25, 0.25]] })
const diamond = (element, a) => ({ cell: cubic(a), operations: F, sites: [[element, 0, 0, 0], [element, 0.25, 0.25, 0.25]] })
const fluorite = (cation, anion, a) => ({ cell: cubic(a), operations: F, sites: [[cation, 0, 0, 0], [anion, 0.25, 0.25, 0.25], [anion, 0.75, 0.75, 0.75]] })
const fcc = (element, a) => ({ cell: cubic(a), operations: F, sites: [[element, 0, 0, 0]] })
const bcc = (element, a) => ({ cell: cubic(a), operations: I, sites: [[element, 0, 0, 0]] })
const hcp = (element, a, c) => ({ cell: hexagonal(a, c), operations: P, sites: [[element, third, 2 * third, 0.25], [element, 2 * third, third, 0.75]] })
const wurtzite = (cation, anion, a, c, u) => ({
  cell: hexagonal(a, c), operations: P,
  sites: [[cation, third, 2 * third, 0], [cation, 2 * third, third, 0.5], [anion, third, 2 * third, u], [anion, 2 * third, third, 0.5 + u]],
})
const perovskite = (a, b, x, length) => ({ cell: cubic(length), operations: P, sites: [[a, 0.5, 0.5, 0.5], [b, 0, 0, 0], [x, 0.5, 0, 0], [x, 0, 0.5, 0], [x, 0, 0, 0.5]] })
const rutile = (cation, anion, a, c, u) => ({
  cell: tetragonal(a, c), operations: P,
  sites: [[cation, 0, 0, 0], [cation, 0.5, 0.5, 0.5], [anion, u, u, 0], [anion, 1 - u, 1 - u, 0], [anion, 0.5 + u, 0.5 - u, 0.5], [anion, 0.5 - u, 0.5 + u, 0.5]],
})
const corundum = (cation, anion, a, c, z, x) => ({
  cell: hexagonal(a, c), operations: R,
  sites: [...[z, 0.5 - z, 1 - z, 0.5 + z].map((at) => [cation, 0, 0, at]), [anion, x, 0, 0.25], [anion, 0, x, 0.25], [anion, 1 - x, 1 - x, 0.25], [anion, 1 - x, 0, 0.75], [anion, 0, 1 - x, 0.75], [anion, x, x, 0.75]],
})
const spinel = (a, b, x, length, u) => ({
  cell: cubic(length), operations: F,
  sites: [
    [a, 0.125, 0.125, 0.125], [a, 0.875, 0.375, 0.375], [b, 0.5, 0.5, 0.5], [b, 0.25, 0.75, 0], [b, 0.75, 0, 0.25], [b, 0, 0.25, 0.75],
    [x, u, u, u], [x, 0.75 - u, 0.25 - u, 0.5 + u], [x, 0.25 - u, 0.5 + u, 0.75 - u], [x, 0.5 + u, 0.75 - u, 0.25 - u],
    [x, 0.75 + u, 0.25 + u, 0.5 - u], [x, -u, -u, -u], [x, 0.25 + u, 0.5 - u, 0.75 + u], [x, 0.5 - u, 0.75 + u, 0.25 + u],
  ],
})

/** The same crystal in other lattice vectors: `times` cells along each, then b + m·a and c + n·b + k·a, as nobody would write it and files do. */
function skewed({ cell, operations, sites }, times, [m, n, k]) {
  const moves = operations.map((text) => text.split(', ').map((part) => { const [, number, divisor] = /([\d.]+)\/(\d)/.exec(part) ?? [0, 0, 1]; return number / divisor }))
  const [a] = cell
  const rows = [[a * times, 0, 0], [m * a * times, a * times, 0], [k * a * times + n * m * a * times, n * a * times, a * times]]
  const length = (row) => Math.hypot(...row)
  const angle = (p, q) => Math.acos((p[0] * q[0] + p[1] * q[1] + p[2] * q[2]) / length(p) / length(q)) * 180 / Math.PI
  const atoms = []
  for (let i = 0; i < times; i++) for (let j = 0; j < times; j++) for (let l = 0; l < times; l++) for (const [element, x, y, z] of sites) for (const [dx, dy, dz] of moves) {
    const [fx, fy, fz] = [(x + dx + i) / times, (y + dy + j) / times, (z + dz + l) / times]
    const c = fz
    const b = fy - n * c
    atoms.push([element, ...[fx - m * (b + n * c) - k * c, b, c].map((f) => f - Math.floor(f + 1e-9))])
  }
  return { cell: [...rows.map(length), angle(rows[1], rows[2]), angle(rows[0], rows[2]), angle(rows[0], rows[1])], operations: P, sites: atoms }
}

const W = 'Wyckoff, Crystal Structures (1963)'
const structures = [
  ['halite', { ...rockSalt('Na', 'Cl', 5.6402), reference: W }], ['sylvite', { ...rockSalt('K', 'Cl', 6.2931), reference: W }], ['lithium fluoride', { ...rockSalt('Li', 'F', 4.027), reference: W }],
  ['periclase', { ...rockSalt('Mg', 'O', 4.2112), reference: W }], ['lime', { ...rockSalt('Ca', 'O', 4.8105), reference: W }], ['galena', { ...rockSalt('Pb', 'S', 5.9362), reference: W }],
  ['chlorargyrite', { ...rockSalt('Ag', 'Cl', 5.5491), reference: W }], ['titanium nitride', { ...rockSalt('Ti', 'N', 4.235), reference: W }],
  ['cesium chloride', { ...cesiumChloride('Cs', 'Cl', 4.123), reference: W }], ['cesium bromide', { ...cesiumChloride('Cs', 'Br', 4.286), reference: W }], ['nickel aluminide', { ...cesiumChloride('Ni', 'Al', 2.881), reference: W }],
  ['sphalerite', { ...zincBlende('Zn', 'S', 5.4093), reference: W }], ['gallium arsenide', { ...zincBlende('Ga', 'As', 5.6533), reference: W }], ['nantokite', { ...zincBlende('Cu', 'Cl', 5.416), reference: W }],
  ['silicon carbide 3C', { ...zincBlende('Si', 'C', 4.3596), reference: W }], ['indium antimonide', { ...zincBlende('In', 'Sb', 6.4794), reference: W }],
  ['diamond', { ...diamond('C', 3.56679), reference: W }], ['silicon', { ...diamond('Si', 5.4307), reference: W }], ['germanium', { ...diamond('Ge', 5.6574), reference: W }], ['grey tin', { ...diamond('Sn', 6.4912), reference: W }],
  ['fluorite', { ...fluorite('Ca', 'F', 5.46295), reference: W }], ['uraninite', { ...fluorite('U', 'O', 5.4682), reference: W }], ['lithium oxide', { ...fluorite('O', 'Li', 4.619), reference: W }],
  ['copper', { ...fcc('Cu', 3.61496), reference: W }], ['aluminium', { ...fcc('Al', 4.04958), reference: W }], ['silver', { ...fcc('Ag', 4.0862), reference: W }], ['gold', { ...fcc('Au', 4.07825), reference: W }], ['nickel', { ...fcc('Ni', 3.52387), reference: W }], ['lead', { ...fcc('Pb', 4.9505), reference: W }],
  ['iron', { ...bcc('Fe', 2.8665), reference: W }], ['tungsten', { ...bcc('W', 3.16469), reference: W }], ['sodium', { ...bcc('Na', 4.2906), reference: W }], ['chromium', { ...bcc('Cr', 2.8839), reference: W }],
  ['magnesium', { ...hcp('Mg', 3.20927, 5.21033), reference: W }], ['titanium', { ...hcp('Ti', 2.95, 4.686), reference: W }], ['zinc', { ...hcp('Zn', 2.6648, 4.9467), reference: W }],
  ['zincite', { ...wurtzite('Zn', 'O', 3.2501, 5.2071, 0.3817), reference: 'E. H. Kisi, M. M. Elcombe, Acta Cryst. C45 (1989) 1867' }], ['gallium nitride', { ...wurtzite('Ga', 'N', 3.19, 5.189, 0.377), reference: 'H. Schulz, K. H. Thiemann, Solid State Commun. 23 (1977) 815' }],
  ['tausonite', { ...perovskite('Sr', 'Ti', 'O', 3.9051), reference: W }], ['barium titanate, cubic', { ...perovskite('Ba', 'Ti', 'O', 4.0118), reference: W }], ['potassium magnesium fluoride', { ...perovskite('K', 'Mg', 'F', 3.973), reference: W }],
  ['perovskite', {
    cell: [5.3829, 5.4453, 7.6453, 90, 90, 90], operations: PBNM, reference: 'S. Sasaki, C. T. Prewitt, J. D. Bass, W. A. Schulze, Acta Cryst. C43 (1987) 1668',
    sites: [['Ca', 0.9935, 0.035, 0.25], ['Ti', 0, 0.5, 0], ['O', 0.0707, 0.4838, 0.25], ['O', 0.7114, 0.2888, 0.0371]],
  }],
  ['rutile', { ...rutile('Ti', 'O', 4.59373, 2.95812, 0.3053), reference: W }], ['cassiterite', { ...rutile('Sn', 'O', 4.73727, 3.186383, 0.307), reference: W }],
  ['anatase', {
    cell: tetragonal(3.785, 9.514), operations: I, reference: W,
    sites: [['Ti', 0, 0, 0], ['Ti', 0, 0.5, 0.25], ['O', 0, 0, 0.2066], ['O', 0, 0, -0.2066], ['O', 0, 0.5, 0.4566], ['O', 0, 0.5, 0.0434]],
  }],
  ['corundum', { ...corundum('Al', 'O', 4.7589, 12.991, 0.352, 0.306), reference: W }], ['hematite', { ...corundum('Fe', 'O', 5.035, 13.72, 0.355, 0.3), reference: W }],
  ['graphite', { cell: hexagonal(2.456, 6.696), operations: P, reference: W, sites: [['C', 0, 0, 0.25], ['C', 0, 0, 0.75], ['C', third, 2 * third, 0.25], ['C', 2 * third, third, 0.75]] }],
  ['spinel', { ...spinel('Mg', 'Al', 'O', 8.0806, 0.2624), reference: 'R. J. Hill, J. R. Craig, G. V. Gibbs, Phys. Chem. Minerals 4 (1979) 317' }],
  ['nickeline', { cell: hexagonal(3.602, 5.009), operations: P, reference: W, sites: [['Ni', 0, 0, 0], ['Ni', 0, 0, 0.5], ['As', third, 2 * third, 0.25], ['As', 2 * third, third, 0.75]] }],
  ['cadmium iodide', { cell: hexagonal(4.24, 6.84), operations: P, reference: W, sites: [['Cd', 0, 0, 0], ['I', third, 2 * third, 0.25], ['I', 2 * third, third, 0.75]] }],
  ['molybdenite', {
    cell: hexagonal(3.1604, 12.295), operations: P, reference: W,
    sites: [['Mo', third, 2 * third, 0.25], ['Mo', 2 * third, third, 0.75], ['S', third, 2 * third, 0.629], ['S', 2 * third, third, 0.371], ['S', 2 * third, third, 0.129], ['S', third, 2 * third, 0.871]],
  }],
  ['cuprite', { cell: cubic(4.2696), operations: P, reference: W, sites: [['O', 0, 0, 0], ['O', 0.5, 0.5, 0.5], ['Cu', 0.25, 0.25, 0.25], ['Cu', 0.75, 0.75, 0.25], ['Cu', 0.75, 0.25, 0.75], ['Cu', 0.25, 0.75, 0.75]] }],
  ['rhenium trioxide', { cell: cubic(3.734), operations: P, reference: W, sites: [['Re', 0, 0, 0], ['O', 0.5, 0, 0], ['O', 0, 0.5, 0], ['O', 0, 0, 0.5]] }],
  ['auricupride', { cell: cubic(3.748), operations: P, reference: W, sites: [['Au', 0, 0, 0], ['Cu', 0, 0.5, 0.5], ['Cu', 0.5, 0, 0.5], ['Cu', 0.5, 0.5, 0]] }],
  ['calcite', {
    cell: hexagonal(4.9899, 17.064), operations: R, reference: W,
    sites: [['Ca', 0, 0, 0], ['Ca', 0, 0, 0.5], ['C', 0, 0, 0.25], ['C', 0, 0, 0.75], ['O', 0.257, 0, 0.25], ['O', 0, 0.257, 0.25], ['O', 0.743, 0.743, 0.25], ['O', 0.743, 0, 0.75], ['O', 0, 0.743, 0.75], ['O', 0.257, 0.257, 0.75]],
  }],
  ['pyrite', { cell: cubic(5.40667), operations: PA3, reference: W, sites: [['Fe', 0, 0, 0], ['S', 0.386, 0.386, 0.386], ['S', 0.614, 0.614, 0.614]] }],
  ['halite, 64 atoms, skewed', { ...skewed(rockSalt('Na', 'Cl', 5.6402), 2, [2, -3, 1]), reference: `halite of ${W} in other lattice vectors` }],
  ['diamond, 216 atoms, skewed', { ...skewed(diamond('C', 3.56679), 3, [-4, 2, 3]), reference: `diamond of ${W} in other lattice vectors` }],
]

/** As many digits as say the number exactly enough, some with an uncertainty as experiments have. */
function number(value, digits = 5) {
  return Number(value.toFixed(digits)).toString()
}

function cif(name, { cell, operations, sites, reference }, k) {
  const counts = new Map()
  const rows = sites.map(([element, ...xyz]) => {
    const count = (counts.get(element) ?? 0) + 1
    counts.set(element, count)
    const coordinates = xyz.map((f) => number(f, 8))
    // Columns come in any order in files.
    return k % 3 === 0 ? [`${element}${count}`, element, ...coordinates, '1'] : k % 3 === 1 ? [...coordinates, element, `${element}${count}`] : [element, ...coordinates]
  })
  const axes = ['x', 'y', 'z'].map((axis) => `_atom_site_fract_${axis}`)
  const columns = k % 3 === 0 ? ['_atom_site_label', '_atom_site_type_symbol', ...axes, '_atom_site_occupancy'] : k % 3 === 1 ? [...axes, '_atom_site_type_symbol', '_atom_site_label'] : ['_atom_site_type_symbol', ...axes]
  const lengths = ['a', 'b', 'c'].map((axis, i) => `_cell_length_${axis}  ${number(cell[i], 8)}${k % 4 === 1 && operations !== P ? '(2)' : ''}`)
  const angles = ['alpha', 'beta', 'gamma'].map((angle, i) => `_cell_angle_${angle}  ${number(cell[i + 3], 8)}`)
  const tag = k % 2 === 0 ? '_symmetry_equiv_pos_as_xyz' : '_space_group_symop_operation_xyz'
  return [
    `data_${name.replaceAll(/\W+/g, '_')}`, `_publ_section_title '${name}'`, `# ${reference}`, ...lengths, ...angles,
    'loop_', tag, ...operations.map((operation) => `'${operation}'`), 'loop_', ...columns, ...rows.map((row) => row.join('  ')), '',
  ].join('\n')
}

/** Å³, from the cell and the number of sites times operations; nothing lies on one of the operations here that would count twice but pyrite's and perovskite's, which are looked up. */
function atomsIn({ operations, sites }, name) {
  return { pyrite: 12, perovskite: 20 }[name] ?? sites.length * operations.length
}

function volume([a, b, c, ...angles]) {
  const [x, y, z] = angles.map((degrees) => Math.cos(degrees * Math.PI / 180))
  return a * b * c * Math.sqrt(1 - x * x - y * y - z * z + 2 * x * y * z)
}

const quoted = (text) => `"${text.replaceAll('"', '""')}"`
const rows = structures.map(([name, structure], k) => [quoted(name), quoted(cif(name, structure, k)), number(volume(structure.cell) / atomsIn(structure, name), 4)].join(','))
writeFileSync(fileURLToPath(new URL(process.argv[2] ?? 'structures.csv', import.meta.url)), `name,cif,volume_per_atom\n${rows.join('\n')}\n`)
