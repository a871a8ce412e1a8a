import { expect, test } from 'vitest'
import { duration } from '../../src/core/options.js'

test.each([['500ms', 500], ['90s', 90_000], ['30m', 1_800_000], ['24h', 86_400_000], ['7d', 604_800_000], ['1.5h', 5_400_000], [' 2 h ', 7_200_000], ['0s', 0], [250, 250], [0.4, 0], [0, 0]])('%j is %d ms', (given, ms) => {
  expect(duration('put', 'expiresIn', given)).toBe(ms)
})

test('has a fallback', () => {
  expect(duration('put', 'expiresIn', undefined, 7)).toBe(7)
})

test.each(['', '24', 'h', '24H', '30M', '1w', '-1h', '1e3s', '1h30m', '99999999999999d', 'Infinity', -1, -0.1, NaN, Infinity, 1e300, 5n, null, undefined, {}, new Date()])('refuses %s', (given) => {
  expect(() => duration('put', 'expiresIn', given)).toThrow(TypeError)
  expect(() => duration('put', 'expiresIn', given)).toThrow('put: expiresIn must be milliseconds or a duration such as 500ms, 90s, 30m, 24h or 7d, not ')
})
