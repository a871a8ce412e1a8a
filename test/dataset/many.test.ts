import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import type { Tensor } from '../../src/core/tensor.js'
import { cast, defineOp, items, MissingDependencyError, recipe, type FieldSpecs, type OpCall, type OpOptions } from '../../src/index.js'
import { smallCache } from '../support/data.js'
import { tempDir } from '../support/temp.js'

type Options = Omit<OpOptions<Record<string, unknown>>, 'name' | 'infer'> & { readonly infer?: (fields: FieldSpecs) => FieldSpecs }

/** What `made` makes of items with `x` float32 of these lengths (numbers: as many elements), in a cache of its own; and how the calls looked. */
async function built(lengths: readonly number[], options: Options, ...more: OpCall[]): Promise<Record<string, Tensor>[]> {
  const op = defineOp({ name: 'lab.many', infer: (fields) => fields, ...options })
  const source = await items(lengths.map((length, k) => ({ id: `item ${k}`, fields: { x: { dtype: 'float32', shape: [length], data: new Float32Array(length).fill(k) } } })))
  const cache = await smallCache(join(tempDir(), 'cache'))
  try {
    const dataset = await cache.dataset(source, recipe([op(), ...more]), { jobs: 1 })
    const all = []
    for (let k = 0; k < dataset.length; k++) all.push(await dataset.get(k) as unknown as Record<string, Tensor>)
    return all
  } finally {
    await cache.close()
  }
}

const plusOne = ({ x }: Readonly<Record<string, Tensor>>): Record<string, Tensor> => ({ x: { ...x!, data: (x!.data as Float32Array).map((value) => value + 1) } as Tensor })

describe('runMany', () => {
  test.each([1, 31, 32, 33, 100])('%i items in calls of at most 32', async (count) => {
    const calls: number[] = []
    const found = await built(Array.from({ length: count }, () => 3), { runMany: (given, _params, { ids }) => { calls.push(ids.length); expect(given.x!.shape).toEqual([ids.length, 3]); return plusOne(given) } })
    expect(found.map(({ x }) => x!.data[0])).toEqual(Array.from({ length: count }, (_, k) => k + 1))
    expect(calls.reduce((sum, call) => sum + call, 0)).toBe(count)
    expect(Math.max(...calls)).toBeLessThanOrEqual(32)
  })

  test('full calls have the last item again and again, and nothing of that is kept', async () => {
    const calls: unknown[] = []
    const found = await built([2, 2, 2, 2, 2], { batch: 4, full: true, runMany: (given, _params, { ids }) => { calls.push([ids.join(), Array.from(given.x!.data as Float32Array).filter((_, k) => k % 2 === 0).join()]); return plusOne(given) } })
    expect(calls).toEqual([['item 0,item 1,item 2,item 3', '0,1,2,3'], ['item 4', '4,4,4,4']])
    expect(found.map(({ x }) => [x!.shape, x!.data[1]])).toEqual([1, 2, 3, 4, 5].map((value) => [[2], value]))
  })

  test('items of other lengths are in other calls', async () => {
    const shapes: unknown[] = []
    const found = await built([3, 3, 5, 5, 5, 3], { batch: 2, runMany: (given) => { shapes.push(given.x!.shape); return plusOne(given) } })
    expect(shapes).toEqual([[2, 3], [2, 5], [1, 5], [1, 3]])
    expect(found.map(({ x }) => [x!.shape[0], x!.data.length, x!.data[0]])).toEqual([[3, 3, 1], [3, 3, 2], [5, 5, 3], [5, 5, 4], [5, 5, 5], [3, 3, 6]])
  })

  test('between device ops, and the batch from a parameter', async () => {
    const op = defineOp<{ size: number }>({ name: 'lab.many', params: ({ size = 3 }) => ({ size: size as number }), batch: ({ size }) => size, infer: (fields) => fields, runMany: plusOne })
    const found = await built([2, 2, 2, 2], { runMany: plusOne }, cast({ dtype: 'float64', fields: ['x'] }), cast({ dtype: 'float32', fields: ['x'] }), op({ size: 2 }))
    expect(found.map(({ x }) => Array.from(x!.data as Float32Array))).toEqual([2, 3, 4, 5].map((value) => [value, value]))
    await expect(built([2], { batch: () => 0.5, runMany: plusOne })).rejects.toThrow(/batch must be an integer/)
  })

  test('two calls are under way at a time', async () => {
    let now = 0
    let most = 0
    await built(Array.from({ length: 10 }, () => 1), { batch: 1, runMany: async (given) => {
      most = Math.max(most, ++now)
      await new Promise((done) => { setTimeout(done, 5) })
      now--
      return plusOne(given)
    } })
    expect(most).toBe(2)
  })

  test.each<[string, Options['runMany'], RegExp]>([
    ['nothing', () => undefined as never, /runMany must return the fields of the new items/],
    ['items as they are one by one', ({ x }) => ({ x: { ...x!, shape: [3] } as Tensor }), /promised for field x float32 \[1, 3\], runMany made "float32" \[3\]/],
    ['another dtype', ({ x }) => ({ x: { dtype: 'float64', shape: x!.shape, data: new Float64Array(x!.data.length) } }), /runMany made "float64"/],
    ['too little data', ({ x }) => ({ x: { ...x!, data: new Float32Array(1) } as Tensor }), /field x has 4 bytes, its dtype and shape say 12/],
    ['a field more', ({ x }) => ({ x: x!, y: x! }), /runMany made a field "y", which infer did not promise/],
  ])('%s is refused', async (_what, runMany, message) => {
    await expect(built([3], { runMany: runMany! })).rejects.toThrow(message)
  })
})

