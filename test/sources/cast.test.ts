import { describe, expect, test } from 'vitest'
import { NonFiniteError } from '../../src/core/errors.js'
import { bytesOf } from '../../src/core/tensor.js'
import { openArrays } from '../../src/sources/arrays.js'
import { file, npyBytes, pattern, zipBytes, type NpyForm, type Plain } from './write.js'

/** float64 [rows, columns] with values that float32 does not hold exactly. */
function values(rows: number, columns: number): Plain {
  return { dtype: 'float64', shape: [rows, columns], data: Float64Array.from({ length: rows * columns }, (_, k) => (k - 1000) / 7) }
}

const forms: Record<string, NpyForm> = { mapped: {}, fortran: { fortran: true }, 'big-endian': { big: true }, 'fortran, big-endian': { fortran: true, big: true } }

describe('lazy casts', () => {
  // Sizes around the block of 65,536 elements and the chunk of 16 blocks.
  for (const [rows, columns] of [[0, 3], [1, 1], [3, 5], [65_535, 1], [65_536, 1], [65_537, 1], [1000, 2000], [1, 1_048_577]] as const) {
    const tensor = values(rows, columns)
    test(`[${rows}, ${columns}] float64 to float32, every form, any range`, async () => {
      const expected = Float32Array.from(tensor.data as Float64Array)
      const paths = Object.entries(forms).map(([name, form]) => [name, file('x.npy', npyBytes(tensor, form)), 'data'] as const)
      const zipped = [false, true].map((deflate) => [deflate ? 'deflated' : 'stored', file('x.npz', zipBytes([{ name: 'x.npy', bytes: npyBytes(tensor), deflate }])), 'x'] as const)
      for (const [name, path, array] of [...paths, ...zipped]) {
        const lazy = (await openArrays(path))[array]!.cast('float32')
        expect({ dtype: lazy.dtype, shape: lazy.shape }).toEqual({ dtype: 'float32', shape: [rows, columns] })
        const whole = await lazy.read()
        expect(Buffer.compare(bytesOf(whole.data), bytesOf(expected)), name).toBe(0)
        const [start, stop] = [Math.floor(rows / 3), Math.ceil((rows * 2) / 3)]
        const part = await lazy.read({ start, stop })
        expect(part.shape).toEqual([stop - start, columns])
        expect(Buffer.compare(bytesOf(part.data), bytesOf(expected.subarray(start * columns, stop * columns))), name).toBe(0)
      }
    })
  }

  test('chained casts apply in order', async () => {
    const path = file('x.npy', npyBytes({ dtype: 'float64', shape: [3], data: Float64Array.of(300.7, -1.5, 70_000) }))
    const { data } = await openArrays(path)
    expect((await data!.cast('int32').cast('uint8').read()).data).toEqual(Uint8Array.of(300 & 255, 255, 70_000 & 255))
    expect((await data!.cast('int32').cast('float64').read()).data).toEqual(Float64Array.of(300, -1, 70_000))
    expect((await data!.cast('float32').cast('float64').read()).data).toEqual(Float64Array.from([300.7, -1.5, 70_000].map(Math.fround)))
  })

  test('a 0-d array is cast, and takes no range', async () => {
    const { data } = await openArrays(file('x.npy', npyBytes({ dtype: 'int16', shape: [], data: Int16Array.of(-3) })))
    expect(await data!.cast('float32').read()).toEqual({ dtype: 'float32', shape: [], data: Float32Array.of(-3) })
    await expect(data!.cast('float32').read({ start: 0, stop: 1 })).rejects.toThrow(TypeError)
  })

  test('NaN and infinity are refused by default, with their number and the first one\'s index', async () => {
    const tensor = values(2000, 100)
    const data = tensor.data as Float64Array
    data[150_000] = NaN
    data[70_001] = Infinity
    data[199_999] = 1e300 // beyond float32
    const path = file('x.npy', npyBytes(tensor))
    const { data: lazy } = await openArrays(path)
    const error = await lazy!.cast('float32').read().catch((error: unknown) => error)
    expect(error).toBeInstanceOf(NonFiniteError)
    expect(error).toMatchObject({ count: 3, index: 70_001, message: expect.stringContaining(path) })
    await expect(lazy!.cast('float32').read({ start: 1000, stop: 2000 })).rejects.toMatchObject({ count: 2, index: 150_000 })
    await lazy!.cast('float32').read({ start: 0, stop: 700 })
    const zeros = (await lazy!.cast('float32', { nonFinite: 'zero' }).read()).data
    expect([zeros[150_000], zeros[70_001], zeros[199_999]]).toEqual([0, 0, 0])
    const kept = (await lazy!.cast('float32', { nonFinite: 'keep' }).read()).data
    expect([kept[150_000], kept[70_001], kept[199_999]]).toEqual([NaN, Infinity, Infinity])
  })

  test('misuse is refused at once', async () => {
    const { data } = await openArrays(file('x.npy', npyBytes(pattern('int8', [3]))))
    expect(() => data!.cast('float' as never)).toThrow(TypeError)
    expect(() => data!.cast('float32', { nonFinite: 'ignore' as never })).toThrow(TypeError)
    expect(() => data!.cast('complex64')).toThrow(TypeError)
  })
})
