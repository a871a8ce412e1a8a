import { describe, expect, test } from 'vitest'
import type { RemoteTier } from '../../src/index.js'

async function namesIn(tier: RemoteTier, prefix: string): Promise<string[]> {
  const names: string[] = []
  for await (const name of tier.list(prefix)) names.push(name)
  return names.sort()
}

/** What every remote tier promises. `fresh` makes an empty one. */
export function testTier(kind: string, fresh: () => RemoteTier | Promise<RemoteTier>): void {
  describe(`the tier "${kind}"`, () => {
    test('gives what was put, the last of it, and undefined where there is nothing', async () => {
      const tier = await fresh()
      expect(await tier.get('entries/a/=00')).toBeUndefined()
      const bytes = Uint8Array.of(1, 2, 3)
      await tier.put('entries/a/=00', bytes)
      bytes[0] = 9
      expect([...(await tier.get('entries/a/=00'))!]).toEqual([1, 2, 3])
      await tier.put('entries/a/=00', new Uint8Array(0))
      expect([...(await tier.get('entries/a/=00'))!]).toEqual([])
      await tier.delete('entries/a/=00')
      await tier.delete('entries/a/=00')
      expect(await tier.get('entries/a/=00')).toBeUndefined()
    })

    test('lists what begins with a prefix and nothing else', async () => {
      const tier = await fresh()
      const names = ['entries/=1', 'entries/a/=1', 'entries/a/=2', 'entries/a/b/=1', 'entries/ab/=1', 'entries/a%20b/=1', 'blobs/ab/abcd']
      for (const name of names) await tier.put(name, Uint8Array.of(1))
      expect(await namesIn(tier, 'entries/a/')).toEqual(['entries/a/=1', 'entries/a/=2', 'entries/a/b/=1'])
      expect(await namesIn(tier, 'entries/')).toEqual(names.slice(0, 6).sort())
      expect(await namesIn(tier, 'entries/c/')).toEqual([])
    })

    test('many at once, whole or not at all', async () => {
      const tier = await fresh()
      const content = (k: number): Uint8Array => new Uint8Array(100_000).fill(k)
      const writes = Array.from({ length: 20 }, (_, k) => tier.put(`blobs/00/${k % 2}`, content(k)))
      const reads = Array.from({ length: 20 }, async (_, k) => {
        const found = await tier.get(`blobs/00/${k % 2}`)
        if (found !== undefined) expect([found.length, found.every((byte) => byte === found[0])]).toEqual([100_000, true])
      })
      await Promise.all([...writes, ...reads])
      expect(await namesIn(tier, 'blobs/')).toEqual(['blobs/00/0', 'blobs/00/1'])
    })
  })
}
