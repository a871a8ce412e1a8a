import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { sizeOf, type DType } from '../../src/core/dtype.js'
import { FileError, FormatError, UnsupportedError } from '../../src/core/errors.js'
import { rowOf } from '../../src/core/rows.js'
import { bytesOf, type Tensor } from '../../src/core/tensor.js'
import { nifti, type NiftiOptions } from '../../src/sources/nifti.js'
import type { Source } from '../../src/sources/source.js'
import { collect, sourceContract, type ContractItem } from '../contracts/source.js'
import { tempDir } from '../support/temp.js'
import { membersOf, niftiBytes, niftiGz, niftiParts } from './nifti-write.js'
import { file, pattern, type Plain } from './write.js'

const FIXTURES = resolve(import.meta.dirname, '../fixtures/nifti')
interface Golden { shape: number[]; dtype: DType; stored: string; fdata?: string; affine: number[]; slope?: number; inter?: number }
const goldens = (JSON.parse(readFileSync(join(FIXTURES, 'goldens.json'), 'utf8')) as { images: Record<string, Golden> }).images

async function only(source: Source): Promise<Record<string, Tensor>> {
  const runs = await collect(source.read(0, source.length, { fields: Object.keys(source.fields) }))
  expect(runs.length).toBe(1)
  return Object.fromEntries(Object.entries(runs[0]!.fields).map(([name, rows]) => [name, rowOf(rows, 0)]))
}
const read = async (path: string, options?: NiftiOptions): Promise<Record<string, Tensor>> => only(await nifti(path, options))
const sha = (tensor: Tensor): string => createHash('sha256').update(bytesOf(tensor.data)).digest('hex')

describe('what nibabel makes of the fixtures', () => {
  test('every image has its golden values', () => {
    expect(readdirSync(FIXTURES).filter((name) => /\.(nii|hdr)(\.gz)?$/.test(name)).sort()).toEqual(Object.keys(goldens).sort())
  })

  test.each(Object.keys(goldens))('%s', async (name) => {
    const golden = goldens[name]!
    const path = join(FIXTURES, name)
    const stored = await read(path, { scaled: false })
    expect(stored.image).toMatchObject({ dtype: golden.dtype, shape: golden.shape })
    expect(sha(stored.image!)).toBe(golden.stored)
    if (golden.fdata !== undefined) {
      const scaled = await read(path, { dtype: 'float64' })
      expect(scaled.image).toMatchObject({ dtype: 'float64', shape: golden.shape })
      expect(sha(scaled.image!)).toBe(golden.fdata)
      const single = await read(path, { dtype: 'float32' })
      expect(single.image!.dtype).toBe('float32')
      // Rounded once: from the exact number where there is no scaling, which a double may not be.
      const exact = golden.slope === 1 && golden.inter === 0 ? stored.image!.data : scaled.image!.data
      expect(single.image!.data).toEqual(Float32Array.from(exact as Float64Array, Number))
      const isScaled = golden.slope !== 1 || golden.inter !== 0
      expect((await read(path)).image!.dtype).toBe(isScaled && golden.dtype !== 'float64' ? 'float32' : golden.dtype)
    }
    // A quaternion's affine is computed there with 80 bits.
    const exact = !/^(q|sform_of_no)/.test(name)
    stored.affine!.data.forEach((value, k) => {
      if (exact) expect(value).toBe(golden.affine[k])
      else expect(value as number).toBeCloseTo(golden.affine[k]!, 12)
    })
  })
})

const shared = join(process.env.TENSORCACHE_SHARED ?? resolve(import.meta.dirname, '../../../shared'), 'data/nifti')
describe('images of nibabel (shared)', () => {
  interface Reference { shape: number[]; affine: number[][]; fdata: { sha256_c_le: string } }
  // JSON has no NaN; Python writes it.
  const reference = existsSync(shared) ? (JSON.parse(readFileSync(join(shared, 'reference.json'), 'utf8').replaceAll('NaN', 'null')) as { images: Record<string, Reference> }).images : {}
  const names = Object.keys(reference).filter((name) => existsSync(join(shared, name)))

  test.skipIf(!existsSync(shared))('the folder holds some', () => expect(names.length).toBeGreaterThanOrEqual(4))

  test.skipIf(names.length === 0)('get_fdata and affine, bit for bit', async () => {
    for (const name of names) {
      const { image, affine } = await read(join(shared, name), { dtype: 'float64' })
      expect(image!.shape).toEqual(reference[name]!.shape)
      expect(sha(image!), name).toBe(reference[name]!.fdata.sha256_c_le)
      expect([...affine!.data], name).toEqual(reference[name]!.affine.flat())
    }
  })
})

