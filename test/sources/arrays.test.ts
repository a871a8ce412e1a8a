import { describe, expect, test } from 'vitest'
import fc from 'fast-check'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { DTYPES, type DType } from '../../src/core/dtype.js'
import { FileError, FormatError, UnsupportedError } from '../../src/core/errors.js'
import { bytesOf } from '../../src/core/tensor.js'
import { closeArrays, inspectArrays, openArrays } from '../../src/sources/arrays.js'
import { CODES, file, npyBytes, npyHeader, pattern, safetensorsBytes, SAFETENSORS_NAMES, zipBytes, type Plain } from './write.js'

const root = fileURLToPath(new URL('../..', import.meta.url))
const shared = join(process.env.TENSORCACHE_SHARED ?? join(root, '..', 'shared'), 'data', 'npy')
const fixtures = join(root, 'test', 'fixtures', 'sources')
const numpyDtypes = Object.keys(CODES) as DType[]

interface Listed { file: string; dtype: string; shape: number[]; sha256: string }
interface Manifest { files: Listed[]; npz: { file: string; arrays: Record<string, Omit<Listed, 'file'>> }[]; reject: { file: string; why: string }[] }

/** Reads every array of a folder with a manifest.json of SHA-256 over C-order, little-endian bytes. */
function manifestSuite(title: string, folder: string): void {
  describe.skipIf(!existsSync(join(folder, 'manifest.json')))(title, () => {
    const manifest = existsSync(join(folder, 'manifest.json')) ? JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as Manifest : { files: [], npz: [], reject: [] }

    test(`${manifest.files.length} .npy files`, async () => {
      for (const listed of manifest.files) {
        const arrays = await openArrays(join(folder, listed.file))
        expect(Object.keys(arrays)).toEqual(['data'])
        await expectArray(arrays.data!, listed, listed.file)
        closeArrays(arrays)
      }
    })

    test(`${manifest.npz.length} .npz files`, async () => {
      for (const { file, arrays: listed } of manifest.npz) {
        const arrays = await openArrays(join(folder, file))
        expect(Object.keys(arrays).sort()).toEqual(Object.keys(listed).sort())
        for (const [name, array] of Object.entries(listed)) await expectArray(arrays[name]!, array, `${file} ${name}`)
        closeArrays(arrays)
      }
    })

    test(`${manifest.reject.length} files that are not numeric tensors or are broken`, async () => {
      for (const { file, why } of manifest.reject) {
        const use = openArrays(join(folder, file)).then((arrays) => Promise.all(Object.values(arrays).map((array) => array.read())))
        const error = await use.then(() => undefined, (error: unknown) => error)
        expect(error instanceof FormatError || error instanceof UnsupportedError, `${file} (${why}): ${String(error)}`).toBe(true)
        expect((error as FormatError).file).toBe(join(folder, file))
      }
    })
  })
}

async function expectArray(array: { dtype: string; shape: readonly number[]; read: (range?: { start: number; stop: number }) => Promise<Plain> }, listed: Omit<Listed, 'file'>, where: string): Promise<void> {
  expect(array.shape, where).toEqual(listed.shape)
  const tensor = await array.read()
  expect(tensor.dtype, where).toBe(array.dtype)
  expect(createHash('sha256').update(bytesOf(tensor.data)).digest('hex'), where).toBe(listed.sha256)
  if (listed.shape.length === 0) return
  // The same, row by row.
  const hash = createHash('sha256')
  const step = Math.max(1, Math.ceil(listed.shape[0]! / 3))
  for (let start = 0; start < listed.shape[0]!; start += step) hash.update(bytesOf((await array.read({ start, stop: Math.min(start + step, listed.shape[0]!) })).data))
  expect(hash.digest('hex'), `${where} by rows`).toBe(listed.sha256)
}

manifestSuite('arrays written by NumPy (shared)', shared)
manifestSuite('arrays written by NumPy (own)', fixtures)

test('the shared manifest is complete where the folder is', () => {
  if (existsSync(shared)) expect(readdirSync(shared)).toContain('manifest.json')
})

const shapes = fc.array(fc.integer({ min: 0, max: 7 }), { maxLength: 5 })
const forms = fc.record({ fortran: fc.boolean(), big: fc.boolean(), version: fc.constantFrom(1 as const, 2 as const, 3 as const) })

