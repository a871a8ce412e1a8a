import { describe, expect, test } from 'vitest'
import type { DType } from '../../src/core/dtype.js'
import { FileError, FormatError, UnsupportedError } from '../../src/core/errors.js'
import type { Tensor } from '../../src/core/tensor.js'
import { npy } from '../../src/sources/npy.js'
import { npz } from '../../src/sources/npz.js'
import { safetensors } from '../../src/sources/safetensors.js'
import { bytesOf } from '../../src/core/tensor.js'
import { sourceContract, collect, type ContractItem } from '../contracts/source.js'
import { file, npyBytes, npyHeader, pattern, safetensorsBytes, zipBytes, type NpyForm, type Plain } from './write.js'

const x = pattern('float32', [7, 3, 4], 3)
const y = pattern('int64', [7], 4)
const more = { x: pattern('float32', [5, 3, 4], 5), y: pattern('int64', [5], 6) }

/** Items of a source over arrays. */
function itemsOf(stem: string, arrays: Readonly<Record<string, Plain>>): ContractItem[] {
  const length = Object.values(arrays)[0]!.shape[0]!
  return Array.from({ length }, (_, row) => ({ id: `${stem}/${row}`, fields: Object.fromEntries(Object.entries(arrays).map(([name, array]) => [name, rowOf(array, row)])) }))
}

function rowOf({ dtype, shape, data }: Plain, row: number): Tensor {
  const size = data.length / Math.max(1, shape[0]!)
  return { dtype, shape: shape.slice(1), data: data.slice(row * size, (row + 1) * size) } as Tensor
}

const stem = (path: string): string => /([^/]+)\.[a-z]+$/.exec(path)![1]!

for (const [name, form] of Object.entries<NpyForm>({ plain: {}, fortran: { fortran: true }, 'big-endian': { big: true }, 'fortran and big-endian': { fortran: true, big: true } })) {
  sourceContract(`npy, ${name}`, async () => {
    const path = file('rows.npy', npyBytes(x, form))
    return { open: () => npy(path), items: itemsOf(stem(path), { data: x }), openCopies: (copy) => npy(copy(path)) }
  })
}

for (const [name, member] of Object.entries({ stored: {}, deflated: { deflate: true }, streamed: { deflate: true, streamed: true } as const })) {
  sourceContract(`npz, ${name}`, async () => {
    const path = file('rows.npz', zipBytes([{ name: 'x.npy', bytes: npyBytes(x), ...member }, { name: 'y.npy', bytes: npyBytes(y), ...member }]))
    return { open: () => npz(path), items: itemsOf(stem(path), { x, y }), openCopies: (copy) => npz(copy(path)) }
  })
}

sourceContract('npz, two files', async () => {
  const paths = [[x, y], [more.x, more.y]].map(([a, b], k) => file('part.npz', zipBytes([{ name: 'x.npy', bytes: npyBytes(a!), deflate: k === 0 }, { name: 'y.npy', bytes: npyBytes(b!, { big: true }) }])))
  const items = [...itemsOf(stem(paths[0]!), { x, y }), ...itemsOf(stem(paths[1]!), more)]
  return { open: () => npz(paths), items, openCopies: (copy) => npz(paths.map(copy)) }
})

sourceContract('npz without items', async () => {
  const path = file('none.npz', zipBytes([{ name: 'x.npy', bytes: npyBytes(pattern('int8', [0, 3])) }]))
  return { open: () => npz(path), items: [] }
})

for (const padTo of [8, 1]) {
  sourceContract(`safetensors, data at a multiple of ${padTo}`, async () => {
    const path = file('rows.safetensors', safetensorsBytes({ y, x, half: pattern('bfloat16', [7, 5], 9) }, { made: 'here' }, padTo))
    return { open: () => safetensors(path), items: itemsOf(stem(path), { y, x, half: pattern('bfloat16', [7, 5], 9) }), openCopies: (copy) => safetensors(copy(path)) }
  })
}

