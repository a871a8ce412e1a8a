import { fixedRows } from '../../src/core/rows.js'
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { FileError, FormatError, UnsupportedError } from '../../src/core/errors.js'
import type { Tensor } from '../../src/core/tensor.js'
import { crystals, type CrystalsOptions } from '../../src/sources/crystals.js'
import type { Source } from '../../src/sources/source.js'
import { collect, sourceContract, type ContractItem } from '../contracts/source.js'
import { tempDir } from '../support/temp.js'
import { file } from './write.js'

const FIXTURES = resolve(import.meta.dirname, '../fixtures/crystals')
interface Golden { numbers: number[]; frac_coords: number[]; lattice: number[] }
const goldens = (JSON.parse(readFileSync(join(FIXTURES, 'goldens.json'), 'utf8')) as { crystals: Record<string, Golden | string> }).crystals

/** Cubic, P1, one carbon atom per position along x. */
function cif(a: number, xs: readonly number[], name = 'C'): string {
  const cell = ['length_a', 'length_b', 'length_c'].map((tag) => `_cell_${tag} ${a}\n`).join('') + ['alpha', 'beta', 'gamma'].map((tag) => `_cell_angle_${tag} 90\n`).join('')
  return `data_${name}\n${cell}loop_\n_atom_site_type_symbol\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n${xs.map((x) => `C ${x} 0 0\n`).join('')}`
}

