import { describe, expect, test } from 'vitest'
import { callable, checkOptions, lifetime } from '../../src/core/options.js'

describe('checkOptions', () => {
  test.each([null, undefined, 'cb', 7, [], true])('refuses %j, which is no object of options', (given) => {
    expect(() => checkOptions('openCache', given, ['dir', 'memory'])).toThrow(/^openCache: options must be an object of dir, memory, not /)
  })

  test('suggests the name that was meant', () => {
    expect(() => checkOptions('put', { metdata: {} }, ['metadata'])).toThrow('put: misspelled option "metdata" should be "metadata"')
  })

  test.each([null, 5, {}, 'abort', new AbortController()])('a signal must be one, not %s', (signal) => {
    expect(() => checkOptions('get', { signal }, ['signal'])).toThrow('get: signal must be an AbortSignal, not ')
    expect(() => checkOptions('get', { signal: AbortSignal.timeout(1) }, ['signal'])).not.toThrow()
  })
})

test('callable takes functions, and nothing where that is allowed', () => {
  expect(() => callable('get', 'validate', undefined, true)).not.toThrow()
  expect(() => callable('get', 'validate', () => true)).not.toThrow()
  expect(() => callable('getOrCompute', 'compute', 7)).toThrow('getOrCompute: compute must be a function, not 7')
})

test('lifetime takes never', () => {
  expect([lifetime('put', 'expiresIn', 'never'), lifetime('put', 'expiresIn', '1s'), lifetime('put', 'expiresIn', undefined, Infinity)]).toEqual([Infinity, 1000, Infinity])
  expect(() => lifetime('put', 'expiresIn', 'Never')).toThrow(TypeError)
})