// --- contract -------------------------------------------------------------------------------------------------------------------

const SHAPES = [[5, 4, 3], [5, 4, 3], [6, 2, 3], [1, 1, 1], [33, 35, 3]]
const images = SHAPES.map((shape, k) => pattern('int16', shape, k + 1))
const SFORM = [2, 0, 0, -10, 0, 3, 0, -20, 0, 0, 4, -30]
const affineTensor = (rows: readonly number[] = SFORM): Tensor => ({ dtype: 'float64', shape: [4, 4], data: Float64Array.of(...rows, 0, 0, 0, 1) })
const itemOf = (id: string, image: Plain, more: Record<string, Tensor> = {}): ContractItem => ({ id, fields: { image: image as Tensor, affine: affineTensor(), ...more } })
const idOf = (path: string): string => /([^/]+)\.(nii|hdr)(\.gz)?(\.copy.*)?$/.exec(path)![1]!

for (const [name, suffix, bytes] of [['.nii', '.nii', niftiBytes], ['.nii, big-endian', '.nii', (image: Plain) => niftiBytes(image, { sform: SFORM, big: true })], ['NIfTI-2', '.nii', (image: Plain) => niftiBytes(image, { sform: SFORM, version: 2 })], ['.nii.gz', '.nii.gz', niftiGz], ['.nii.gz of many members', '.nii.gz', (image: Plain) => membersOf(niftiBytes(image, { sform: SFORM }), 500)]] as const) {
  sourceContract(`nifti, ${name}`, async () => {
    const paths = images.map((image, k) => file(`v${k}${suffix}`, bytes(image, { sform: SFORM })))
    return { open: () => nifti(paths), items: images.map((image, k) => itemOf(idOf(paths[k]!), image)), openCopies: (copy) => nifti(paths.map(copy)) }
  })
}

function writePair(dir: string, name: string, image: Plain): string {
  const { header, data } = niftiParts(image, { sform: SFORM, pair: true })
  writeFileSync(join(dir, `${name}.hdr`), header)
  writeFileSync(join(dir, `${name}.img`), data)
  return join(dir, `${name}.hdr`)
}

sourceContract('nifti, pairs', async () => {
  const dir = tempDir()
  images.forEach((image, k) => writePair(dir, `p${k}`, image))
  return { open: () => nifti(dir), items: images.map((image, k) => itemOf(`p${k}`, image)) }
})

sourceContract('nifti, a .csv of images, labels and properties', async () => {
  const dir = tempDir()
  mkdirSync(join(dir, 'volumes'))
  const labels = SHAPES.map((shape, k) => pattern('uint8', shape, k + 50))
  const label = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]
  images.forEach((image, k) => {
    writeFileSync(join(dir, `volumes/i${k}.nii.gz`), niftiGz(image, { sform: SFORM }))
    writeFileSync(join(dir, `volumes/m${k}.nii`), niftiBytes(labels[k]!, { sform: label }))
  })
  const csv = join(dir, 'list.csv')
  writeFileSync(csv, `ScanID,Scan,Mask,Age at scan\n${images.map((_, k) => `s-${k},i${k}.nii.gz,m${k}.nii,${30.25 + k}\n`).join('')}`)
  const options: NiftiOptions = { root: join(dir, 'volumes'), fields: { image: 'Scan', label: 'Mask' }, idColumn: 'ScanID', properties: { age: 'Age at scan' } }
  const items = images.map((image, k) => itemOf(`s-${k}`, image, { label: labels[k]! as Tensor, label_affine: affineTensor(label), age: { dtype: 'float64', shape: [], data: Float64Array.of(30.25 + k) } }))
  return { open: () => nifti(csv, options), items, openCopies: (copy) => nifti(copy(csv), options) }
})

sourceContract('nifti, a .csv without rows', async () => ({ open: () => nifti(file('none.csv', Buffer.from('image\n'))), items: [] }))

// --- what it does ---------------------------------------------------------------------------------------------------------------

