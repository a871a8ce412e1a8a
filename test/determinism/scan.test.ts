import { describe, expect, test } from 'vitest'
import type { Engine } from '../../src/devices/webgpu/engine.js'
import type { FrameWork } from '../../src/devices/webgpu/frame.js'
import { SCAN_KERNELS, encodeScan } from '../../src/devices/webgpu/scan.js'
import { kernel } from '../../src/devices/webgpu/wgsl.js'
import { layoutOf } from '../../src/ops/wgsl-layout.js'
import { compilesSlowly, engines, withEngine } from '../support/gpu.js'
import { LONG } from './compare.js'
import { tally } from './tally.js'
import { Random } from './values.js'

const found = await engines()
const BLOCK = 2048
const SIZES = [0, 1, 2, 15, 16, 17, 255, 256, 257, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 100_003]
// The totals of these are more than a block, so that three levels are scanned.
const DEEP = [BLOCK * BLOCK - 1, BLOCK * BLOCK, BLOCK * BLOCK + 1, BLOCK * BLOCK + 3 * BLOCK + 5]

interface Scan { readonly values: Uint32Array; readonly sum: number }

function plainly(values: Uint32Array): Scan {
  const out = new Uint32Array(values.length)
  let sum = 0
  for (let i = 0; i < values.length; i++) {
    out[i] = sum
    sum = (sum + values[i]!) >>> 0
  }
  return { values: out, sum }
}

function onDevice(engine: Engine, values: Uint32Array): Promise<Scan> {
  return engine.withFrame(SCAN_KERNELS, async (frame) => {
    let buffer: GPUBuffer, total: GPUBuffer
    const work = function * (): FrameWork {
      buffer = frame.buffer(values.byteLength)
      frame.upload(buffer, new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
      total = encodeScan(frame, buffer, values.length)
      yield * []
    }
    let result: Scan | undefined
    await frame.run(work(), () => [{ buffer, bytes: values.byteLength }, { buffer: total, bytes: 4 }], ([all, sum]) => {
      result = { values: new Uint32Array(all!.slice().buffer), sum: new DataView(sum!.buffer, sum!.byteOffset).getUint32(0, true) }
    })
    return result!
  })
}

function sameScan(actual: Scan, expected: Scan): boolean {
  return actual.sum === expected.sum && Buffer.compare(new Uint8Array(actual.values.buffer), new Uint8Array(expected.values.buffer)) === 0
}

async function expectSame(name: string, engine: Engine, sizes: readonly number[]): Promise<void> {
  const random = new Random(131)
  for (const n of sizes) {
    // Any bits, so that sums wrap all the time.
    const values = new Uint32Array(n).map(() => random.bits())
    if (!sameScan(await onDevice(engine, values), plainly(values))) throw new Error(`${name}: ${n} values are scanned wrongly`)
    tally(name, SCAN_KERNELS, n, 0)
  }
}

describe.each(found.map((one) => [one.name, one] as const))('prefix sums on %s', (name, one) => {
  test.each([16, 32, 64, 128, 256])('around blocks, workgroups of %i', async (workgroupSize) => {
    await withEngine(one, { workgroupSize }, (engine) => expectSame(name, engine, [...SIZES, workgroupSize - 1, workgroupSize, workgroupSize + 1]))
  })

  test('three levels, and more workgroups than one dimension has', async () => {
    await withEngine(one, { workgroupSize: 16 }, (engine) => expectSame(name, engine, LONG ? [1_048_560, 1_048_561, ...DEEP] : [BLOCK * BLOCK + 1]))
    if (LONG) await withEngine(one, { workgroupSize: 256 }, (engine) => expectSame(name, engine, DEEP))
  })

  test('a wrong scan is noticed: one doubling too few', async () => {
    const right = kernel('scan-blocks').code
    const wrong = right.replace('reach < WORKGROUP_SIZE', 'reach < WORKGROUP_SIZE / 2u')
    expect(wrong).not.toBe(right)
    const kernels = (wanted: string) => wanted === 'scan-blocks' ? { name: wanted, code: wrong, layout: layoutOf(wrong) } : kernel(wanted)
    const values = new Uint32Array(BLOCK).fill(1)
    await withEngine(one, { workgroupSize: compilesSlowly(one) ? 16 : 256, kernels }, async (engine) => {
      expect(sameScan(await onDevice(engine, values), plainly(values))).toBe(false)
    })
  })
})