describe('a failure', () => {
  test('is that of the item that fails alone', async () => {
    const tries: number[] = []
    const failing = built([1, 1, 1, 1, 1, 1], { batch: 4, runMany: (given) => {
      tries.push(given.x!.shape[0]!)
      if (Array.from(given.x!.data as Float32Array).some((value) => value === 2 || value === 3)) throw new Error('too large')
      return plusOne(given)
    } })
    await expect(failing).rejects.toMatchObject({ code: 'E_ITEM', item: 'item 2', message: expect.stringContaining('op 0 (lab.many) failed: too large') as string })
    expect(tries.filter((size) => size === 1)).toHaveLength(3)
  })

  test('of a call, and of none of its items alone, says so', async () => {
    await expect(built([1, 1, 1], { runMany: (given) => { if (given.x!.shape[0]! > 1) throw new Error('out of memory'); return plusOne(given) } })).rejects.toThrow(/item 0: .*failed for this item and the 2 after it together, for none of them alone: out of memory/)
  })

  test('that is no item\'s is not put on one', async () => {
    await expect(built([1, 1], { runMany: () => { throw new MissingDependencyError('npm install it') } })).rejects.toMatchObject({ code: 'E_MISSING_DEPENDENCY' })
  })
})

describe('what does not go together is refused', () => {
  const infer = (fields: FieldSpecs): FieldSpecs => fields
  test.each<[Partial<OpOptions<Record<string, unknown>>>, RegExp]>([
    [{ runMany: plusOne, run: (item) => item }, /run must be left out with runMany/],
    [{ runMany: 'x' as never }, /runMany must be a function/],
    [{ run: (item) => item, batch: 4 }, /batch goes with runMany/],
    [{ run: (item) => item, full: true }, /full goes with runMany/],
    [{ runMany: plusOne, batch: 0 }, /batch must be an integer from 1/],
    [{ runMany: plusOne, scope: 'dataset', arrange: async (given) => given }, /runMany must be left out with scope dataset/],
  ])('%o', (options, message) => {
    expect(() => defineOp({ name: 'lab.many', infer, ...options })).toThrow(message)
  })
})
