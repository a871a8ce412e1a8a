import { describe, expect, test } from 'vitest'
import type { TypedArray } from '../../src/core/dtype.js'
import { bytesOf } from '../../src/core/tensor.js'
import type { Device } from '../../src/devices/device.js'
import type { Program } from '../../src/ops/program.js'
import { castTo, chain, linearTable, normalized, resampled } from '../determinism/programs.js'
import { interpret } from '../reference/interpret.js'
import { pointsOf, referenceNearest } from '../determinism/nearest.reference.js'
import { noise } from '../support/data.js'

const SHAPE = [9, 10]
const program: Program = chain({ dtype: 'int16', shape: SHAPE }, castTo('float32', SHAPE), resampled(SHAPE, [linearTable(0, 9, 5), linearTable(1, 10, 13)]), normalized([5, 13], {}))
const input = (count: number): Int16Array => Int16Array.from(noise(count * 90, count), (value) => value * 2000)
const output = (count: number): Float32Array => new Float32Array(count * 65).fill(NaN)
const expected = (count: number): Uint8Array => bytesOf(interpret(program, count, [input(count)]).outputs[0]!)

/** What every device keeps: whoever implements `Device` calls this. */
export function deviceContract(name: string, open: () => Promise<Device>): void {
  describe(name, () => {
    const withDevice = async (use: (device: Device) => Promise<void>): Promise<void> => {
      const device = await open()
      try {
        await use(device)
      } finally {
        await device.close()
      }
    }

    test('says what it is', () => withDevice(async (device) => {
      expect(['cpu', 'webgpu']).toContain(device.kind)
      expect(device.identity.kind).toBe(device.kind)
      expect(device.identity.name).not.toBe('')
      expect(device.exact).toBe(true)
    }))

    test('finds the nearest points, few and many, of several sets at once', () => withDevice(async (device) => {
      const sets = [1, 40, 5000].map((count) => {
        const values = noise(2 * count, count)
        return pointsOf(count, (k) => [values[2 * k]!, Math.round(9 * values[2 * k + 1]!) / 9])
      })
      await Promise.all(sets.map(async (points) => {
        for (const [wanted, k] of [[0, 1], [3, 1], [512, Math.min(6, points.x.length)]] as const) {
          const at = Int32Array.from({ length: wanted }, (_, n) => n * 7 % points.x.length)
          expect(await device.nearest(points, at, k)).toEqual(referenceNearest(points, at, k))
        }
      }))
    }))

    test('runs a program on any number of items, and leaves its input alone', () => withDevice(async (device) => {
      const prepared = await device.prepare(program)
      for (const count of [0, 1, 2, 7, 300]) {
        const [into, from] = [output(count), input(count)]
        expect(await prepared.run({ count, inputs: [from], outputs: [into] })).toEqual([])
        expect(Buffer.compare(bytesOf(into), expected(count)), `${count} items`).toBe(0)
        expect(from).toEqual(input(count))
      }
    }))

    test('runs overlap without mixing', () => withDevice(async (device) => {
      const prepared = await device.prepare(program)
      const other = await device.prepare(chain({ dtype: 'int16', shape: SHAPE }, castTo('uint8', SHAPE)))
      const counts = [5, 1, 40, 3, 17, 2, 90]
      const outs = counts.map(output)
      const bytes = counts.map((count) => new Uint8Array(count * 90))
      await Promise.all(counts.flatMap((count, k) => [
        prepared.run({ count, inputs: [input(count)], outputs: [outs[k]!] }),
        other.run({ count, inputs: [input(count)], outputs: [bytes[k]!] }),
      ]))
      counts.forEach((count, k) => {
        expect(Buffer.compare(bytesOf(outs[k]!), expected(count)), `${count} items`).toBe(0)
        expect(bytes[k]).toEqual(Uint8Array.from(input(count)))
      })
    }))

    test('writes into the arrays it is given, wherever they begin', () => withDevice(async (device) => {
      const prepared = await device.prepare(program)
      const all = new Float32Array(3 + 2 * 65 + 3).fill(7)
      const from = new Int16Array(5 + 180)
      from.set(input(2), 5)
      await prepared.run({ count: 2, inputs: [from.subarray(5)], outputs: [all.subarray(3, 3 + 130)] })
      expect(Buffer.compare(bytesOf(all.subarray(3, 133)), expected(2))).toBe(0)
      expect([...all.subarray(0, 3), ...all.subarray(133)]).toEqual([7, 7, 7, 7, 7, 7])
    }))

    test('reports the first fault of each item that has one, in item order', () => withDevice(async (device) => {
      const shape = [6]
      const faulty = chain({ dtype: 'float64', shape }, castTo('float32', shape), normalized(shape, {}))
      const prepared = await device.prepare(faulty)
      const values = new Float64Array(30).map((_, i) => i)
      values[9] = NaN
      values[11] = 1e300
      values[24] = -Infinity
      const faults = await prepared.run({ count: 5, inputs: [values], outputs: [new Float32Array(30)] })
      expect(faults.map(({ step, item, count, index }) => ({ step, item, count, index }))).toEqual([{ step: 0, item: 1, count: 2, index: 3 }, { step: 0, item: 4, count: 1, index: 0 }])
    }))

    test('takes items without elements', () => withDevice(async (device) => {
      const prepared = await device.prepare(chain({ dtype: 'float32', shape: [0, 4] }, castTo('float16', [0, 4])))
      expect(await prepared.run({ count: 3, inputs: [new Float32Array(0)], outputs: [new Uint16Array(0)] as TypedArray[] })).toEqual([])
    }))
  })
}
