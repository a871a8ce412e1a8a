import { describe, expect, test } from 'vitest'
import { openCache, strategyFor, type Cache } from '../../src/index.js'

// What TypeScript would not let through.
const call = (name: keyof Cache, ...given: unknown[]) => async (cache: Cache): Promise<unknown> => (cache[name] as (...given: unknown[]) => unknown)(...given)

describe('misuse is a TypeError that says what was expected', () => {
  test.each([[null], ['cb'], [[]]])('openCache(%j)', async (given) => {
    await expect(openCache(given as never)).rejects.toThrow(/^openCache: options must be an object of dir, /)
  })

  test.each<[string, (cache: Cache) => Promise<unknown>, RegExp]>([
    ['put(k, v, null)', call('put', 'k', 1, null), /^put: options must be an object/],
    ["put(k, v, 'ns')", call('put', 'k', 1, 'ns'), /^put: options must be an object/],
    ["clear('x')", call('clear', 'x'), /^clear: options must be an object/],
    ['prune()', call('prune'), /^prune: options must be an object/],
    ["getMany('k')", call('getMany', 'k'), /^getMany: keys must be a list of texts, not "k"/],
    ['compute', call('getOrCompute', 'k', 7), /^getOrCompute: compute must be a function, not 7/],
    ['validate', call('get', 'k', { validate: true }), /^get: validate must be a function, not true/],
    ['validate of many', call('getMany', ['k'], { validate: 'x' }), /^getMany: validate must be a function/],
    ['signal', call('get', 'k', { signal: {} }), /^get: signal must be an AbortSignal, not a Object/],
  ])('%s', async (_, use, message) => {
    const cache = await openCache({ dir: null })
    await expect(use(cache)).rejects.toThrow(TypeError)
    await expect(use(cache)).rejects.toThrow(message)
    await cache.close()
  })

  test('strategyFor()', () => {
    expect(() => strategyFor(undefined as never)).toThrow(/^strategyFor: options must be an object of items, /)
  })
})

test("a value may outlive the cache's expiresIn", async () => {
  const cache = await openCache({ dir: null, expiresIn: '1h' })
  await cache.put('for ever', 1, { expiresIn: 'never' })
  await cache.put('an hour', 1)
  expect((await cache.get('for ever'))!.expires).toBeUndefined()
  expect((await cache.get('an hour'))!.expires).toBeInstanceOf(Date)
  await cache.close()
})
