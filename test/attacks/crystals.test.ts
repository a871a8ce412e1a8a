import * as fc from 'fast-check'
import { closeSync, ftruncateSync, openSync, writeFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { FormatError, UnsupportedError } from '../../src/core/errors.js'
import { crystals, type CrystalsOptions } from '../../src/sources/crystals.js'
import { file } from '../sources/write.js'

const MILLISECONDS_MAX = 2_000
const BYTES_MAX = 128 * 2 ** 20

const CELL = { length_a: '4', length_b: '5', length_c: '6', angle_alpha: '90', angle_beta: '95', angle_gamma: '100' }
const cell = (more: Partial<Record<keyof typeof CELL, string>> = {}): string => Object.entries({ ...CELL, ...more }).map(([name, value]) => `_cell_${name} ${value}\n`).join('')
const loop = (rows: readonly string[], columns = 'label fract_x fract_y fract_z'): string => `loop_\n${columns.split(' ').map((name) => `_atom_site_${name}\n`).join('')}${rows.join('\n')}\n`
const cif = (rows: readonly string[] = ['C1 0 0 0'], columns?: string): string => `data_x\n${cell()}${loop(rows, columns)}`
const row = (text: string, id = 'm-1'): string => `id,cif\nfirst,"${cif()}"\n${id},"${text.replaceAll('"', '""')}"\n`

async function use(path: string, options?: CrystalsOptions): Promise<number> {
  const source = await crystals(path, options)
  try {
    let items = 0
    for await (const run of source.read(0, source.length, { fields: Object.keys(source.fields) })) items += run.count
    return items
  } finally {
    source.close()
  }
}

/** Expects an error that names the file and a place matching `place`, in bounded time and memory. */
async function expectRefused(path: string, place: RegExp, options?: CrystalsOptions, kind: typeof FormatError | typeof UnsupportedError = FormatError): Promise<void> {
  const before = process.memoryUsage().rss
  const began = performance.now()
  const error = await use(path, options).then(() => undefined, (error: unknown) => error)
  expect(error, 'nothing was refused').toBeDefined()
  if (!(error instanceof kind)) throw error
  expect(error.file).toBe(path)
  expect(error.message.length).toBeLessThan(1_000)
  expect(`${error.place}: ${error.message}`).toMatch(place)
  expect(performance.now() - began).toBeLessThan(MILLISECONDS_MAX)
  expect(process.memoryUsage().rss - before).toBeLessThan(BYTES_MAX)
}

const refusedCif = (text: string | Uint8Array, place: RegExp, options?: CrystalsOptions, kind?: typeof UnsupportedError): Promise<void> => expectRefused(file('x.cif', Buffer.from(text as string)), place, options, kind)
const refusedCsv = (text: string | Uint8Array, place: RegExp, options: CrystalsOptions = { idColumn: 'id' }): Promise<void> => expectRefused(file('x.csv', Buffer.from(text as string)), place, options)

test('the files these attacks start from are sound', async () => {
  expect(await use(file('x.cif', Buffer.from(cif())))).toBe(1)
  expect(await use(file('x.csv', Buffer.from(row(cif()))), { idColumn: 'id' })).toBe(2)
})

describe('.cif: text', () => {
  test('empty', () => refusedCif('', /a data block/))
  test('space and comments only', () => refusedCif(' \n\t# data_x\n'.repeat(100_000), /a data block/))
  test('no data block', () => refusedCif(cif().replace('data_x', ''), /line \d+ of the CIF: expected data_/))
  test('binary junk', () => refusedCif(Uint8Array.from({ length: 100_000 }, (_, k) => (k * 7919 + (k >> 3)) % 256), /line 1 of the CIF/))
  test('zeros', () => refusedCif(Buffer.alloc(1_000_000), /control character 0/))
  test('UTF-16', () => refusedCif(Buffer.from(cif(), 'utf16le'), /line 1 of the CIF/))
  for (const quote of ['"', '\'']) test(`a string that ${quote} does not end`, () => refusedCif(`data_x\n_cell_length_a ${quote}4\n`, /line 2 of the CIF: expected a string that ends/))
  test('a million quotes on one line', () => refusedCif(`data_x\n_a ${'\''.repeat(1_000_001)}\n`, /a data block with atoms/))
  test('a text field without end', () => refusedCif(`data_x\n_cell_length_a\n;${'4\n'.repeat(1_000_000)}`, /text field that ends/))
  test('cut off anywhere', async () => {
    const text = cif(['C1 0 0.25 0', '\'N 1\' 0.5 0 0'])
    for (let length = 0; length < text.lastIndexOf('0 0.25'); length++) await expect(use(file('x.cif', Buffer.from(text.slice(0, length))))).rejects.toThrow(FormatError)
  })
  test('a value where a tag belongs', () => refusedCif(`data_x\n4 ${cell()}`, /expected a tag/))
  test('a tag without value', () => refusedCif(cif().replace('_cell_length_a 4', '_cell_length_a'), /a value of _cell_length_a/))
  test('a tag twice', () => refusedCif(cif() + cell(), /each tag once/))
  test('a loop without tags', () => refusedCif(`${cif()}loop_\n1 2 3\n`, /tags after loop_/))
  test('a loop of a million tags', () => refusedCif(`data_x\nloop_\n${'_a\n'.repeat(1_000_000)}`, /at most 1000 tags/))
  test('a row that is cut short', () => refusedCif(cif(['C1 0 0 0', 'C2 0 0']), /values for all 4 tags/))
  test('a save frame', () => refusedCif('data_x\nsave_y\n', /expected a CIF/))
  test('a value of a megabyte', () => refusedCif(cif([`C1 ${'0'.repeat(1_000_000)} 0 0`]), /at most 1000 characters/))
  test('a hundred thousand blocks and one', () => refusedCif('data_a _atom_site_fract_x 0\n'.repeat(100_001), /at most 100000 data blocks/))
  test('characters that are changed, left out, or put in give a crystal or an error that says where', async () => {
    const text = `${cif(['C1 0 0.25 0 1 ', '\'N 1\' 0.5(3) 0 0 .'], 'label fract_x fract_y fract_z occupancy')}loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z '-x, y+1/2, -z'\n_about\n;\nx\n;\n`
    const path = file('x.csv', Buffer.from(''))
    await fc.assert(fc.asyncProperty(fc.array(fc.tuple(fc.nat(text.length), fc.nat(3), fc.string({ unit: fc.constantFrom(...'\n\r\t ;\'"#_,?.()+-*/09eExXdD\0é') , maxLength: 3 })), { minLength: 1, maxLength: 4 }), async (edits) => {
      const hostile = edits.reduce((made, [at, cut, put]) => made.slice(0, at) + put + made.slice(at + cut), text)
      writeFileSync(path, `cif\n"${hostile.replaceAll('"', '""')}"\n`)
      const error = await use(path).then(() => undefined, (error: unknown) => error)
      if (error !== undefined && !(error instanceof FormatError || error instanceof UnsupportedError)) throw error
    }), { numRuns: 500 })
  })
  test('a file of a gigabyte', () => {
    const path = file('large.cif', Buffer.from(cif()))
    const handle = openSync(path, 'r+')
    ftruncateSync(handle, 2 ** 30)
    closeSync(handle)
    return expectRefused(path, /at most \d+ bytes/)
  })
})

describe('.cif: cell', () => {
  for (const value of ['NaN', 'nan', '0', '-4', '1e999', 'inf', '4a', '0x4', '?', '.', '(3)', '4..', '\'\'', '1e6', '1_000']) {
    test(`a length ${value}`, () => refusedCif(cif().replace('_a 4', `_a ${value}`), /_cell_length_a: expected a length/))
    if (value !== '4a') test(`an angle ${value}`, () => refusedCif(cif().replace('beta 95', `beta ${value}`), /_cell_angle_beta: expected an angle/))
  }
  for (const value of ['180', '360', '180.0001']) test(`an angle ${value}`, () => refusedCif(cif().replace('beta 95', `beta ${value}`), /_cell_angle_beta: expected an angle/))
  for (const angles of [['60', '60', '120'], ['30', '30', '90'], ['120', '120', '120'], ['170', '170', '170'], ['1e-9', '1e-9', '1e-9']]) {
    test(`no volume: ${angles.join(', ')}`, () => refusedCif(`data_x\n${cell({ angle_alpha: angles[0]!, angle_beta: angles[1]!, angle_gamma: angles[2]! })}${loop(['C1 0 0 0'])}`, /angles of a cell with a volume/))
  }
  test('missing', () => refusedCif(`data_x\n${loop(['C1 0 0 0'])}`, /_cell_length_a: expected a length above 0, up to 100000 Å, found none/))
  test('several', () => refusedCif(`data_x\nloop_ _cell_length_a 4 5 ${cell().split('\n').slice(1).join('\n')}\n${loop(['C1 0 0 0'])}`, /2 values/))
})

describe('.cif: atoms', () => {
  test('none', () => refusedCif(`data_x\n${cell()}`, /a data block with atoms, found none/))
  test('no rows', () => refusedCif(cif([]), /expected atoms, found none/))
  test('no y', () => refusedCif(cif(['C1 0 0'], 'label fract_x fract_z'), /atom sites: expected _atom_site_fract_y/))
  test('no symbols', () => refusedCif(cif(['0 0 0'], 'fract_x fract_y fract_z'), /_atom_site_type_symbol or _atom_site_label/))
  test('columns of two lengths', () => refusedCif(`${cif()}loop_\n_atom_site_occupancy\n1 1\n`, /1 values in each column/))
  for (const symbol of ['X', 'Zz', '1', '?', '.', '\'\'', 'M1', '⚛']) test(`the element ${symbol}`, () => refusedCif(cif([`${symbol} 0 0 0`]), /the symbol of an element/))
  for (const x of ['?', '.', 'NaN', '1e999', '--1', '1/3', '0(']) test(`a coordinate ${x}`, () => refusedCif(cif([`C1 ${x} 0 0`]), /atom "C1", _atom_site_fract_x: expected a number/))
  for (const x of ['1e300', '-10001']) test(`a coordinate ${x}`, () => refusedCif(cif([`C1 ${x} 0 0`]), /fractional coordinates within/))
  for (const value of ['-0.1', '1.1', 'NaN', 'x']) test(`an occupancy ${value}`, () => refusedCif(cif([`C1 0 0 0 ${value}`], 'label fract_x fract_y fract_z occupancy'), /occupancy from 0 to 1/))
  test('nothing but empty sites', () => refusedCif(cif(['C1 0 0 0 0'], 'label fract_x fract_y fract_z occupancy'), /expected an atom, found 1 rows that are none/))
  test('two in one place', () => refusedCif(cif(['C1 0 0 0', 'N1 1.00005 0 -1e-5']), /"C1" \(1\), "N1" \(1\) in the same/))
  test('two in one place after symmetry', () => refusedCif(`${cif(['C1 0.1 0 0', 'N1 0.9 0 0'])}loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z -x,-y,-z\n`, /"C1" \(1\), "N1" \(1\) in the same/))
  test('too many in one place for the majority', () => refusedCif(cif(['C1 0 0 0 1', 'N1 0 0 0 .5'], 'label fract_x fract_y fract_z occupancy'), /at most one atom in a place/, { occupancy: 'majority' }))
  test('a site that is empty more often than not', () => refusedCif(cif(['C1 0 0 0 .2'], 'label fract_x fract_y fract_z occupancy'), /none of 1/, { occupancy: 'majority' }))
  test('a Cartesian matrix without inverse', () => refusedCif(`${cif().replaceAll('fract', 'Cartn')}_atom_sites_Cartn_tran_matrix_11 0\n`, /a matrix that has an inverse/))
  test('a modulated structure', () => refusedCif(`${cif()}_cell_modulation_dimension 1\n`, /modulated/, undefined, UnsupportedError))
  test('ten thousand, which is fine', async () => {
    expect(await use(file('x.cif', Buffer.from(cif(Array.from({ length: 10_000 }, (_, k) => `C${k} ${(k % 100) / 100} ${Math.floor(k / 100) / 100} 0.5`)))))).toBe(1)
  })
  test('ten thousand within a thousandth of the cell', async () => {
    const rows = Array.from({ length: 10_000 }, (_, k) => `C${k} ${(k % 20) * 1.1e-4} ${Math.floor(k / 20) % 20 * 1.1e-4} ${Math.floor(k / 400) * 1.1e-4}`)
    const began = performance.now()
    expect(await use(file('x.cif', Buffer.from(cif(rows))))).toBe(1)
    expect(performance.now() - began).toBeLessThan(MILLISECONDS_MAX)
  })
  test('a million rows', () => refusedCif(cif(Array.from({ length: 1_000_000 }, (_, k) => `C${k} 0 0 ${k}`)), /at most 100000 rows/))
  test('a million rows of something else, which are fine', async () => {
    expect(await use(file('x.cif', Buffer.from(`${cif()}loop_\n_refln_a\n_refln_b\n${'1 2\n'.repeat(1_000_000)}`)))).toBe(1)
  })
  const operations = (count: number): string => `loop_\n_symmetry_equiv_pos_as_xyz\n${Array.from({ length: count }, (_, k) => `x+${k}/${count},y,z\n`).join('')}`
  test('a million operations', () => refusedCif(cif() + operations(1_000_000), /at most 100000 rows/))
  test('thousands of operations', () => refusedCif(cif() + operations(5_000), /at most 1024 symmetry operations/))
  test('more images of atoms than memory', () => refusedCif(cif(Array.from({ length: 90_000 }, (_, k) => `C${k} 0 0.1234 ${k / 90_000}`)) + operations(1_000), /images of atoms, found 90000 atoms and 1000 operations/))
  test('more atoms than fit', () => refusedCif(cif(Array.from({ length: 900 }, (_, k) => `C${k} 0 0.1234 ${k / 900}`)) + operations(1_000), /at most 100000 atoms in the cell/))
})

describe('.csv', () => {
  test('empty', () => refusedCsv('', /header: expected names of columns/))
  test('empty lines', () => refusedCsv('\n\r\n\n', /header: expected names of columns/))
  test('a CIF that is damaged', () => refusedCsv(row('data_x\n'), /row 1 \("m-1"\): CIF: expected a data block with atoms/))
  test('a CIF with quotes in quotes', () => refusedCsv(row(cif().replace('_a 4', '_a "4')), /row 1 \("m-1"\): line 2 of the CIF: expected a string that ends with "/))
  test('no CIF', () => refusedCsv('id,cif\na,\n', /row 0 \("a"\): line 1 of the CIF: expected a data block, found no content/))
  test('no column', async () => { await expect(crystals(file('x.csv', Buffer.from('id,structure\na,b\n')))).rejects.toThrow(/has no column "cif"; there are "id", "structure"/) })
  test('a column twice', () => refusedCsv('id,cif,cif\na,b,c\n', /header: expected each column once/))
  test('an id twice', () => refusedCsv(row(cif(), 'first'), /row 1, column "id": expected each id once, found "first" of row 0 again/))
  test('no id', () => refusedCsv(row(cif(), ''), /row 1, column "id": expected an id/))
  test('a row too short', () => refusedCsv('id,cif\na,b\nc\n', /row 1: expected 2 fields, as the header has, found 1/))
  test('a row too long', () => refusedCsv('id,cif\na,b\nc,d,e\n', /row 1: expected 2 fields, as the header has, found 3/))
  test('a lone quote', () => refusedCsv('id,cif\na,b\n"c,d\n', /row 1: expected a quote that ends the field, found the end/))
  test('a lone quote at the end', () => refusedCsv('id,cif\na,"', /row 0: expected a quote that ends the field/))
  test('a quote within a field', () => refusedCsv('id,cif\na,b"c\n', /row 0: expected quotes around a whole field/))
  test('text after a quoted field', () => refusedCsv('id,cif\na,"b"c\n', /row 0: expected a comma or the end of the line/))
  test('a property that is none', async () => {
    for (const value of ['', 'nan', 'inf', '1e39', 'x', '1,5', '0x10', '--1', '1e']) {
      await refusedCsv(`id,cif,energy\na,"${cif()}","${value}"\n`, /row 0 \("a"\): column "energy": expected a number that float32 can hold/, { idColumn: 'id', properties: ['energy'] })
    }
  })
  test('zeros', () => refusedCsv(Buffer.alloc(1_000_000), /there is no|has no column|header/).catch((error: unknown) => { expect(error).toBeInstanceOf(TypeError) }))
  test('ten million commas', () => refusedCsv(`id,cif\n${','.repeat(10_000_000)}`, /row 0: expected at most 10000 columns/))
  test('two million quotes', () => refusedCsv(`id,cif\na,"${'""'.repeat(1_000_000)}"\n`, /row 0 \("a"\)/))
  for (const quote of ['', '"']) {
    test(`a ${quote === '' ? 'plain' : 'quoted'} field of a gigabyte`, () => {
      const path = file('large.csv', Buffer.from(`id,cif\na,${quote}b`))
      const handle = openSync(path, 'r+')
      ftruncateSync(handle, 2 ** 30)
      closeSync(handle)
      return expectRefused(path, /row 0: expected at most \d+ bytes/, { idColumn: 'id' })
    })
  }
})
