// Short forms of test/stress/gpu.test.ts.
import { describe, expect, test } from 'vitest'
import { findAdapters } from '../../src/devices/webgpu/dawn.js'
import { collectGarbage, exitWhileMapping, loseDevices, openAndDestroy, runOutOfMemory } from '../stress/gpu.js'

const names = (await findAdapters()).map(({ facts }) => facts.name)
// SwiftShader compiles slowly: its turn is in the long forms.
const quick = names.filter((name) => !name.startsWith('SwiftShader')).slice(0, 1)

describe.skipIf(quick.length === 0).each(quick)('%s survives', (name) => {
  test('lost devices, at any submit: the CPU computes, with one warning, and a new device is opened', () => loseDevices(name, 15))
  test('too little memory: less at a time, then the CPU', async () => {
    const { asked } = await runOutOfMemory(name)
    expect(asked).toBeGreaterThan(10)
  })
  test('devices that come and go', async () => {
    const { growthBytes } = await openAndDestroy(name, 30)
    expect(growthBytes).toBeLessThan(100 * 2 ** 20)
  })
  test('garbage collected all the time', async () => {
    expect((await collectGarbage(name, 2_000)).runs).toBeGreaterThan(2)
  })
  test.each(['worker', 'main'] as const)('exit while the device works, %s', { timeout: 120_000 }, (thread) => exitWhileMapping(name, thread, 2))
})
