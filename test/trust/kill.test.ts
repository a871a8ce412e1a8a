// Short form of test/stress/trust.test.ts.
import { beforeEach, describe, expect, test, vi } from 'vitest'
import { canTrace } from '../stress/support.js'
import { tempDir } from '../support/temp.js'
import { killFix, killReindex, killTransfer } from './kills.js'

beforeEach(() => {
  vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined)
})

describe.skipIf(!canTrace())('killed at a system call, and run again', () => {
  test('verify --fix', { timeout: 60_000 }, async () => expect(await killFix(tempDir(), [['rename', 2], ['fsync', 3]])).toBeGreaterThan(0))
  test('reindex', { timeout: 60_000 }, async () => expect(await killReindex(tempDir(), [['rename', 1], ['unlink', 1]])).toBeGreaterThan(0))
  test('backup', { timeout: 60_000 }, async () => expect(await killTransfer(tempDir(), 'backup', [['rename', 2], ['unlink', 1]])).toBeGreaterThan(1))
  test('restore', { timeout: 60_000 }, async () => expect(await killTransfer(tempDir(), 'restore', [['rename', 1], ['fsync', 1]])).toBeGreaterThan(1))
})
