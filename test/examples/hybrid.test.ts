import { join } from 'node:path'
import { expect, test } from 'vitest'
import { CELLS, COURANT, deviation, firstFrame, fit, FRAMES, initial, predict, solve } from '../../examples/hybrid/burgers.js'
import { hybrid } from '../../examples/hybrid/hybrid.js'
import { openCache } from '../../src/index.js'
import { tempDir } from '../support/temp.js'

const frame = (field: Float32Array, k: number): Float32Array => field.subarray(k * CELLS, (k + 1) * CELLS)
const sum = (values: Float32Array): number => values.reduce((total, value) => total + value, 0)

test('the solver keeps what Burgers\' equation keeps: momentum; and energy only falls', () => {
  for (const seed of [0, 1, 2]) {
    const field = solve(initial(seed), COURANT)
    for (let k = 1; k < FRAMES; k++) {
      expect(sum(frame(field, k))).toBeCloseTo(sum(frame(field, 0)), 3)
      expect(sum(frame(field, k).map((u) => u * u))).toBeLessThan(sum(frame(field, k - 1).map((u) => u * u)))
    }
    expect(Array.from(firstFrame(initial(seed)))).toEqual(Array.from(frame(field, 0)))
  }
})

test('a wave that travels is known exactly', () => {
  // u constant is carried along unchanged, whatever the step.
  const still = solve(new Float64Array(4 * CELLS).fill(0.7), COURANT)
  for (const value of still) expect(value).toBeCloseTo(0.7, 6)
})

test('half the time step changes little; steps that are too long diverge', () => {
  expect(deviation(solve(initial(3), COURANT), solve(initial(3), COURANT / 2))).toBeLessThan(1e-3)
  expect(() => solve(initial(3), 3)).toThrow(/diverged/)
})

test('the fitted model predicts what it has not seen', () => {
  const weights = fit([0, 1, 2, 3].map((seed) => solve(initial(seed), COURANT)))
  const truth = solve(initial(99), COURANT)
  const error = deviation(predict(weights, firstFrame(initial(99))), truth)
  expect(error).toBeLessThan(0.02)
  // Nothing happening at all is far off.
  expect(deviation(new Float32Array(FRAMES * CELLS).map((_, i) => truth[i % CELLS]!), truth)).toBeGreaterThan(10 * error)
})

test('of three cycles, one of which fails, nothing is left but the evaluations', async () => {
  const dir = join(tempDir(), 'cache')
  const { table, usage: [before, during, after], referenceDigests, errors } = await hybrid(dir, { solved: 4, predicted: 6 })
  expect(errors.map((error) => error === undefined)).toEqual([false, true, false])
  expect(table[2]).toEqual(expect.arrayContaining(['cycle_002', '2', '0', 'nothing', expect.stringMatching(/diverged/)]))
  expect(during).toMatch(/generated\/physical\/cycle_001 +0 +4 /)
  expect(during).toMatch(/generated\/synthetic\/cycle_001 +0 +6 /)
  for (const usage of [before, after]) expect(usage).not.toMatch(/generated/)
  const tensors = (usage: string): unknown => /^tensors\/burgers +1 +0 +(.*iB)/m.exec(usage)?.[1]
  expect(tensors(before)).toBeDefined()
  expect(tensors(after)).toBe(tensors(before))
  expect(referenceDigests[1]).toBe(referenceDigests[0])

  const cache = await openCache({ dir, minFree: 0 })
  const keys = async (): Promise<string[]> => { const all = []; for await (const key of cache.keys({ namespace: 'evaluation' })) all.push(key); return all }
  expect(await keys()).toEqual(['cycle_001', 'cycle_003'])
  // What was measured on data that are gone goes too.
  await cache.invalidate(referenceDigests[0])
  expect(await keys()).toEqual([])
  await cache.close()
})
