import * as tf from '@tensorflow/tfjs'
import { expect, test } from 'vitest'
import { compoundsCsv } from '../../examples/training/crystals/compounds.js'
import { ELEMENTS } from '../../examples/training/crystals/elements.js'
import { heats } from '../../examples/training/crystals/heats.js'
import { segments } from '../../examples/training/crystals/segments.js'
import { Learner } from '../../examples/training/learner.js'
import { convolution } from '../../examples/training/patterns/convolution.js'
import { grains } from '../../examples/training/patterns/grains.js'
import type { Tf } from '../../examples/training/task.js'
import { Variables } from '../../examples/training/variables.js'
import { type Batch, openCache, type Tensor } from 'tensorcache'
import { ELECTRONEGATIVITIES, SYMBOLS } from '../../src/sources/elements.js'
import { tempDir } from '../support/temp.js'

const values = (tensor: { dataSync(): ArrayLike<number> }): number[] => Array.from(tensor.dataSync())
const close = (found: tf.Tensor, expected: tf.Tensor): void => {
  expect(found.shape).toEqual(expected.shape)
  // float32, summed in another order.
  values(found).forEach((value, k) => expect(Math.abs(value - values(expected)[k]!)).toBeLessThan(1e-5 * (1 + Math.abs(value))))
}

test('rows for edges and sums of edges are what gather and unsortedSegmentSum give, and so are their gradients', () => tf.tidy(() => {
  const ids = Int32Array.of(2, 0, 0, 4, 2, 2)
  const { take, sum } = segments(tf as Tf, ids, 5)
  const flat = tf.tensor1d(ids, 'int32')
  const [rows, edges] = [tf.randomNormal([5, 3], 0, 1, 'float32', 1), tf.randomNormal([6, 3], 0, 1, 'float32', 2)] as [tf.Tensor2D, tf.Tensor2D]
  const theirs = { take: (x: tf.Tensor): tf.Tensor => tf.gather(x, flat), sum: (x: tf.Tensor): tf.Tensor => tf.unsortedSegmentSum(x, flat, 5) }
  close(take(rows), theirs.take(rows))
  close(sum(edges), theirs.sum(edges))
  close(tf.grad((x) => tf.square(take(x as tf.Tensor2D)).sum())(rows), tf.grad((x) => tf.square(theirs.take(x)).sum())(rows))
  close(tf.grad((x) => tf.square(sum(x as tf.Tensor2D)).sum())(edges), tf.grad((x) => tf.square(theirs.sum(x)).sum())(edges))
}))

test('the convolution and its gradients are those of conv2d', () => tf.tidy(() => {
  const [image, kernel] = [tf.randomNormal([3, 6, 4, 2], 0, 1, 'float32', 1), tf.randomNormal([3, 3, 2, 5], 0, 1, 'float32', 2)] as [tf.Tensor4D, tf.Tensor4D]
  const ours = convolution(tf as Tf) as (x: tf.Tensor, by: unknown) => tf.Tensor
  const theirs = (x: tf.Tensor, by: tf.Tensor): tf.Tensor => tf.conv2d(x as tf.Tensor4D, by as tf.Tensor4D, 1, 'same')
  close(ours(image, kernel), theirs(image, kernel))
  const [mine, expected] = [ours, theirs].map((apply) => tf.grads((x, by) => tf.square(apply(x!, by!)).sum())([image, kernel])) as [tf.Tensor[], tf.Tensor[]]
  mine.forEach((gradient, k) => close(gradient, expected[k]!))
}))

test('heats are Pauling\'s: by hand for what a textbook has, and 0 for elements', async () => {
  const dir = tempDir()
  await using cache = await openCache({ dir, minFree: 0 })
  await using lists = await heats().open(cache, { dir, seed: 1, cached: true })
  const found = new Map<string, number>()
  for (const list of [lists.train, lists.val]) {
    for await (const batch of list.batches({ size: 100, fields: ['heat_all'] })) batch.ids.forEach((id, k) => found.set(id, (batch.heat_all as Tensor<'float32'>).data[k]!))
  }
  // One bond to two atoms in halite, whose six neighbours share it; measured: -411 kJ/mol, -2.1 eV per atom. Two in periclase and in fluorite; four and two to five atoms in tausonite; four to two in silicon carbide.
  const squares = (...pairs: [number, number][]): number => pairs.reduce((sum, [bonds, difference]) => sum + bonds * difference ** 2, 0)
  for (const [name, heat] of Object.entries({
    'halite': -squares([1, 2.23]) / 2, 'periclase': -squares([2, 2.13]) / 2, 'fluorite': -squares([2, 2.98]) / 3, 'tausonite': -squares([4, 1.9], [2, 2.49]) / 5, 'silicon carbide 3C': -squares([4, 0.65]) / 2,
    'halite, 64 atoms, skewed': -squares([1, 2.23]) / 2, 'diamond': 0, 'copper': 0, 'graphite': 0,
  })) expect(found.get(name), name).toBeCloseTo(heat, 4)
  expect(Math.min(...found.values())).toBeGreaterThan(-8)
})

test('the table of elements is that of the library, and compounds balance', () => {
  for (const { symbol, number, electronegativity } of ELEMENTS) expect([SYMBOLS[number], ELECTRONEGATIVITIES[number]]).toEqual([symbol, electronegativity])
  const names = [...compoundsCsv().matchAll(/^([A-Z]\w+),"data_/gm)].map((match) => match[1]!)
  expect(new Set(names).size).toBe(names.length)
  expect(names.length).toBeGreaterThan(400)
  for (const name of names) {
    const charges = [...name.matchAll(/([A-Z][a-z]?)(\d?)/g)].map(([, symbol, count]) => {
      const { valence, isAnion } = ELEMENTS.find((element) => element.symbol === symbol)!
      return (isAnion ? -valence : valence) * Number(count === '' ? 1 : count)
    })
    expect(charges.reduce((sum, charge) => sum + charge, 0), name).toBe(0)
  }
  for (const usual of ['NaCl', 'CsCl', 'MgO', 'CaF2', 'SrTiO3', 'KMgF3']) expect(names).toContain(usual)
})

test('a learner that is restored goes on to the last bit, and leaves no tensors behind', async () => {
  const dir = tempDir()
  await using cache = await openCache({ dir, minFree: 0 })
  await using lists = await grains.open(cache, { dir, seed: 1, cached: true })
  const batches: Batch[] = []
  for await (const batch of lists.train.batches({ ...grains.batches, seed: 1 })) batches.push(batch)
  const make = async (seed: number): Promise<Learner> => {
    const variables = new Variables(tf as Tf, seed)
    return new Learner(tf as Tf, variables, await grains.model(tf as Tf, variables, lists), grains.rate)
  }
  const before = tf.memory().numTensors
  const [one, other] = [await make(1), await make(2)]
  for (const batch of batches.slice(0, 7)) one.step(batch)
  const alive = tf.memory().numTensors
  const state = structuredClone(await one.state())
  expect(tf.memory().numTensors).toBe(alive)
  const expected = batches.map((batch) => one.step(batch))
  await other.restore(state)
  const restored = tf.memory().numTensors
  expect(batches.map((batch) => other.step(batch))).toEqual(expected)
  await other.restore(state)
  expect(tf.memory().numTensors).toBe(restored)
  expect(batches.map((batch) => other.step(batch))).toEqual(expected)
  for (const learner of [one, other]) learner.dispose()
  expect(tf.memory().numTensors).toBe(before)
})
