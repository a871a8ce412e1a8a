import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { PNG } from 'pngjs'
import { beforeAll, describe, expect, test } from 'vitest'
import { ptychography, scan, type PtychographyResult } from '../../examples/ptychography/ptychography.js'
import { openArrays, openCache, type Tensor } from '../../src/index.js'
import { tempDir } from '../support/temp.js'
import { farField, SIZE } from './ptychography-model.js'

const arrays: Record<string, Tensor> = {}
beforeAll(async () => {
  const lazy = await openArrays(scan)
  for (const [name, array] of Object.entries(lazy)) arrays[name] = await array.read()
  lazy[Symbol.dispose]()
})

describe('the scan', () => {
  test('has the usual names, in at most 3 MB', () => {
    expect(Object.fromEntries(Object.entries(arrays).map(([name, { dtype, shape }]) => [name, [dtype, ...shape]]))).toEqual({
      diffraction: ['uint16', 512, SIZE, SIZE], xcoords: ['float64', 512], ycoords: ['float64', 512], probeGuess: ['complex64', SIZE, SIZE], objectGuess: ['complex64', 176, 176],
    })
    expect(statSync(scan).size).toBeLessThan(3e6)
  })

  test('is what its object, probe and positions give, up to the noise of so many photons', () => {
    const { diffraction, xcoords, ycoords, probeGuess, objectGuess } = arrays as { [name: string]: Tensor<any> }
    const counts = (k: number): Uint16Array => diffraction!.data.subarray(k * SIZE * SIZE, (k + 1) * SIZE * SIZE)
    expect(sum(diffraction!.data) / 512 / 57_600).toBeCloseTo(1, 2)
    // In the middle, at the edges, and between.
    const chosen = [0, 1, 137, 217, 400, 511]
    /** Of pixels with 5 photons or more: squared deviations per variance, which are 1 on average. */
    const deviation = (change: { readonly x?: number; readonly y?: number; readonly swapped?: boolean; readonly zero?: number }): number => {
      const models = chosen.map((k) => {
        const [x, y] = [xcoords!.data[k] + (change.x ?? 0), ycoords!.data[k] + (change.y ?? 0)]
        return farField(objectGuess!, probeGuess!, change.swapped ? y : x, change.swapped ? x : y, change.zero ?? SIZE / 2)
      })
      // One scale for all: which pattern is brighter is said by the model.
      const scale = sum(chosen.map((k) => sum(counts(k)))) / sum(models.map(sum))
      const terms = models.flatMap((model, i) => Array.from(model, (value, at) => [scale * value, counts(chosen[i]!)[at]!] as const))
      const bright = terms.filter(([expected]) => expected >= 5)
      expect(bright.length).toBeGreaterThan(2000)
      return sum(bright.map(([expected, count]) => (count - expected) ** 2 / expected)) / bright.length
    }
    // Of n terms the mean is off by √(2 / n) typically: 0.03.
    expect(Math.abs(deviation({}) - 1)).toBeLessThan(0.1)
    // What somebody may mistake is seen: a third of a pixel, the axes, the place of the zero frequency.
    for (const wrong of [{ x: 1 / 3 }, { y: 1 / 3 }, { swapped: true }, { zero: SIZE / 2 - 1 }]) expect(deviation(wrong), JSON.stringify(wrong)).toBeGreaterThan(1.2)
  })
})

describe('groups of it', () => {
  let dir: string
  let result: PtychographyResult
  beforeAll(async () => {
    dir = join(tempDir(), 'ptychography')
    result = await ptychography(dir)
  }, 60_000)

  test('come in the same batches from the cache and without it', () => {
    expect(result.table.slice(1).map((row) => row.slice(0, 3))).toEqual([['into a cache, cold', '384', '384'], ['from the cache, warm', '384', '0'], ['without a cache', '384', 'when read']])
    expect(result.digests).toHaveLength(3)
    expect(new Set(result.digests).size).toBe(1)
    expect(result.strategies.join()).toMatch(/^384 groups, 256MB of memory: memory, because .*1,000,000 groups, 8GB of memory: (cache|onTheFly), because /)
  })

  test('are found by the configuration file, and computed again where a pattern has changed', () => {
    const said = result.transcript.split(/^\$ tensorcache /m).slice(1)
    const counts = said.map((text) => /(\d+) items, (\d+) hits?, (\d+) computed/.exec(text)!.slice(1).map(Number))
    const changed = result.touched.length
    expect(changed).toBeGreaterThan(0)
    expect(changed).toBeLessThan(10)
    expect(counts).toEqual([[384, 384, 0], [384, 0, 384], [384, 384 - changed, changed]])
    expect(said[1]).toMatch(/nothing written; digest \w{16}, as in the cache/)
  })

  test('lie near each other, with one factor for all patterns', async () => {
    const cache = await openCache({ dir: join(dir, 'cache'), minFree: 0 })
    const dataset = (await cache.openDataset('groups'))!
    expect(dataset.fields.diffraction).toEqual({ dtype: 'float32', shape: [4, SIZE, SIZE] })
    expect(dataset.constants.probe).toEqual(arrays.probeGuess)
    let total = 0
    for await (const { diffraction, offsets } of dataset.batches({ size: 64, fields: ['diffraction', 'offsets'] })) {
      total += sum(diffraction.data)
      // The seven nearest of a scan with a point per 30 square pixels.
      for (let k = 0; k < offsets.data.length; k += 2) expect(Math.hypot(offsets.data[k], offsets.data[k + 1])).toBeLessThan(12)
    }
    expect(total / 384 / 4 / (SIZE / 2) ** 2).toBeCloseTo(1, 2)
    await cache.close()
  })

  test('are drawn, with the patterns of those in colours', () => {
    const { width, height, data } = PNG.sync.read(readFileSync(result.sheet))
    expect([width, height].every((pixels) => pixels > 800 && pixels < 2000)).toBe(true)
    const colours = new Map<string, number>()
    for (let at = 0; at < data.length; at += 4) {
      const colour = [...data.subarray(at, at + 3)].join()
      colours.set(colour, (colours.get(colour) ?? 0) + 1)
    }
    // Four frames of two pixels around 144, and lines and points besides.
    for (const colour of ['255,96,64', '64,190,255', '120,230,90', '255,205,60', '225,120,255']) expect(colours.get(colour), colour).toBeGreaterThan(4 * 4 * 2 * 142 + 500)
  })
})

function sum(values: ArrayLike<number>): number {
  let total = 0
  for (let k = 0; k < values.length; k++) total += values[k]!
  return total
}