describe('what a writer writes is read back', () => {
  test('.npy of any dtype, shape, order and version, any range', async () => {
    await fc.assert(fc.asyncProperty(fc.constantFrom(...numpyDtypes), shapes, forms, fc.nat(), fc.nat(), async (dtype, shape, form, a, b) => {
      const tensor = pattern(dtype, shape, a + 1)
      await expectPlain(file('x.npy', npyBytes(tensor, form)), { data: tensor }, a, b)
    }), { numRuns: 300, seed: 1 })
  })

  test('.npz of any members, stored, deflated, streamed, zip64', async () => {
    const member = fc.record({ dtype: fc.constantFrom(...numpyDtypes), shape: shapes, form: forms, deflate: fc.boolean(), streamed: fc.constantFrom(false, true, 'unsigned' as const, 'zip64' as const), zip64: fc.boolean(), pad: fc.nat(9) })
    await fc.assert(fc.asyncProperty(fc.array(member, { maxLength: 5 }), fc.boolean(), fc.nat(), fc.nat(), fc.constantFrom('', 'a comment', 'PK\u0005\u0006'), async (members, zip64, a, b, comment) => {
      const tensors = Object.fromEntries(members.map((m, k) => [`a${k}${'_'.repeat(m.pad)}`, pattern(m.dtype, m.shape, k + 1)]))
      const bytes = zipBytes(members.map((m, k) => ({ name: `a${k}${'_'.repeat(m.pad)}.npy`, bytes: npyBytes(pattern(m.dtype, m.shape, k + 1), m.form), deflate: m.deflate, streamed: m.streamed, zip64: m.zip64 })), { zip64, comment })
      await expectPlain(file('x.npz', bytes), tensors, a, b)
    }), { numRuns: 300, seed: 2 })
  })

  test('.safetensors of any tensors', async () => {
    const dtypes = Object.keys(SAFETENSORS_NAMES) as DType[]
    await fc.assert(fc.asyncProperty(fc.array(fc.tuple(fc.constantFrom(...dtypes), shapes), { maxLength: 5 }), fc.constantFrom(1, 8, 4096), fc.nat(), fc.nat(), async (list, padTo, a, b) => {
      const tensors = Object.fromEntries(list.map(([dtype, shape], k) => [`t ${k} "\\é`, pattern(dtype, shape, k + 1)]))
      await expectPlain(file('x.safetensors', safetensorsBytes(tensors, { note: 'x' }, padTo)), tensors, a, b)
    }), { numRuns: 200, seed: 3 })
  })
})

async function expectPlain(path: string, tensors: Readonly<Record<string, Plain>>, a: number, b: number): Promise<void> {
  const arrays = await openArrays(path)
  expect(Object.keys(arrays).sort()).toEqual(Object.keys(tensors).sort())
  for (const [name, { dtype, shape, data }] of Object.entries(tensors)) {
    const array = arrays[name]!
    expect({ dtype: array.dtype, shape: array.shape }).toEqual({ dtype, shape })
    const whole = await array.read()
    expect(whole.data).toBeInstanceOf(DTYPES[dtype].array)
    expect(Buffer.compare(bytesOf(whole.data), bytesOf(data))).toBe(0)
    if (shape.length === 0) continue
    const start = a % (shape[0]! + 1)
    const stop = start + b % (shape[0]! - start + 1)
    const rows = await array.read({ start, stop })
    const rowBytes = shape[0] === 0 ? 0 : data.byteLength / shape[0]!
    expect(rows.shape).toEqual([stop - start, ...shape.slice(1)])
    expect(Buffer.compare(bytesOf(rows.data), bytesOf(data).subarray(start * rowBytes, stop * rowBytes))).toBe(0)
  }
  closeArrays(arrays)
}

