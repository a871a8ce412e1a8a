import { describe, expect, test } from 'vitest'
import type { Entry } from '../../src/store/entry.js'
import { Seen } from '../../src/store/seen.js'

const entry = (checksum: number, created = 1, bytes = 20): Entry => {
  const small = Buffer.alloc(bytes)
  small.writeUInt32LE(checksum, 4)
  return { key: 'k', created, expires: Infinity, seconds: NaN, bytes, keep: false, metadata: '', dependsOn: [], small, blob: undefined }
}

describe('entries that were read', () => {
  test('only the very record that was checked counts as checked', () => {
    const seen = new Seen()
    const slot = seen.slot('a', 'k')
    expect(seen.isChecked(slot, entry(7))).toBe(false)
    seen.setChecked(slot, entry(7))
    expect(seen.isChecked(seen.slot('a', 'k'), entry(7))).toBe(true)
    for (const other of [entry(8), entry(7, 2), entry(7, 1, 21), entry(7, 1 + 2 ** 31)]) expect(seen.isChecked(slot, other)).toBe(false)
    for (const [namespace, key] of [['', 'k'], ['a', 'l'], ['', 'ak'], ['ak', '']] as const) expect(seen.isChecked(seen.slot(namespace, key), entry(7))).toBe(false)
  })

  test('a use is new once a minute', () => {
    const seen = new Seen()
    const slot = seen.slot('', 'k')
    const now = 1_700_000_000_000
    expect([0, 1000, 59_000, 60_000, 61_000].map((after) => seen.touch(slot, now + after, 60_000))).toEqual([true, false, false, true, false])
  })

  test('of more than it has room for it keeps most, and takes none for another', () => {
    const seen = new Seen()
    const count = 400_000
    for (let n = 0; n < count; n++) {
      const slot = seen.slot('space', `key_${n}`)
      seen.touch(slot, 1_700_000_000_000 + n, 60_000)
      seen.setChecked(slot, entry(n + 1))
    }
    let kept = 0
    for (let n = 0; n < count; n++) if (seen.isChecked(seen.slot('space', `key_${n}`), entry(n + 1))) kept++
    expect(kept).toBeGreaterThan(100_000)
    for (let n = 0; n < 1000; n++) expect(seen.isChecked(seen.slot('space', `key_${n}`), entry(count + n + 1))).toBe(false)
  })
})
