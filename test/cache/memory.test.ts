import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MemoryTier, type Remembered } from '../../src/cache/memory.js'
import { Slab, SLAB_BYTES, Slabs } from '../../src/cache/slab.js'

const held = (value: unknown, bytes: number, slab?: Slab): Remembered => ({ value, metadata: {}, created: 0, expires: Infinity, seconds: NaN, size: bytes, bytes, slab, noted: 0, hit: undefined })

describe('the memory tier', () => {
  test('what was used longest ago goes first, whatever happens in between', () => {
    const name = fc.record({ namespace: fc.constantFrom('', 'a'), key: fc.constantFrom('p', 'q', 'r', 's') })
    const action = fc.oneof(
      fc.record({ kind: fc.constant('set' as const), at: name, bytes: fc.integer({ min: 0, max: 60 }) }),
      fc.record({ kind: fc.constantFrom('get' as const, 'delete' as const, 'peek' as const), at: name, bytes: fc.constant(0) }),
    )
    fc.assert(fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const tier = new MemoryTier({ bytes: 100, items: 5 })
      // A Map keeps the order in which names came.
      const model = new Map<string, number>()
      for (const { kind, at: { namespace, key }, bytes } of actions) {
        const id = `${namespace}/${key}`
        if (kind === 'get') {
          expect(tier.get(namespace, key)?.value).toBe(model.has(id) ? id : undefined)
          const had = model.get(id)
          if (had !== undefined && model.delete(id)) model.set(id, had)
        } else if (kind === 'peek') {
          expect(tier.peek(namespace, key)?.value).toBe(model.has(id) ? id : undefined)
        } else if (kind === 'delete') {
          expect(tier.delete(namespace, key)).toBe(model.delete(id))
        } else {
          tier.set(namespace, key, held(id, bytes))
          model.delete(id)
          model.set(id, bytes)
          const sum = (): number => [...model.values()].reduce((a, b) => a + b, 0)
          while (sum() > 100 || model.size > 5) model.delete(model.keys().next().value!)
        }
        expect(tier.items).toBe(model.size)
        expect(tier.bytes).toBe([...model.values()].reduce((a, b) => a + b, 0))
        expect([...tier.keys('').map((key) => `/${key}`), ...tier.keys('a').map((key) => `a/${key}`)].sort()).toEqual([...model.keys()].sort())
      }
    }), { numRuns: 300 })
  })

  test('a slab counts whole as long as one of its values is held, and goes with the last', () => {
    let evictions = 0
    const tier = new MemoryTier({ bytes: 3 * SLAB_BYTES, items: 100 }, { kept: () => undefined, evicted: () => { evictions++ } })
    const slabs = [new Slab(), new Slab(), new Slab()]
    tier.set('', 'a', held('a', 100, slabs[0]))
    tier.set('', 'b', held('b', 100, slabs[0]))
    expect(tier.bytes).toBe(SLAB_BYTES + 200)
    tier.set('', 'c', held('c', 100, slabs[1]))
    expect(tier.get('', 'a')!.value).toBe('a')
    // Of b, c, a the first two have to go: a alone keeps the slab that it shares with b.
    tier.set('', 'd', held('d', 100, slabs[2]))
    expect([tier.items, tier.bytes, evictions]).toEqual([2, 2 * SLAB_BYTES + 200, 2])
    expect(tier.delete('', 'a')).toBe(true)
    expect(tier.bytes).toBe(SLAB_BYTES + 100)
    expect(tier.clear()).toBe(1)
    expect([tier.items, tier.bytes]).toEqual([0, 0])
  })

  test('clear takes the namespaces that are meant', () => {
    const tier = new MemoryTier({ bytes: 1000, items: 100 })
    for (const namespace of ['a', 'b', 'a/c']) tier.set(namespace, 'k', held(namespace, 10))
    expect(tier.clear((name) => name.startsWith('a'))).toBe(2)
    expect(tier.get('b', 'k')!.value).toBe('b')
    expect([tier.items, tier.bytes]).toEqual([1, 10])
  })
})

describe('slabs', () => {
  test('what was handed out is never written over, begins at a multiple of 8 and shares nothing when it is large', () => {
    const slabs = new Slabs()
    const source = new Uint8Array(8192)
    const given = Array.from({ length: 500 }, (_, n) => {
      const bytes = n % 50 === 0 ? 5000 : n * 37 % 4097
      source.fill(n % 251, 3, 3 + bytes)
      const { buffer, offset } = slabs.copy(source, 3, 3 + bytes)
      source.fill(255)
      expect(offset % 8).toBe(0)
      expect(buffer.byteLength).toBe(bytes > SLAB_BYTES / 4 ? bytes : SLAB_BYTES)
      expect(slabs.last === undefined).toBe(bytes > SLAB_BYTES / 4)
      return { n, view: new Uint8Array(buffer, offset, bytes) }
    })
    for (const { n, view } of given) expect(view.every((byte) => byte === n % 251)).toBe(true)
  })
})