const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`
const csv = (rows: readonly (readonly string[])[], end = '\n'): Buffer => Buffer.from(rows.map((row) => row.join(',') + end).join(''))

function itemOf(id: string, a: number, xs: readonly number[], more: Record<string, Tensor> = {}): ContractItem {
  return {
    id,
    fields: {
      numbers: { dtype: 'int32', shape: [xs.length], data: new Int32Array(xs.length).fill(6) },
      frac_coords: { dtype: 'float64', shape: [xs.length, 3], data: Float64Array.from(xs.flatMap((x) => [x, 0, 0])) },
      lattice: { dtype: 'float64', shape: [3, 3], data: Float64Array.of(a, 0, 0, 0, a, 0, 0, 0, a) },
      ...more,
    },
  }
}

const samples = Array.from({ length: 23 }, (_, k) => ({ id: `m-${k}`, a: 3 + k / 8, xs: Array.from({ length: 1 + (k >> 2) % 3 }, (_, i) => i / 8), energy: k / 4 - 2 }))
const float = (value: number): Tensor => ({ dtype: 'float32', shape: [], data: Float32Array.of(value) })
const table = (part: typeof samples, end?: string): Buffer => csv([['', 'material_id', 'cif', 'energy'], ...part.map(({ id, a, xs, energy }, k) => [`${k}`, id, quoted(cif(a, xs)), `${energy}`])], end)
const OPTIONS: CrystalsOptions = { idColumn: 'material_id', properties: ['energy'] }
const withEnergy = samples.map(({ id, a, xs, energy }) => itemOf(id, a, xs, { energy: float(energy) }))

for (const [name, end] of [['line feeds', '\n'], ['CRLF', '\r\n']] as const) {
  sourceContract(`crystals, .csv with ${name}`, async () => {
    const path = file('rows.csv', table(samples, end))
    return { open: () => crystals(path, OPTIONS), items: withEnergy, openCopies: (copy) => crystals(copy(path), OPTIONS) }
  })
}

sourceContract('crystals, two .csv', async () => {
  const paths = [file('a.csv', table(samples.slice(0, 9))), file('b.csv', table(samples.slice(9)))]
  return { open: () => crystals(paths, OPTIONS), items: withEnergy, openCopies: (copy) => crystals(paths.map(copy), OPTIONS) }
})

sourceContract('crystals, .csv of which rows are skipped', async () => {
  const rows = samples.map(({ id, a, xs, energy }, k) => [id, quoted(k % 5 === 1 ? 'no CIF' : cif(a, xs)), `${energy}`])
  const path = file('rows.csv', csv([['material_id', 'cif', 'energy'], ...rows]))
  return { open: () => crystals(path, { ...OPTIONS, onBadItem: 'skip' }), items: withEnergy.filter((_, k) => k % 5 !== 1), openCopies: (copy) => crystals(copy(path), { ...OPTIONS, onBadItem: 'skip' }) }
})

sourceContract('crystals, .csv without rows', async () => {
  const path = file('none.csv', csv([['material_id', 'cif', 'energy']]))
  return { open: () => crystals(path, OPTIONS), items: [] }
})

sourceContract('crystals, .cif files', async () => {
  const paths = samples.map(({ id, a, xs }) => file(`${id}.cif`, Buffer.from(cif(a, xs))))
  const items = samples.map(({ a, xs }, k) => itemOf(/([^/]+)\.cif$/.exec(paths[k]!)![1]!, a, xs))
  return { open: () => crystals(paths), items, openCopies: (copy) => crystals(paths.map(copy)) }
})

sourceContract('crystals, a .cif with several blocks', async () => {
  const path = file('several.cif', Buffer.from(`data_global\n_publ_section_title 'about data_ blocks'\n${samples.map(({ id, a, xs }) => cif(a, xs, id)).join('\n')}`))
  const stem = /([^/]+)\.cif$/.exec(path)![1]!
  return { open: () => crystals(path), items: samples.map(({ id, a, xs }) => itemOf(`${stem}/${id}`, a, xs)), openCopies: (copy) => crystals(copy(path)) }
})

async function only(source: Source): Promise<Record<string, Tensor>> {
  const runs = await collect(source.read(0, source.length, { fields: Object.keys(source.fields) }))
  source.close()
  expect(runs.length).toBe(1)
  return Object.fromEntries(Object.entries(runs[0]!.fields).map(([name, rows]) => [name, fixedRows(rows, 0, runs[0]!.count)]))
}

const read = async (text: string, options?: CrystalsOptions): Promise<Record<string, Tensor>> => only(await crystals(file('x.cif', Buffer.from(text)), options))
const P1 = '_cell_length_a 4\n_cell_length_b 5\n_cell_length_c 6\n_cell_angle_alpha 90\n_cell_angle_beta 90\n_cell_angle_gamma 90\n'
const sites = (columns: string, ...rows: string[]): string => `data_x\n${P1}loop_\n${columns.split(' ').map((name) => `_atom_site_${name}\n`).join('')}${rows.join('\n')}\n`

describe('crystals as pymatgen has them', () => {
  test('there is a golden for each file', () => {
    expect(readdirSync(FIXTURES).filter((name) => name.endsWith('.cif')).map((name) => name.slice(0, -4)).sort()).toEqual(Object.keys(goldens).sort())
  })

  test.each(Object.entries(goldens))('%s', async (name, golden) => {
    const source = await crystals(join(FIXTURES, `${name}.cif`))
    if (typeof golden === 'string') return expect(only(source)).rejects.toThrow(golden === 'refused' ? FormatError : UnsupportedError)
    const { numbers, frac_coords: fractions, lattice } = await only(source)
    expect([...numbers!.data]).toEqual(golden.numbers)
    expect(fractions!.shape).toEqual([1, golden.numbers.length, 3])
    golden.frac_coords.forEach((value, k) => expect(Math.abs(Number(fractions!.data[k]) - value)).toBeLessThanOrEqual(1e-15))
    golden.lattice.forEach((value, k) => expect(Math.abs(Number(lattice!.data[k]) - value)).toBeLessThanOrEqual(1e-14 * 12))
  })
})

describe('what a CIF may say', () => {
  test('coordinates in Å are along the standard axes, or those of the matrix', async () => {
    const cell = P1.replace('gamma 90', 'gamma 120')
    const loop = 'loop_\n_atom_site_label\n_atom_site_Cartn_x\n_atom_site_Cartn_y\n_atom_site_Cartn_z\nC1 -0.25 2.165063509461097 1.5\n'
    const { frac_coords: standard } = await read(`data_x\n${cell}${loop}`)
    ;[0.25, 0.5, 0.25].forEach((value, axis) => expect(Number(standard!.data[axis])).toBeCloseTo(value, 12))
    const matrix = [[0, 0, 6], [4, -2.5, 0], [0, 4.330127018922194, 0]].flatMap((row, i) => row.map((value, j) => `_atom_sites_Cartn_tran_matrix_${i + 1}${j + 1} ${value}\n`)).join('')
    const { frac_coords: given } = await read(`data_x\n${cell}${matrix}${loop}`)
    const [x, y, z] = [...given!.data].map(Number) as [number, number, number]
    expect(6 * z).toBeCloseTo(5.75, 12)
    expect(4 * x - 2.5 * y).toBeCloseTo(2.165063509461097, 12)
    expect(4.330127018922194 * y).toBeCloseTo(1.5, 12)
  })

  test('tags in any case, with the dots of newer dictionaries, and with values in text fields', async () => {
    const text = `DATA_x\n${P1.toUpperCase().replaceAll('_CELL_', '_cell.')}LOOP_\n_ATOM_SITE.label\n_Atom_Site_Fract_X\n_atom_site.fract_y\n_atom_site_fract_z\nFe1\n;0.5\n;\n'0.25' "0.75"\n`
    const { numbers, frac_coords: fractions } = await read(text)
    expect([...numbers!.data]).toEqual([26])
    expect([...fractions!.data]).toEqual([0.5, 0.25, 0.75])
  })

  test('symbols: deuterium, oxidation states, capitals, water, and labels read with the formula', async () => {
    const rows = ['D', 'Fe3+', 'O2-', 'CL1-', 'Ow', 'U', 'NO3'].map((symbol, k) => `${symbol} 0.${k + 1} 0 0`)
    expect([...(await read(sites('type_symbol fract_x fract_y fract_z', ...rows))).numbers!.data].sort((a, b) => Number(a) - Number(b))).toEqual([1, 7, 8, 8, 17, 26, 92])
    const labels = sites('label fract_x fract_y fract_z', 'HO5 0.1 0 0', 'CA1 0.2 0 0', 'Os1 0.3 0 0')
    expect([...(await read(labels)).numbers!.data]).toEqual([20, 67, 76])
    expect([...(await read(labels.replace('loop_', "_chemical_formula_sum 'C H Os'\nloop_"))).numbers!.data]).toEqual([1, 76, 6])
  })

  test('dummies and empty sites are no atoms, an unknown occupancy is a full one', async () => {
    const { numbers } = await read(sites('label occupancy calc_flag fract_x fract_y fract_z', 'C1 ? d 0 0 0', 'N1 . d 0.5 0 0', 'O1 0 d 0.25 0 0', 'Cg 1 dum ? ? ?'))
    expect([...numbers!.data]).toEqual([6, 7])
  })

  test('a symmetry that is not said is P1; one that is only named is refused', async () => {
    for (const named of ["_symmetry_space_group_name_H-M 'P 1'\n", '_symmetry_Int_Tables_number 1\n', "_space_group_name_Hall 'P 1'\n", '_space_group_IT_number ?\n']) expect((await read(`${cif(4, [0.1])}${named}`)).numbers!.shape).toEqual([1, 1])
    for (const named of ["_symmetry_space_group_name_H-M 'P -1'\n", '_symmetry_Int_Tables_number 225\n', "_space_group_name_Hall '-P 4 2 3'\n"]) await expect(read(`${cif(4, [0.1])}${named}`)).rejects.toThrow(/operations are not listed; write the CIF/)
  })

  test('operations in other spellings', async () => {
    const operations = (list: string[]): string => `${cif(4, [0.1])}loop_\n_symmetry_equiv_pos_as_xyz\n${list.map((text) => `'${text}'\n`).join('')}`
    const { frac_coords: fractions } = await read(operations(['x,y,z', ' 1/2 + X , -Y, 0.25-z', 'x+.75, y, z']))
    const xs = [...fractions!.data].map(Number)
    expect([0, 3, 6].map((k) => xs.slice(k, k + 3))).toEqual([[0.1, 0, 0], [0.6, 0, 0.25], [0.85, 0, 0]])
    for (const bad of ['x,y', 'x,y,z,t', 'x,y,q', 'x,,z', 'x,x,z', 'x y,y,z', 'x,y,z+', 'x,y,1/0+z', '2x,y,z', 'x,y,z*', '']) await expect(read(operations(['x,y,z', bad])), bad).rejects.toThrow(/an operation such as/)
    await expect(read(operations(['-x,-y,-z']))).rejects.toThrow(/x,y,z among the operations/)
  })

  test('partial occupancy is refused by the name of the site, or the majority is taken', async () => {
    const shared = sites('label occupancy fract_x fract_y fract_z', 'Sr1 .7 0 0 0', 'La1 .3 0 0 0', 'Ti1 1 .5 .5 .5', 'O1 .5 0 .5 .5', 'F1 .4 0 0 .5', 'Na1 .5 .25 0 0', 'K1 .5 .25 0 0')
    await expect(read(shared)).rejects.toThrow(/"Sr1" \(0.7\), "La1" \(0.3\) is occupied partially/)
    expect([...(await read(shared, { occupancy: 'majority' })).numbers!.data]).toEqual([11, 38, 22, 8])
    expect([...(await read(sites('type_symbol occupancy fract_x fract_y fract_z', 'Fe2+ .5 0 0 0', 'Fe3+ .5 0 0 0'))).numbers!.data]).toEqual([26])
  })

  test('blocks by position and by name', async () => {
    const path = file('two.cif', Buffer.from(`data_about\n_x 1\n${cif(3, [0], 'one')}${cif(4, [0, 0.5], 'two')}`))
    for (const [block, atoms] of [[0, 1], [1, 2], ['one', 1], ['two', 2]] as const) expect((await only(await crystals(path, { block }))).numbers!.shape).toEqual([1, atoms])
    for (const block of [2, 'about']) await expect(only(await crystals(path, { block }))).rejects.toThrow(/expected .*, found 2 \("one", "two"\)/)
  })

  test('a folder is read in the order of its names, subfolders too', async () => {
    const dir = tempDir()
    mkdirSync(join(dir, 'b/c'), { recursive: true })
    for (const [k, name] of ['b.cif', 'a.CIF', 'b/z.cif', 'b/c/1.cif', '.hidden.cif', 'notes.txt'].entries()) writeFileSync(join(dir, name), cif(3 + k, [0]))
    const source = await crystals(dir)
    expect(Array.from({ length: source.length }, (_, k) => source.id(k))).toEqual(['a', 'b', 'b/c/1', 'b/z'])
    await expect(crystals(tempDir())).rejects.toThrow(/holds no .cif file/)
    await expect(crystals(join(dir, 'no.cif'))).rejects.toThrow(FileError)
    await expect(crystals(join(dir, 'no.csv'))).rejects.toThrow(FileError)
  })
})

describe('what is left out', () => {
  const rows = [['id', 'cif', 'energy'], ['a', quoted(cif(4, [0])), '1'], ['b', quoted('data_x\n'), '1'], ['c', quoted(cif(4, [0])), 'none'], ['d', quoted(cif(4, [0]))], ['', quoted(cif(4, [0])), '1'], ['f', quoted(cif(5, [0])), '2']]
  const options: CrystalsOptions = { idColumn: 'id', properties: ['energy'] }

  test('is listed with row, id and reason', async () => {
    const path = file('bad.csv', csv(rows))
    const source = await crystals(path, { ...options, onBadItem: 'skip' })
    expect([source.id(0), source.id(1), source.length]).toEqual(['a', 'f', 2])
    expect(source.skipped).toEqual([
      { id: 'b', file: path, row: 1, reason: `${path}: row 1 ("b"): CIF: expected a data block with atoms, found none` },
      { id: 'c', file: path, row: 2, reason: `${path}: row 2 ("c"): column "energy": expected a number that float32 can hold, found "none"` },
      { id: 'row 3', file: path, row: 3, reason: `${path}: row 3: expected 3 fields, as the header has, found 2` },
      { id: 'row 4', file: path, row: 4, reason: `${path}: row 4, column "id": expected an id, found none` },
    ])
  })

  test('is nothing unless asked for: the first bad row is an error, of its shape when opening, of its content when read', async () => {
    await expect(crystals(file('bad.csv', csv(rows)), options)).rejects.toThrow(/row 4, column "id"|row 3: expected 3 fields/)
    const source = await crystals(file('bad.csv', csv(rows.slice(0, 4))), options)
    const { value } = await source.read(0, 1, { fields: ['energy'] })[Symbol.asyncIterator]().next() as { value: { count: number } }
    expect(value.count).toBe(1)
    await expect(collect(source.read(0, 2, { fields: ['lattice'] }))).rejects.toThrow(/row 1 \("b"\)/)
    await expect(collect(source.read(2, 3, { fields: ['energy'] }))).rejects.toThrow(/row 2 \("c"\): column "energy"/)
    expect((await collect(source.read(2, 3, { fields: ['lattice'] }))).length).toBe(1)
  })

  test('of a folder, a file', async () => {
    const dir = tempDir()
    for (const [name, text] of [['a', cif(4, [0])], ['b', 'data_x\ndata_y\n'], ['c', '\0\0'], ['d', cif(4, [0])]] as const) writeFileSync(join(dir, `${name}.cif`), text)
    const source = await crystals(dir, { onBadItem: 'skip' })
    expect([source.length, source.id(1), source.skipped!.map(({ id }) => id)]).toEqual([2, 'd', ['b', 'c']])
    await expect(crystals(dir)).rejects.toThrow(/b.cif: file: expected a data block with atoms/)
  })
})

describe('misuse', () => {
  const path = file('x.csv', table(samples))
  const wrong: [CrystalsOptions, RegExp][] = [
    [{ cifcolumn: 'cif' } as never, /misspelled option "cifcolumn" should be "cifColumn"/],
    [{ cifColumn: 'CIF' }, /has no column "CIF"; did you mean "cif"/],
    [{ idColumn: 'nothing_like_it' }, /has no column "nothing_like_it"; there are/],
    [{ properties: ['energie'] }, /did you mean "energy"/],
    [{ properties: { Energy: 'energy' } }, /snake_case/],
    [{ properties: { lattice: 'energy' } }, /there is a field "lattice" already/],
    [{ properties: ['energy', 'energy'] }, /already/],
    [{ properties: 'energy' as never }, /must be a list of columns/],
    [{ occupancy: 'most' as never }, /occupancy must be one of/],
    [{ onBadItem: 'ignore' as never }, /onBadItem must be one of/],
    [{ siteTolerance: 0 }, /siteTolerance must be/],
    [{ block: -1 }, /block must be/],
  ]
  test.each(wrong)('%o', async (options, message) => {
    const error = await crystals(path, options).then(() => undefined, (error: unknown) => error)
    expect(error).toBeInstanceOf(TypeError)
    expect((error as Error).message).toMatch(message)
  })
  test('paths', async () => {
    await expect(crystals([])).rejects.toThrow(TypeError)
    await expect(crystals(5 as never)).rejects.toThrow(TypeError)
    await expect(crystals([path, 'x.cif'])).rejects.toThrow(TypeError)
    await expect(crystals('x.cif', { idColumn: 'id' })).rejects.toThrow(/idColumn is for .csv/)
  })
})
