import { chmodSync, cpSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { closeModels, onnx, onnxOp } from '../../../src/adapters/onnx.js'
import { explain } from '../../../src/dataset/explain.js'
import { deviceSource } from '../../../src/devices/select.js'
import { npz, parseRecipe, recipe, type Cache, type Dataset, type OpCall, type Source, type Tensor } from '../../../src/index.js'
import { floats, type Graph } from '../../../bench/lib/onnx-model.js'
import { noise, smallCache } from '../../support/data.js'
import { dense, normalized, quantized, summed, weight, writeModel } from '../../support/models.js'
import { npzBytes } from '../../support/npy.js'
import { tempDir } from '../../support/temp.js'

afterEach(closeModels)

/** Items are told apart by their seeds. */
async function rows(seeds: readonly number[], width: number): Promise<Source> {
  const path = join(tempDir(), 'rows.npz')
  const x = new Float32Array(seeds.length * width)
  seeds.forEach((seed, k) => x.set(noise(width, seed), k * width))
  writeFileSync(path, npzBytes({ x: { dtype: 'float32', shape: [seeds.length, width], data: x } }))
  return npz(path)
}

const seeds = (count: number): number[] => Array.from({ length: count }, (_, k) => k + 1)

/** A dense layer whose weights are only known when it runs: its kernel adds up in another order for one row, for few and for many, and for other numbers of threads. */
function moody(wide: number, narrow: number): Graph {
  return {
    inputs: { x: { type: 'float32', dims: ['n', wide] } },
    outputs: { y: { type: 'float32', dims: ['n', narrow] } },
    weights: { w: floats([wide, narrow], weight), zero: floats([1], () => 0), one: floats([1], () => 1) },
    nodes: [
      { op: 'Shape', inputs: ['x'], outputs: ['s'] }, { op: 'Cast', inputs: ['s'], outputs: ['f'], attributes: { to: 1 } }, { op: 'ReduceMean', inputs: ['f'], outputs: ['m'], attributes: { keepdims: 0 } },
      { op: 'Mul', inputs: ['m', 'zero'], outputs: ['z'] }, { op: 'Add', inputs: ['z', 'one'], outputs: ['o'] }, { op: 'Mul', inputs: ['w', 'o'], outputs: ['v'] }, { op: 'MatMul', inputs: ['x', 'v'], outputs: ['y'] },
    ],
  }
}

async function digest(source: Source, call: OpCall, options: { readonly jobs?: number } = {}): Promise<string> {
  const cache = await smallCache(join(tempDir(), 'cache'))
  const dataset = await cache.dataset(source, recipe([call]), options)
  await cache.close()
  return dataset.digest
}

describe('an item has the same bytes in every build', () => {
  test('one by one, together, by other jobs, and in another order', async () => {
    const call = await onnx({ model: writeModel(tempDir(), moody(512, 64)), outputs: { y: 'y' } })
    const all = seeds(150)
    const cache = await smallCache(join(tempDir(), 'cache'))
    const together = await cache.dataset(await rows(all, 512), recipe([call]))
    const bytes = async (dataset: Dataset, k: number): Promise<unknown> => (await dataset.get(k)).y
    for (const [place, seed] of [[0, 1], [40, 41], [149, 150]] as const) {
      const alone = await smallCache(join(tempDir(), 'alone'))
      expect(await bytes(await alone.dataset(await rows([seed], 512), recipe([call])), 0)).toEqual(await bytes(together, place))
      await alone.close()
    }
    for (const jobs of [1, 3]) expect(await digest(await rows(all, 512), call, { jobs })).toBe(together.digest)
    const turned = await smallCache(join(tempDir(), 'turned'))
    const reversed = await turned.dataset(await rows(all.toReversed(), 512), recipe([call]))
    for (const k of [0, 3, 149]) expect(await bytes(reversed, 149 - k)).toEqual(await bytes(together, k))
    await turned.close()
    await cache.close()
  })

  test('items that are added are computed, and no others; the digest is that of a build from nothing', async () => {
    const call = await onnx({ model: writeModel(tempDir(), moody(512, 64)) })
    const cache = await smallCache(join(tempDir(), 'cache'))
    await cache.dataset(await rows(seeds(70), 512), recipe([call]))
    const more = await cache.dataset(await rows([1000, ...seeds(70), 1001], 512), recipe([call]))
    expect(more.report).toMatchObject({ hits: 70, computed: 2 })
    expect(more.digest).toBe(await digest(await rows([1000, ...seeds(70), 1001], 512), call))
    await cache.close()
  })

  test('what is damaged is made again', async () => {
    const dir = join(tempDir(), 'cache')
    const call = await onnx({ model: writeModel(tempDir(), moody(512, 64)) })
    const cache = await smallCache(dir)
    // Two shards' worth, so that other items are in a call than before.
    const few = await cache.dataset(await rows(seeds(45), 512), recipe([call]))
    const dataset = await cache.dataset(await rows([...seeds(45), ...seeds(20).map((k) => 500 + k)], 512), recipe([call]))
    const before = (await dataset.get(50)).y
    await few.close()
    await dataset.close()
    await cache.close()
    const again = await smallCache(dir)
    const opened = await again.dataset(await rows([...seeds(45), ...seeds(20).map((k) => 500 + k)], 512), recipe([call]))
    damage(dir)
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
    expect((await opened.get(50)).y).toEqual(before)
    expect((await opened.get(3)).y).toEqual((await (await again.dataset(await rows([4], 512), recipe([call]))).get(0)).y)
    expect(readdirSync(join(dir, 'quarantine')).length).toBeGreaterThan(0)
    warn.mockRestore()
    await again.close()
  })
})

/** Flips a bit in the middle of every shard. */
function damage(dir: string): void {
  for (const folder of readdirSync(join(dir, 'blobs'))) {
    for (const name of readdirSync(join(dir, 'blobs', folder))) {
      const path = join(dir, 'blobs', folder, name)
      const bytes = readFileSync(path)
      if (!bytes.subarray(0, 4096).includes('"y"') || statSync(path).size < 6000) continue
      bytes[5000]! ^= 4
      chmodSync(path, 0o644)
      writeFileSync(path, bytes)
    }
  }
}

describe('models that mix their items', () => {
  test('by one scale for all of them: one at a time', async () => {
    const model = writeModel(tempDir(), quantized)
    expect((await onnx({ model })).params.batch).toBe(1)
    await expect(onnx({ model, batch: 8 })).rejects.toThrow(/quantizes all items of a call with one scale \(DynamicQuantizeLinear\).*batch: 1/)
    const call = await onnx({ model })
    expect(await digest(await rows(seeds(5), 4), call, { jobs: 1 })).toBe(await digest(await rows(seeds(5), 4), call, { jobs: 2 }))
  })

  test('in ways that only show when they run: nothing is stored', async () => {
    const model = writeModel(tempDir(), normalized)
    const dir = join(tempDir(), 'cache')
    const cache = await smallCache(dir)
    await expect(cache.dataset(await rows(seeds(5), 4), recipe([await onnx({ model })]))).rejects.toMatchObject({ code: 'E_ITEM', message: expect.stringMatching(/output "y" for an item depends on the other 31 items of its call.*batch: 1/s) as string })
    expect(blobs(dir)).toBe(0)
    const alone = await cache.dataset(await rows(seeds(5), 4), recipe([await onnx({ model, batch: 1 })]))
    for (let k = 0; k < 5; k++) expect(Math.max(...((await alone.get(k)).y as Tensor<'float32'>).data)).toBe(1)
    await cache.close()
  })

  test('items that are all the same show nothing, and the next call is looked at', async () => {
    const call = await onnx({ model: writeModel(tempDir(), normalized), batch: 4 })
    const cache = await smallCache(join(tempDir(), 'cache'))
    await cache.dataset(await rows([7, 7, 7, 7], 4), recipe([call]))
    await expect(cache.dataset(await rows([1, 2], 4), recipe([call]))).rejects.toThrow(/depends on the other 3 items/)
    await cache.close()
  })

  test('by where in a register an item begins: refused, or it makes no difference on this processor', async () => {
    const model = writeModel(tempDir(), summed(777))
    const call = await onnx({ model })
    const build = digest(await rows(seeds(40), 777), call)
    const refused = await build.then(() => undefined, (error: Error) => error.message)
    if (refused === undefined) expect(await digest(await rows(seeds(40), 777), call, { jobs: 3 })).toBe(await build)
    else expect(refused).toMatch(/has other bytes in place \d+ of a call of 32 than in place \d+.*batch: 1 gives every item the same/s)
    const alone = await onnx({ model, batch: 1 })
    const bytes = async (list: readonly number[]): Promise<Map<number, unknown>> => {
      const cache = await smallCache(join(tempDir(), 'cache'))
      const dataset = await cache.dataset(await rows(list, 777), recipe([alone]))
      const found = new Map<number, unknown>()
      for (const [k, seed] of list.entries()) found.set(seed, Array.from(((await dataset.get(k)).y as Tensor<'float32'>).data))
      await cache.close()
      return found
    }
    // In the file item k begins at byte 4 · 777 · k: at every place within 16 bytes.
    expect(await bytes(seeds(9))).toEqual(await bytes(seeds(9).toReversed()))
  })
})

function blobs(dir: string): number {
  return readdirSync(join(dir, 'blobs'), { recursive: true, encoding: 'utf8' }).filter((name) => name.length > 60).length
}

describe('the key', () => {
  const x = (): Promise<Source> => rows(seeds(3), 20)
  const asked = async (cache: Cache, call: OpCall): Promise<Dataset['report']> => (await cache.dataset(await x(), recipe([call]))).report

  const differences = async (cache: Cache, call: OpCall): Promise<readonly string[]> => {
    const device = deviceSource('cpu')
    return (await explain({ store: cache.store, source: await x(), recipe: recipe([call]), device, signal: undefined })).differences
  }

  test('has the model\'s content in it and not its place', async () => {
    const dir = tempDir()
    const model = writeModel(dir, dense(20, 5))
    const cache = await smallCache(join(tempDir(), 'cache'))
    expect(await asked(cache, await onnx({ model }))).toMatchObject({ computed: 3 })
    mkdirSync(join(dir, 'moved'))
    cpSync(model, join(dir, 'moved', 'other.onnx'))
    rmSync(model)
    expect(await asked(cache, await onnx({ model: join(dir, 'moved', 'other.onnx') }))).toMatchObject({ computed: 0, hits: 3 })
    const changed = await onnx({ model: writeModel(dir, dense(20, 5, 'n', 0.01), 'changed.onnx') })
    expect(await differences(cache, changed)).toEqual([expect.stringMatching(/^recipe: op 0 \(onnx\): params\.model: "[0-9a-f]{64}" here, "[0-9a-f]{64}" there$/)])
    expect(await asked(cache, changed)).toMatchObject({ computed: 3 })
    await cache.close()
  })

  test('and whatever changes the bytes', async () => {
    const model = writeModel(tempDir(), dense(20, 5))
    const cache = await smallCache(join(tempDir(), 'cache'))
    await asked(cache, await onnx({ model, threads: 1 }))
    for (const [options, difference] of [[{ batch: 8 }, /params\.batch: 8 here, 32 there/], [{ threads: 2 }, /params\.threads: 2 here, 1 there/], [{ graphOptimizationLevel: 'basic' }, /graphOptimizationLevel: "basic" here, "all" there/], [{ hardware: 'a toaster' }, /params\.runtime\.hardware: "a toaster" here/], [{ outputs: { z: 'y' } }, /params\.outputs/]] as const) {
      const call = await onnx({ model, threads: 1, ...options })
      expect((await differences(cache, call)).join('\n')).toMatch(difference)
    }
    await cache.close()
  })

  test('is plain data that says nothing of this machine\'s folders, and is read back where the model is known', async () => {
    const dir = tempDir()
    const call = await onnx({ model: writeModel(dir, dense(20, 5)) })
    const json = JSON.stringify(recipe([call]))
    expect(json).not.toContain(dir)
    const { params } = call
    expect(params.runtime).toMatchObject({ onnxruntime: expect.stringMatching(/^\d+\.\d+/) as string, platform: expect.stringContaining(process.platform) as string, hardware: expect.any(String) as string })
    expect(parseRecipe(JSON.parse(json), [onnxOp]).toJSON()).toEqual(JSON.parse(json))
    const elsewhere = JSON.parse(json) as { ops: [{ params: { model: string; runtime: { onnxruntime: string; hardware: string } } }] }
    elsewhere.ops[0].params.runtime.onnxruntime = '1.0.0'
    expect(() => parseRecipe(elsewhere, [onnxOp])).toThrow(/of another machine or version: onnxruntime is "[\d.]+" here, "1\.0\.0" there/)
    const unknown = JSON.parse(json.replace(String(params.model), '0'.repeat(64))) as object
    expect(() => parseRecipe(unknown, [onnxOp])).toThrow(/the model 0{16}… has not been read by this process/)
  })
})