/** Files below a new folder. */
function tree(files: Readonly<Record<string, Uint8Array>>): string {
  const dir = tempDir()
  for (const [name, bytes] of Object.entries(files)) {
    mkdirSync(dirname(join(dir, name)), { recursive: true })
    writeFileSync(join(dir, name), bytes)
  }
  return dir
}
const ids = (source: Source): string[] => Array.from({ length: source.length }, (_, k) => source.id(k))
const small = niftiBytes(pattern('int16', [2, 2, 2]))

describe('finding items', () => {
  test('a folder with its subfolders, without other files', async () => {
    const dir = tree({ 'b/2.nii.gz': niftiGz(pattern('int16', [2, 2, 2])), 'b/1.nii': small, 'a.nii': small, 'notes.txt': Buffer.from('x'), '.hidden.nii': small, 'b/.git/x.nii': small })
    expect(ids(await nifti(dir))).toEqual(['a', 'b/1', 'b/2'])
  })

  test('patterns', async () => {
    const dir = tree({ 'x/scan_1.nii': small, 'x/scan_10.nii': small, 'y/z/scan_2.nii': small, 'y/z/other.nii': small, 'scan_3.nii': small, 'a+(b).nii': small })
    expect(ids(await nifti(join(dir, '**/scan_*.nii')))).toEqual(['scan_3', 'x/scan_1', 'x/scan_10', 'y/z/scan_2'])
    expect(ids(await nifti(join(dir, '*/scan_?.nii')))).toEqual(['x/scan_1'])
    expect(ids(await nifti([join(dir, 'x/*.nii'), join(dir, 'y/**')]))).toEqual(['scan_1', 'scan_10', 'z/other', 'z/scan_2'])
    expect(ids(await nifti(join(dir, 'a+(*).nii')))).toEqual(['a+(b)'])
    await expect(nifti(join(dir, 'nothing*.nii'))).rejects.toThrow(FileError)
    await expect(nifti(join(dir, 'gone.nii'))).rejects.toThrow(/no such file/)
  })

  test('ids of files are relative to the folder they share', async () => {
    const dir = tree({ 'p1/t1.nii': small, 'p2/t1.nii': small })
    expect(ids(await nifti([join(dir, 'p1/t1.nii'), join(dir, 'p2/t1.nii')]))).toEqual(['p1/t1', 'p2/t1'])
    expect(ids(await nifti(join(dir, 'p1/t1.nii')))).toEqual(['t1'])
    const twice = tree({ 'a.nii': small, 'a.nii.gz': niftiGz(pattern('int16', [2, 2, 2])) })
    await expect(nifti(twice)).rejects.toThrow(/is "a", as .*a\.nii is/)
  })

  test('images and labels by what the wildcards stand for', async () => {
    const dir = tree({ 'imagesTr/c1_0000.nii': small, 'imagesTr/c2_0000.nii': small, 'labelsTr/c1.nii': small, 'labelsTr/c2.nii': small, 'p/a/a_t1.nii': small, 'p/a/a_seg.nii': small })
    const source = await nifti(dir, { fields: { image: 'imagesTr/*_0000.nii', label: 'labelsTr/*.nii' } })
    expect(ids(source)).toEqual(['c1', 'c2'])
    expect(Object.keys(source.fields)).toEqual(['image', 'affine', 'label', 'label_affine'])
    expect(ids(await nifti(join(dir, 'p'), { fields: { t1: '*/*_t1.nii', seg: '*/*_seg.nii' } }))).toEqual(['a/a'])
    const folders = tree({ 'im/x.nii': small, 'lb/x.nii.gz': niftiGz(pattern('int16', [2, 2, 2])) })
    expect(ids(await nifti(folders, { fields: { image: 'im', label: 'lb' } }))).toEqual(['x'])
  })

  test('a missing partner is named', async () => {
    const dir = tree({ 'im/a.nii': small, 'im/b.nii': small, 'lb/a.nii': small, 'lb/c.nii': small })
    const error = await nifti(dir, { fields: { image: 'im/*.nii', label: 'lb/*.nii' } }).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(FileError)
    expect((error as FileError).file).toBe(join(dir, 'im/b.nii'))
    expect((error as Error).message).toMatch(/no file of label \(lb\/\*\.nii\) is called "b"/)
    await expect(nifti(writePair(dir, 'q', pattern('int16', [2, 2, 2])).replace('q.hdr', 'none.hdr'))).rejects.toThrow(FileError)
    writeFileSync(join(dir, 'alone.hdr'), niftiParts(pattern('int16', [2, 2, 2]), { pair: true }).header)
    await expect(nifti(join(dir, 'alone.hdr'))).rejects.toThrow(/its \.img is missing/)
  })

  test('rows of a .csv: faults name row and column', async () => {
    const dir = tree({ 'a.nii': small, 'b.nii': small })
    const csv = (text: string): string => { writeFileSync(join(dir, 'list.csv'), text); return join(dir, 'list.csv') }
    expect(ids(await nifti(csv('VolumeName\na.nii\nb.nii\n'), { column: 'VolumeName' }))).toEqual(['a', 'b'])
    await expect(nifti(csv('VolumeName\na.nii\n'), { column: 'Volumename' })).rejects.toThrow('nifti: column: ')
    await expect(nifti(csv('image,age\na.nii,x\n'), { properties: ['age'] })).rejects.toThrow(/row 0, column "age": expected a number, found "x"/)
    await expect(nifti(csv('image,age\n,1\n'))).rejects.toThrow(/row 0, column "image": expected the path of an image, found nothing/)
    await expect(nifti(csv('image,id\na.nii,x\nb.nii,x\n'), { idColumn: 'id' })).rejects.toThrow(/is "x", as/)
    await expect(nifti(csv('image\ngone.nii\n'))).rejects.toThrow(/gone\.nii: there is no such file/)
  })

  test('what does not fit is misuse', async () => {
    const dir = tree({ 'a.nii': small, 'list.csv': Buffer.from('image\n') })
    const misuse: [string | string[], object, RegExp][] = [
      [[], {}, /no path/], [dir, { colum: 'x' }, /should be "column"/], [join(dir, 'a.nii'), { column: 'x' }, /column is for \.csv files/], [[join(dir, 'a.nii'), join(dir, 'list.csv')], {}, /cannot be items of one source/],
      [dir, { fields: { image: 'x', affine: 'y' } }, /name of an affine/], [dir, { fields: {} }, /fields must be/], [join(dir, 'list.csv'), { fields: { image: 'x' }, column: 'y' }, /one of them is enough/],
      [dir, { dtype: 'int16' }, /dtype must be one of float32, float64/], [dir, { dtype: { label: 'float32' } }, /unknown option "label"/], [dir, { scaled: 1 }, /scaled must be true or false/], [dir, { time: 'first' }, /time must be/],
      [[dir, dir], { fields: { image: '*' } }, /one folder/], [join(dir, 'list.csv'), { properties: ['affine'] }, /there is a field "affine" already/], [dir, { fields: { Image: 'x' } }, /snake_case/],
    ]
    for (const [path, options, message] of misuse) {
      const error = await nifti(path, options as NiftiOptions).catch((reason: unknown) => reason)
      expect(error, JSON.stringify(options)).toBeInstanceOf(TypeError)
      expect((error as Error).message).toMatch(message)
    }
  })
})

