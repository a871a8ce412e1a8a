import { beforeEach, describe, expect, test, vi } from 'vitest'
import { killFix, KILLS, killReindex, killTransfer } from '../trust/kills.js'
import { tempDir } from '../support/temp.js'
import { canTrace } from './support.js'

beforeEach(() => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
})

describe.skipIf(!canTrace())('killed at a system call, and run again', () => {
  test('verify --fix', { timeout: 300_000 }, async () => expect(await killFix(tempDir(), KILLS)).toBeGreaterThan(5))
  test('reindex', { timeout: 300_000 }, async () => expect(await killReindex(tempDir(), KILLS)).toBeGreaterThan(5))
  test.each(['backup', 'restore'] as const)('%s', { timeout: 300_000 }, async (what) => expect(await killTransfer(tempDir(), what, KILLS)).toBeGreaterThan(8))
})