describe('openArrays', () => {
  const tensor = pattern('float32', [6, 5])

  test('gives views of mapped memory where the stored bytes are what was asked for', async () => {
    const { data } = await openArrays(file('x.npy', npyBytes(tensor)))
    const a = await data!.read({ start: 1, stop: 3 })
    const b = await data!.read({ start: 1, stop: 3 })
    expect(a.data.buffer).toBe(b.data.buffer)
    expect((await data!.read({ start: 1, stop: 3 }, { copy: true })).data.buffer).not.toBe(b.data.buffer)
    const swapped = (await openArrays(file('x.npy', npyBytes(tensor, { big: true })))).data!
    expect((await swapped.read()).data.buffer).not.toBe((await swapped.read()).data.buffer)
  })

  test('a stray write to a view reaches neither the file nor a copy made before', async () => {
    const path = file('x.npy', npyBytes(tensor))
    const { data } = await openArrays(path)
    const before = readFileSync(path)
    const copy = await data!.read(undefined, { copy: true })
    ;(await data!.read()).data.fill(0 as never)
    expect(readFileSync(path).equals(before)).toBe(true)
    expect(Buffer.compare(bytesOf(copy.data), bytesOf(tensor.data))).toBe(0)
  })

  test('refuses ranges that are none, before reading', async () => {
    const { data } = await openArrays(file('x.npy', npyBytes(tensor)))
    for (const [start, stop] of [[-1, 2], [0, 7], [3, 2], [0.5, 1], [0, NaN]]) await expect(data!.read({ start: start!, stop: stop! })).rejects.toThrow(TypeError)
    const scalar = (await openArrays(file('x.npy', npyBytes(pattern('int16', []))))).data!
    await expect(scalar.read({ start: 0, stop: 1 })).rejects.toThrow(TypeError)
    expect((await scalar.read()).shape).toEqual([])
  })

  test('arrays that are not numbers are listed, and refused when used', async () => {
    const object = Buffer.concat([npyHeader('{\'descr\': \'|O\', \'fortran_order\': False, \'shape\': (2,), }'), Buffer.from('\x80\x04pickle')])
    const path = file('x.npz', zipBytes([{ name: 'x.npy', bytes: npyBytes(tensor) }, { name: 'o.npy', bytes: object }, { name: 'notes.txt', bytes: Buffer.from('hi') }]))
    const arrays = await openArrays(path)
    expect(Object.keys(arrays)).toEqual(['x', 'o', 'notes.txt'])
    expect((await arrays.x!.read()).data).toEqual(tensor.data)
    for (const name of ['o', 'notes.txt']) {
      expect(() => arrays[name]!.dtype).toThrow(UnsupportedError)
      expect(() => arrays[name]!.cast('float32')).toThrow(UnsupportedError)
      await expect(arrays[name]!.read()).rejects.toMatchObject({ code: 'E_UNSUPPORTED', file: path })
    }
  })

  test('closing lets go of the file and keeps views', async () => {
    const arrays = await openArrays(file('x.npy', npyBytes(tensor)))
    const { data } = await arrays.data!.read()
    closeArrays(arrays)
    expect(data).toEqual(tensor.data)
    await expect(arrays.data!.read()).rejects.toThrow(FileError)
  })

  test('names what is wrong with a path', async () => {
    await expect(openArrays(join(fixtures, 'no-such.npz'))).rejects.toMatchObject({ code: 'E_FILE', message: expect.stringContaining('no such file') })
    await expect(openArrays(dirname(fixtures))).rejects.toMatchObject({ code: 'E_FILE', message: expect.stringContaining('folder') })
    await expect(openArrays(file('x.npy', Buffer.alloc(0)))).rejects.toThrow(FormatError)
    await expect(openArrays(file('x.bin', Buffer.from('neither of the three')))).rejects.toThrow(FormatError)
    await expect(openArrays(undefined as never)).rejects.toThrow(TypeError)
  })

  test('an aborted read rejects with the reason', async () => {
    const arrays = await openArrays(file('x.npz', zipBytes([{ name: 'x.npy', bytes: npyBytes(tensor), deflate: true }])))
    const reason = new Error('enough')
    await expect(arrays.x!.read(undefined, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
    await expect(arrays.x!.cast('float64').read(undefined, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })

  test('slices of arrays, and of what they are cast to, are their rows', async () => {
    const plain = pattern('int16', [20, 3, 2])
    const arrays = await openArrays(file('s.npz', zipBytes([{ name: 'x.npy', bytes: npyBytes(plain) }, { name: 'f.npy', bytes: npyBytes(plain, { fortran: true }), deflate: true }])))
    const all = Array.from((await arrays.x!.read()).data as Int16Array)
    for (const array of [arrays.x!, arrays.f!]) {
      const rows = all.slice(5 * 6, 12 * 6)
      const part = array.slice({ start: 5, stop: 12 })
      expect([part.dtype, part.shape]).toEqual(['int16', [7, 3, 2]])
      expect(Array.from((await part.read()).data as Int16Array)).toEqual(rows)
      expect(Array.from((await part.read({ start: 2, stop: 4 })).data as Int16Array)).toEqual(rows.slice(12, 24))
      for (const cast of [part.cast('float64'), array.cast('float64').slice({ start: 5, stop: 12 })]) {
        expect([cast.dtype, cast.shape]).toEqual(['float64', [7, 3, 2]])
        expect(Array.from((await cast.read({ start: 6, stop: 7 })).data as Float64Array)).toEqual(rows.slice(36))
        expect((await cast.slice({ start: 3, stop: 3 }).read()).shape).toEqual([0, 3, 2])
      }
      expect(Array.from((await part.slice({ start: 1, stop: 3 }).read()).data as Int16Array)).toEqual(rows.slice(6, 18))
      expect(() => part.slice({ start: 3, stop: 8 })).toThrow(/0 <= start <= stop <= 7/)
    }
    expect(() => arrays.x!.slice({ start: -1, stop: 2 })).toThrow(TypeError)
    await closeArrays(arrays)
  })

  test('inspectArrays describes without reading data', async () => {
    const info = await inspectArrays(file('x.npz', zipBytes([{ name: 'x.npy', bytes: npyBytes(tensor, { fortran: true, big: true }), deflate: true }])))
    expect(info.format).toBe('npz')
    expect(info.arrays).toMatchObject([{ name: 'x', dtype: 'float32', type: '>f4', shape: [6, 5], order: 'Fortran', byteOrder: 'big', compressed: true, mappable: false }])
  })
})