describe('dtype and axes', () => {
  test('images of one field agree, or it is said how they may', async () => {
    const dir = tree({ 'a.nii': small, 'b.nii': niftiBytes(pattern('uint8', [2, 2, 2])) })
    await expect(nifti(dir)).rejects.toThrow(/b\.nii: field image: expected int16 of 3 axes, as .*a\.nii has, found uint8 of 3 axes \(`dtype: 'float32'` makes them one\)/)
    expect((await nifti(dir, { dtype: 'float32' })).fields.image).toEqual({ dtype: 'float32', shape: [2, 2, 2] })
    const axes = tree({ 'a.nii': small, 'b.nii': niftiBytes(pattern('int16', [2, 2, 3, 1])) })
    await expect(nifti(axes)).rejects.toThrow(/of 4 axes \(`squeeze`/)
    expect((await nifti(axes, { squeeze: true })).fields.image).toEqual({ dtype: 'int16', shape: [2, 2, null] })
  })

  test('an option by field; one value is the first field\'s', async () => {
    const dir = tree({ 'i.nii': niftiBytes(pattern('int16', [2, 2, 2]), { slope: 2, inter: 1 }), 'l.nii': small })
    const open = async (options: NiftiOptions): Promise<(string | undefined)[]> => { const { fields } = await nifti(dir, { fields: { image: 'i.nii', label: 'l.nii' }, ...options }); return [fields.image?.dtype, fields.label?.dtype] }
    expect(await open({})).toEqual(['float32', 'int16'])
    expect(await open({ scaled: false })).toEqual(['int16', 'int16'])
    expect(await open({ dtype: 'float64' })).toEqual(['float64', 'int16'])
    expect(await open({ dtype: { label: 'float32' } })).toEqual(['float32', 'float32'])
  })

  test('time leads on request', async () => {
    const image = pattern('int16', [3, 4, 5, 2])
    const path = file('t.nii', niftiBytes(image))
    const leading = (await read(path, { time: 'leading' })).image!
    expect(leading.shape).toEqual([2, 3, 4, 5])
    const source = image.data as Int16Array
    const expected = Int16Array.from({ length: source.length }, (_, k) => source[(k % 60) * 2 + Math.floor(k / 60)]!)
    expect(leading.data).toEqual(expected)
    expect((await read(path, { time: 'trailing' })).image!.data).toEqual(source)
    expect((await read(file('s.nii', niftiBytes(pattern('int16', [3, 4, 5]))), { time: 'leading' })).image!.shape).toEqual([3, 4, 5])
  })

  test('units other than mm are converted', async () => {
    const image = pattern('int16', [2, 2, 2])
    const affine = async (units: number): Promise<number[]> => [...(await read(file('u.nii', niftiBytes(image, { sform: SFORM, units })))).affine!.data as Float64Array]
    const mm = [...SFORM, 0, 0, 0, 1]
    expect(await affine(2)).toEqual(mm)
    expect(await affine(0)).toEqual(mm)
    expect(await affine(2 + 8)).toEqual(mm)
    expect(await affine(1)).toEqual([...SFORM.map((value) => value * 1000), 0, 0, 0, 1])
    expect(await affine(3 + 16)).toEqual([...SFORM.map((value) => value / 1000), 0, 0, 0, 1])
  })

  test('complex numbers are read as they are stored, colours are refused', async () => {
    const path = file('c.nii', niftiBytes(pattern('complex64', [2, 2, 2]), { slope: 2 }))
    await expect(nifti(path)).rejects.toThrow(/scaled: false gives the stored numbers/)
    expect((await read(path, { scaled: false })).image!.dtype).toBe('complex64')
    await expect(nifti(path, { scaled: false, dtype: 'float32' })).rejects.toThrow(UnsupportedError)
    for (const [datatype, bitpix, reason] of [[128, 24, /colours \(rgb24\)/], [2304, 32, /colours \(rgba32\)/], [1536, 128, /float128/], [2048, 256, /complex256/], [1, 1, /single bits/]] as const) {
      const error = await nifti(file('x.nii', niftiBytes(pattern('uint8', [2, 2, 2]), { lies: { datatype, bitpix } }))).catch((reason: unknown) => reason)
      expect(error).toBeInstanceOf(UnsupportedError)
      expect((error as Error).message).toMatch(reason)
    }
  })
})

describe('pieces', () => {
  // 2.6 pieces of 32 MiB, cut within the third axis and, of the second, within the second.
  test.each([[[257, 131, 1300], 'uint16'], [[2 ** 24 + 5, 3], 'int16'], [[300, 200, 700, 2], 'uint8']] as const)('a volume %j of %s of several pieces is what it is', async (shape, dtype) => {
    const count = shape.reduce((product, extent) => product * extent, 1)
    const bytes = Buffer.alloc(count * sizeOf(dtype))
    for (let k = 0; k < bytes.length; k += 4096) bytes.writeUInt8(k / 4096 % 251, k + (k / 4096) % Math.min(4096, bytes.length - k))
    const { header } = niftiParts({ dtype, shape: [...shape], data: new Uint8Array(0) }, { version: 2 })
    const plain = Buffer.concat([header, bytes])
    for (const path of [file('large.nii', plain), file('large.nii.gz', membersOf(plain, 40 * 2 ** 20 + 1))]) {
      const { data } = (await read(path)).image!
      const stored = { uint8: Uint8Array, uint16: Uint16Array, int16: Int16Array }[dtype]
      const fortran = new stored(bytes.buffer, bytes.byteOffset, count)
      const strides: number[] = []
      shape.reduceRight((stride, extent, axis) => { strides[axis] = stride; return stride * extent }, 1)
      let wrong = 0
      let nonzero = 0
      const index = shape.map(() => 0)
      for (let k = 0, at = 0; k < count; k++) {
        if (data[at] !== fortran[k]) wrong++
        if (fortran[k] !== 0) nonzero++
        for (let axis = 0; axis < shape.length; axis++) {
          at += strides[axis]!
          if (++index[axis]! < shape[axis]!) break
          at -= strides[axis]! * shape[axis]!
          index[axis] = 0
        }
      }
      expect(wrong).toBe(0)
      expect(nonzero).toBeGreaterThan(1000)
    }
  }, 120_000)

  test('a signal ends reading', async () => {
    const shape = [512, 512, 400]
    const { header } = niftiParts({ dtype: 'uint8', shape, data: new Uint8Array(0) }, {})
    const source = await nifti(file('large.nii', Buffer.concat([header, Buffer.alloc(512 * 512 * 400)])))
    const controller = new AbortController()
    const reason = new Error('enough')
    const reading = collect(source.read(0, 1, { fields: ['image'], signal: controller.signal }))
    await new Promise((settle) => { setImmediate(settle) })
    controller.abort(reason)
    // Not the volume itself, which would be printed.
    expect(await reading.then(() => 'was read', (error: unknown) => error)).toBe(reason)
  })
})

describe('witnesses', () => {
  const witness = async (source: Source, fields = Object.keys(source.fields)): Promise<string[]> => {
    const all = Buffer.from(await source.witnesses!(0, source.length, { fields }))
    return Array.from({ length: source.length }, (_, k) => all.subarray(32 * k, 32 * k + 32).toString('hex'))
  }

  test('follow content and reading, not names', async () => {
    const image = pattern('int16', [2, 2, 2])
    const dir = tree({ 'a.nii': niftiBytes(image, { slope: 2 }), 'b.nii': niftiBytes(image, { slope: 2 }), 'c.nii': niftiBytes(image, { slope: 3 }) })
    const [a, b, c] = await witness(await nifti(dir))
    expect(a).toBe(b)
    expect(a).not.toBe(c)
    for (const options of [{ scaled: false }, { dtype: 'float64' }, { time: 'leading' }, { squeeze: true }] as const) expect((await witness(await nifti(dir, options)))[0]).not.toBe(a)
    expect((await witness(await nifti(dir), ['image']))[0]).not.toBe(a)
  })

  test('a digest that is recalled needs no reading', async () => {
    const path = file('w.nii', small)
    const source = await nifti(path)
    const digest = createHash('sha256').update(small).digest('hex')
    source.files[0]!.recall!(digest)
    expect(await source.files[0]!.digest()).toBe(digest)
    const other = await nifti(path)
    other.files[0]!.recall!('00'.repeat(32))
    expect(await witness(other)).not.toEqual(await witness(source))
    expect(await witness(source)).toEqual(await witness(await nifti(path)))
  })
})

test('an image of one item is not read when only its affine is asked for', async () => {
  const bytes = niftiGz(pattern('int16', [20, 20, 20]), { sform: SFORM })
  bytes[bytes.length - 5]! ^= 1
  const source = await nifti(file('damaged.nii.gz', bytes))
  const [run] = await collect(source.read(0, 1, { fields: ['affine'] }))
  expect(rowOf(run!.fields.affine!, 0)).toEqual(affineTensor())
  await expect(collect(source.read(0, 1, { fields: ['image'] }))).rejects.toThrow(FormatError)
})

test('a reader that stops early leaves nothing behind', async () => {
  const dir = tree(Object.fromEntries(images.map((image, k) => [`v${k}.nii.gz`, niftiGz(image)])))
  const source = await nifti(dir)
  for (let round = 0; round < 3; round++) {
    const seen: number[] = []
    for await (const run of source.read(0, source.length, { fields: ['image'] })) {
      seen.push(run.start)
      expect(bytesOf(rowOf(run.fields.image!, 0).data)).toEqual(bytesOf(images[run.start]!.data))
      if (seen.length === round + 1) break
    }
    expect(seen).toEqual(Array.from({ length: round + 1 }, (_, k) => k))
  }
  // A damaged volume that was read ahead is the error of its own turn, and of no other.
  const bytes = niftiGz(images[1]!)
  bytes[bytes.length - 6]! ^= 1
  writeFileSync(join(dir, 'v1.nii.gz'), bytes)
  const damaged = await nifti(dir)
  const runs = damaged.read(0, damaged.length, { fields: ['image'] })[Symbol.asyncIterator]()
  expect((await runs.next()).value).toMatchObject({ start: 0 })
  await expect(runs.next()).rejects.toThrow(/v1\.nii\.gz: data: expected gzip of \d+ bytes, found a member's CRC-32/)
})
