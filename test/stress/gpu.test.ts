// The long forms of test/devices/survival.test.ts: minutes.
import { describe, expect, test } from 'vitest'
import { findAdapters } from '../../src/devices/webgpu/dawn.js'
import { collectGarbage, exitWhileMapping, loseDevices, openAndDestroy, runOutOfMemory } from './gpu.js'

const names = (await findAdapters()).map(({ facts }) => facts.name)

describe.skipIf(names.length === 0).each(names)('%s, long forms', (name) => {
  test('1,000 lost devices', () => loseDevices(name, 1000))
  test('1,000 devices opened and destroyed', async () => {
    const { growthBytes } = await openAndDestroy(name, 1000)
    expect(growthBytes).toBeLessThan(200 * 2 ** 20)
  })
  test('garbage collected every 50 ms', async () => {
    expect((await collectGarbage(name, 30_000)).runs).toBeGreaterThan(20)
  })
  test('out of memory', () => runOutOfMemory(name))
  test.each(['worker', 'main'] as const)('exit while the device works, %s', (thread) => exitWhileMapping(name, thread, 10))
})
