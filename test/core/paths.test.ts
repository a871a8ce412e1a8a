import { existsSync, mkdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { makeFolder, overlap, realPath } from '../../src/core/paths.js'
import { openCache } from '../../src/index.js'
import { tempDir } from '../support/temp.js'

describe('makeFolder', () => {
  test('makes what is missing, and again nothing', () => {
    const path = join(tempDir(), 'a/b/c')
    makeFolder(path)
    makeFolder(path)
    expect(statSync(path).isDirectory()).toBe(true)
    symlinkSync(path, join(path, '../d'))
    makeFolder(join(path, '../d/e'))
    expect(existsSync(join(path, 'e'))).toBe(true)
  })

  test('fails where a file is in the way, or links lead nowhere', () => {
    const dir = tempDir()
    writeFileSync(join(dir, 'file'), '')
    symlinkSync(join(dir, 'nowhere'), join(dir, 'link'))
    expect(() => makeFolder(join(dir, 'file'))).toThrow(/EEXIST/)
    expect(() => makeFolder(join(dir, 'file/a'))).toThrow(/ENOTDIR/)
    expect(() => makeFolder(join(dir, 'link'))).toThrow(/ENOENT/)
  })

  test.skipIf(process.platform !== 'linux')('fails where no folder can be made, instead of trying for ever', async () => {
    expect(() => makeFolder('/proc/tensorcache/a')).toThrow(/ENOENT/)
    await expect(openCache({ dir: '/proc/tensorcache' })).rejects.toMatchObject({ code: 'E_STORE' })
  })
})

test('folders overlap as they are, not as they are written', () => {
  const dir = tempDir()
  mkdirSync(join(dir, 'real'))
  symlinkSync(join(dir, 'real'), join(dir, 'link'))
  expect(realPath(join(dir, 'link/later'))).toBe(join(realPath(dir), 'real/later'))
  expect(overlap(join(dir, 'link/a'), join(dir, 'real'))).toBe(true)
  expect(overlap(join(dir, 'real'), join(dir, 'real2'))).toBe(false)
})