let widePath: string | undefined
sourceContract('npz of items larger than a run', async () => {
  const wide: Plain = { dtype: 'uint8', shape: [3, 20 * 2 ** 20], data: new Uint8Array(60 * 2 ** 20) }
  for (let at = 0; at < wide.data.length; at += 4099) wide.data[at] = at >> 12
  const path = widePath ??= file('wide.npz', zipBytes([{ name: 'wide.npy', bytes: npyBytes(wide), deflate: true }]))
  return { open: () => npz(path), items: itemsOf(stem(path), { wide }) }
})

describe('options', () => {
  const arrays = { x, y, c: pattern('float64', [2]), s: pattern('int8', []) }
  const path = file('options.npz', zipBytes(Object.entries(arrays).map(([name, array]) => ({ name: `${name}.npy`, bytes: npyBytes(array) }))))

  test('fields, constants and ids', async () => {
    const source = await npz(path, { fields: { image: 'x' }, constants: { probe: 'c', scale: 's' }, ids: 'y' })
    expect(source.fields).toEqual({ image: { dtype: 'float32', shape: [3, 4] } })
    expect((await source.constants.probe!.read()).data).toEqual(arrays.c.data)
    expect((await source.constants.scale!.read()).shape).toEqual([])
    expect(source.id(2)).toBe(String((y.data as BigInt64Array)[2]))
    expect(source.description).toEqual({ type: 'npz', path, fields: { image: 'x' }, constants: { probe: 'c', scale: 's' }, ids: 'y' })
    expect(source.selection).toEqual({ fields: { image: 'x' }, constants: { probe: 'c', scale: 's' }, ids: 'y' })
    source.close()
  })

  test('by default every array is a field, and one that cannot be says what to do', async () => {
    await expect(npz(path)).rejects.toMatchObject({ code: 'E_FORMAT', message: expect.stringContaining('`constants`') })
    await expect(npz(path, { constants: { c: 'c' } })).rejects.toMatchObject({ message: expect.stringContaining('0-d') })
    const source = await npz(path, { constants: { c: 'c', s: 's' } })
    expect(Object.keys(source.fields)).toEqual(['x', 'y'])
    expect((await npz(path, { constants: { c: 'c', s: 's' }, ids: 'y' })).fields).toEqual({ x: { dtype: 'float32', shape: [3, 4] } })
  })

  test('arrays that do not hold numbers are passed over, and refused when asked for', async () => {
    const objects = Buffer.concat([npyHeader('{\'descr\': \'|O\', \'fortran_order\': False, \'shape\': (7,), }'), Buffer.from('pickle')])
    const mixed = file('mixed.npz', zipBytes([{ name: 'x.npy', bytes: npyBytes(x) }, { name: 'o.npy', bytes: objects }]))
    expect(Object.keys((await npz(mixed)).fields)).toEqual(['x'])
    await expect(npz(mixed, { fields: { o: 'o' } })).rejects.toThrow(UnsupportedError)
    await expect(npz(mixed, { constants: { o: 'o' } })).rejects.toThrow(UnsupportedError)
    await expect(npy(file('o.npy', objects))).rejects.toThrow(UnsupportedError)
    await expect(npz(file('only.npz', zipBytes([{ name: 'o.npy', bytes: objects }])))).rejects.toThrow(UnsupportedError)
    await expect(npz(file('empty.npz', zipBytes([])))).rejects.toThrow(UnsupportedError)
  })

  test('misuse is refused with a suggestion', async () => {
    await expect(npz(path, { feilds: {} } as never)).rejects.toThrow('misspelled option "feilds" should be "fields"')
    await expect(npz(path, { fields: { x: 'xx' } })).rejects.toThrow('did you mean "x"?')
    for (const name of ['id', 'ids', 'indices', 'X', 'a-b', '', '1x', 'é']) await expect(npz(path, { fields: { [name]: 'x' } })).rejects.toThrow(TypeError)
    await expect(npz(path, { fields: { x: 'x' }, constants: { x: 'c' } })).rejects.toThrow(TypeError)
    await expect(npz(path, { fields: ['x'] } as never)).rejects.toThrow(TypeError)
    await expect(npz(path, { fields: { x: 3 } } as never)).rejects.toThrow(TypeError)
    await expect(npz([])).rejects.toThrow(TypeError)
    await expect(npz(undefined as never)).rejects.toThrow(TypeError)
    await expect(npz('/no/such.npz')).rejects.toThrow(FileError)
    const capital = file('capital.npz', zipBytes([{ name: 'diffPatterns.npy', bytes: npyBytes(x) }]))
    await expect(npz(capital)).rejects.toThrow('diff_patterns')
    await expect(npy(path)).rejects.toThrow(FormatError)
    await expect(npy(path, { ids: 'y' } as never)).rejects.toThrow('unknown option "ids"')
  })

  test('ids are integers, one for each item, each once', async () => {
    const bad: [DType, number[]][] = [['float32', [7]], ['int32', [6]], ['int32', [7, 1]]]
    for (const [dtype, shape] of bad) {
      const ids = file('ids.npz', zipBytes([{ name: 'x.npy', bytes: npyBytes(x) }, { name: 'n.npy', bytes: npyBytes(pattern(dtype, shape)) }]))
      await expect(npz(ids, { fields: { x: 'x' }, ids: 'n' })).rejects.toMatchObject({ file: ids })
    }
    const twice: Plain = { dtype: 'int32', shape: [7], data: Int32Array.from([1, 2, 3, -4, 5, 2, 7]) }
    const ids = file('ids.npz', zipBytes([{ name: 'x.npy', bytes: npyBytes(x) }, { name: 'n.npy', bytes: npyBytes(twice) }]))
    await expect(npz(ids, { fields: { x: 'x' }, ids: 'n' })).rejects.toThrow('2 more than once')
  })

  test('several files must agree', async () => {
    const base = file('base.npy', npyBytes(x))
    await expect(npy([base, file('other.npy', npyBytes(pattern('float64', [7, 3, 4])))])).rejects.toThrow(FormatError)
    await expect(npy([base, file('other.npy', npyBytes(pattern('float32', [7, 3, 5])))])).rejects.toThrow(FormatError)
    const withConstant = (value: number): string => file('c.npz', zipBytes([{ name: 'x.npy', bytes: npyBytes(x) }, { name: 'c.npy', bytes: npyBytes({ dtype: 'float64', shape: [], data: Float64Array.of(value) }) }]))
    await expect(npz([withConstant(1), withConstant(2)], { constants: { c: 'c' } })).rejects.toThrow(FormatError)
    expect((await npz([withConstant(1), withConstant(1)], { constants: { c: 'c' } })).length).toBe(14)
  })

  test('files of one name in several folders have ids of their own', async () => {
    const path = file('same.npy', npyBytes(x))
    const source = await npy([path, path])
    expect(source.id(0)).toBe(`0/${stem(path)}/0`)
    expect(source.id(7)).toBe(`1/${stem(path)}/0`)
  })

  test('a file larger than the residency budget gives the same bytes', async () => {
    const large = pattern('float32', [4096, 1024], 2)
    const path = file('large.npy', npyBytes(large))
    const source = await npy(path, { residencyBytes: 2 ** 20 })
    let at = 0
    for await (const run of source.read(0, source.length, { fields: ['data'] })) {
      const bytes = bytesOf(run.fields.data!.data)
      expect(Buffer.compare(bytes, bytesOf(large.data).subarray(at, at + bytes.length))).toBe(0)
      at += bytes.length
      source.release(run.start, run.start + run.count)
    }
    expect(at).toBe(large.data.byteLength)
    expect((await collect(source.read(5, 6, { fields: ['data'] })))[0]!.fields.data!.data).toEqual(large.data.slice(5 * 1024, 6 * 1024))
  })
})
