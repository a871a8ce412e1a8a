import { writeFileSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { bytesOf, typedArray } from '../../src/core/tensor.js'
import { createCpuDevice } from '../../src/devices/cpu.js'
import { digestOf, edgeBytes, MINIATURES, SEARCHES } from '../../src/devices/webgpu/canary.js'
import { GOLDEN } from '../../src/devices/webgpu/golden.js'
import { NEAREST, nearestMiniature } from '../../src/devices/webgpu/nearest-miniature.js'
import { native } from '../../src/native/load.js'
import { interpret } from '../reference/interpret.js'
import { runNative } from './compare.js'
import { referenceNearest } from './nearest.reference.js'
import { referenceEdges } from './neighbors.reference.js'

const WRITE = process.env.TENSORCACHE_WRITE_GOLDEN === '1'
const FILE = new URL('../../src/devices/webgpu/golden.ts', import.meta.url)

function expectGolden(name: string, digest: string): void {
  if (WRITE) {
    const text = readFileSync(FILE, 'utf8').split('\n').filter((line) => !line.startsWith(`  '${name}'`))
    text.splice(text.lastIndexOf('}'), 0, `  '${name}': '${digest}',`)
    writeFileSync(FILE, text.join('\n'))
  } else {
    expect(digest, 'If this fails, kernels give other results than before, and every cache that holds such results disagrees. Raise the ops\' versions.').toBe(GOLDEN[name])
  }
}

describe('the canary knows what is right', () => {
  test.each(Object.keys(MINIATURES))('%s: the reference and every instruction set give the golden bytes', async (name) => {
    const { program, count, inputs } = MINIATURES[name]!()
    const arrays = inputs.map((bytes, k) => typedArray(program.values[program.inputs[k]!.value]!.dtype, bytes.buffer, 0, bytes.byteLength))
    const expected = interpret(program, count, arrays)
    expect(expected.faults, 'a miniature has no faults').toEqual([])
    // Outputs that were all zero would say nothing.
    for (const output of expected.outputs) expect(new Set(bytesOf(output)).size).toBeGreaterThan(1)
    const digest = digestOf(expected.outputs.map(bytesOf))
    expectGolden(name, digest)
    for (const isa of native().isaAvailable()) {
      const { outputs } = await runNative(program, count, arrays, isa, 2, 0)
      expect(digestOf(outputs.map(bytesOf)), isa).toBe(digest)
    }
  })

  test.each(Object.keys(SEARCHES))('%s: the CPU finds the golden edges', (name) => {
    const { searches, crystals } = SEARCHES[name]!()
    const found = searches.map((search) => referenceEdges(search, crystals))
    for (const { edges, faulty } of found) {
      expect(faulty).toEqual([])
      expect(edges.source.length).toBeGreaterThan(500)
    }
    expectGolden(name, digestOf(found.flatMap(({ edges }) => edgeBytes(edges))))
  })

  test(`${NEAREST}: the reference and the CPU find the golden points`, async () => {
    const { points, at, ks } = nearestMiniature()
    const expected = ks.flatMap((k) => { const { index, squared } = referenceNearest(points, at, k); return [index, squared].map(bytesOf) })
    expectGolden(NEAREST, digestOf(expected))
    const cpu = createCpuDevice({ threads: 2 })
    const found: Uint8Array[] = []
    for (const k of ks) {
      const { index, squared } = await cpu.nearest(points, at, k)
      found.push(bytesOf(index), bytesOf(squared))
    }
    expect(digestOf(found)).toBe(digestOf(expected))
    await cpu.close()
  })
})
