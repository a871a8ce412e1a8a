import { chmodSync, existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, vi } from 'vitest'
import { npz } from '../../src/index.js'
import { verifyStore } from '../../src/store/verify.js'
import { range, smallCache, steps, writeRows } from '../support/data.js'

/**
 * Flips `count` single bits, one at a time, anywhere in the blobs of a cache. Every flip must be noticed by a full verification, and a reader must get the right
 * bytes (healed) whether or not the flip lies in what it reads. Gives how many flips the reader met.
 */
export async function flipBits(dir: string, count: number): Promise<{ met: number }> {
  const file = join(dir, 'a.npz')
  writeRows(file, range(0, 40), 512)
  const read = async (): Promise<string> => {
    const cache = await smallCache(join(dir, 'cache'))
    const source = await npz(file)
    const dataset = await cache.dataset(source, steps)
    const parts: Buffer[] = []
    for await (const batch of dataset.batches({ size: 16, shuffle: true, seed: 5 })) parts.push(Buffer.from(batch.x.data.slice().buffer), Buffer.from(batch.y.data.slice().buffer))
    source.close()
    await cache.close()
    return Buffer.concat(parts).toString('base64')
  }
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
  const expected = await read()
  const root = join(dir, 'cache/blobs')
  const blobs = (): string[] => readdirSync(root).flatMap((folder) => readdirSync(join(root, folder)).map((name) => join(root, folder, name))).sort()
  let state = 12345
  const random = (below: number): number => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor(state / 2 ** 32 * below)
  }
  let met = 0
  for (let k = 0; k < count; k++) {
    const list = blobs()
    const victim = list[random(list.length)]!
    const good = readFileSync(victim)
    const bad = Buffer.from(good)
    const at = random(bad.length)
    bad[at]! ^= 1 << random(8)
    chmodSync(victim, 0o644)
    writeFileSync(victim, bad)
    const cache = await smallCache(join(dir, 'cache'))
    const report = await verifyStore(cache.store)
    await cache.close()
    expect(report.damaged.map(({ path }) => path), `bit ${at} of ${victim}`).toEqual([victim])
    const before = warn.mock.calls.length
    expect(await read(), `byte ${at} of ${victim}`).toBe(expected)
    if (warn.mock.calls.length > before) met++
    // Where the reader met the flip it put the good bytes back, or a new manifest in its place; where it did not, this does.
    if (!existsSync(victim)) continue
    chmodSync(victim, 0o644)
    writeFileSync(victim, good)
    chmodSync(victim, 0o444)
  }
  warn.mockRestore()
  return { met }
}
