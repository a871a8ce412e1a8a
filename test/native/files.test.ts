import { spawnSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { native } from '../../src/native/load.js'

const addon = native()
let dir: string
beforeAll(() => { dir = mkdtempSync(join(tmpdir(), 'tensorcache-files-')) })
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')

async function write(segments: Uint8Array[], chunkBytes: number): Promise<{ sha256: string; checksums: string; bytes: number; content: Buffer }> {
  const path = join(dir, 'blob')
  const fd = openSync(path, 'w')
  try {
    const { sha256, checksums, bytes } = await addon.writeBlob(fd, segments, chunkBytes)
    return { sha256: hex(sha256), checksums: hex(checksums), bytes, content: readFileSync(path) }
  } finally {
    closeSync(fd)
  }
}

/** Cuts `content` into segments of the given lengths, the last one taking the rest. */
function cut(content: Uint8Array, lengths: number[]): Uint8Array[] {
  let at = 0
  return [...lengths, Infinity].map((length) => content.subarray(at, at = Math.min(content.length, at + length)))
}

describe('writeBlob', () => {
  test.each<[string, number, number[], number]>([
    ['nothing', 0, [], 64],
    ['empty segments only', 0, [0, 0], 64],
    ['one byte', 1, [], 64],
    ['segments that end inside chunks', 1000, [0, 1, 62, 1, 0, 0, 63, 65, 500], 64],
    ['a chunk larger than the file', 1000, [10], 4096],
    ['chunks of one byte', 100, [33], 1],
    ['the sizes that start a second thread', 256 * 1024, [1], 65536],
    ['many small segments', 50_000, Array.from({ length: 3000 }, (_, k) => k % 23), 4096],
    ['more than one piece, unevenly', 5_000_011, [3, 2_500_000, 0, 1_048_577], 1 << 20],
    ['enough to start writing back early', 40_000_000, [17_000_000, 5], 1 << 18],
  ])('%s', async (_, size, lengths, chunk) => {
    const content = randomBytes(size)
    const written = await write(cut(content, lengths), chunk)
    expect(written.bytes).toBe(size)
    expect(written.content.equals(content)).toBe(true)
    expect(written.sha256).toBe(createHash('sha256').update(content).digest('hex'))
    expect(written.checksums).toBe(hex(await addon.xxh64Chunks(content, chunk)))
  })

  test.each([1, 1000, 10_000_000])('a full disk is ENOSPC (%i bytes)', async (size) => {
    const fd = openSync('/dev/full', 'w')
    await expect(addon.writeBlob(fd, [new Uint8Array(size)], 4096)).rejects.toMatchObject({ code: 'ENOSPC', message: expect.stringContaining('byte 0') })
    closeSync(fd)
  })

  test('a descriptor that cannot be written is EBADF', async () => {
    writeFileSync(join(dir, 'readonly'), '')
    const fd = openSync(join(dir, 'readonly'), 'r')
    await expect(addon.writeBlob(fd, [new Uint8Array(10)], 4096)).rejects.toMatchObject({ code: 'EBADF' })
    closeSync(fd)
  })

  test('a write that stops half-way is continued, and its error is told', () => {
    const child = fileURLToPath(new URL('./files.child.cjs', import.meta.url))
    // The limit lies inside the second piece: the kernel writes up to it and refuses the next byte.
    const run = (bytes: number): unknown => JSON.parse(spawnSync('bash', ['-c', 'trap "" XFSZ; ulimit -f 1500; exec "$@"', 'bash', process.execPath, child, join(dir, 'limited'), String(bytes)], { encoding: 'utf8' }).stdout)
    expect(run(1_536_000)).toEqual({ right: true })
    expect(run(1_536_001)).toEqual({ code: 'EFBIG', message: expect.stringContaining('byte 1536000'), size: 1_536_000 })
  })

  test('misuse is refused before anything is written', () => {
    const fd = openSync(join(dir, 'unused'), 'w')
    expect(() => addon.writeBlob(fd, [new Uint8Array(1)], 0)).toThrow(RangeError)
    expect(() => addon.writeBlob(fd, [new Uint8Array(1), new Float32Array(1) as never], 64)).toThrow(TypeError)
    expect(() => addon.writeBlob(-1, [new Uint8Array(1)], 64)).toThrow(RangeError)
    closeSync(fd)
    expect(statSync(join(dir, 'unused')).size).toBe(0)
  })
})

describe('space', () => {
  test.runIf(process.platform === 'linux')('fallocate takes blocks, with and without the size', () => {
    const path = join(dir, 'ahead')
    const fd = openSync(path, 'w+')
    expect(addon.allocatedBytes(fd)).toBe(0)
    expect(addon.fallocate(fd, 0, 1 << 20, true)).toBe(0)
    expect(statSync(path).size).toBe(0)
    expect(addon.allocatedBytes(fd)).toBeGreaterThanOrEqual(1 << 20)
    expect(addon.fallocate(fd, 1 << 20, 1 << 20, false)).toBe(0)
    expect(statSync(path).size).toBe(2 << 20)
    closeSync(fd)
    const readonly = openSync(path, 'r')
    expect(addon.fallocate(readonly, 0, 1, true)).toBe(9)
    closeSync(readonly)
  })

  test.runIf(process.platform === 'linux')('the file system\'s magic number', () => {
    expect(addon.fileSystemType('/proc')).toBe(0x9fa0)
    expect(() => addon.fileSystemType(join(dir, 'absent'))).toThrow(expect.objectContaining({ code: 'ENOENT' }))
  })
})

describe('fsyncPath', () => {
  test('takes files and folders', async () => {
    writeFileSync(join(dir, 'synced'), 'x')
    await addon.fsyncPath(join(dir, 'synced'))
    await addon.fsyncPath(dir)
  })
  test('a missing one is ENOENT', async () => {
    await expect(addon.fsyncPath(join(dir, 'absent'))).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

test.runIf(process.platform === 'linux' && ['x64', 'arm64'].includes(process.arch))('lmdb does not overrun the message of a failed write', async () => {
  await import('lmdb')
  // False once the package is mended, or another build of it calls something else: then the guard is to be looked at again.
  expect(addon.guardLmdb()).toBe(true)
})
