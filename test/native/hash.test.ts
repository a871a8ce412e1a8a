import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 as zlibCrc32 } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { native } from '../../src/native/load.js'

const addon = native()
let dir: string
beforeAll(() => { dir = mkdtempSync(join(tmpdir(), 'tensorcache-hash-')) })
afterAll(() => rmSync(dir, { recursive: true, force: true }))

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex')
const sha = (...parts: Uint8Array[]): string => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest('hex')
}
const ascii = (text: string): Uint8Array => new TextEncoder().encode(text)

/** The same bytes at `shift` bytes behind an aligned address, with other bytes on both sides. */
function misaligned(content: Uint8Array, shift: number): Uint8Array {
  const room = new Uint8Array(content.length + 64).fill(0xa5)
  room.set(content, shift)
  return room.subarray(shift, shift + content.length)
}

/** XXH64 as the specification says it, with bigints. */
function xxh64Reference(data: Uint8Array): bigint {
  const [p1, p2, p3, p4, p5] = [0x9e3779b185ebca87n, 0xc2b2ae3d27d4eb4fn, 0x165667b19e3779f9n, 0x85ebca77c2b2ae63n, 0x27d4eb2f165667c5n] as [bigint, bigint, bigint, bigint, bigint]
  const wrap = (x: bigint): bigint => BigInt.asUintN(64, x)
  const rotl = (x: bigint, r: bigint): bigint => wrap(x << r) | (x >> (64n - r))
  const round = (acc: bigint, lane: bigint): bigint => wrap(rotl(wrap(acc + lane * p2), 31n) * p1)
  const read = (at: number, bytes: number): bigint => {
    let value = 0n
    for (let k = bytes - 1; k >= 0; k--) value = value << 8n | BigInt(data[at + k]!)
    return value
  }
  let at = 0
  let acc = p5
  if (data.length >= 32) {
    const lanes = [wrap(p1 + p2), p2, 0n, wrap(-p1)]
    for (; at + 32 <= data.length; at += 32) for (let k = 0; k < 4; k++) lanes[k] = round(lanes[k]!, read(at + 8 * k, 8))
    acc = wrap(rotl(lanes[0]!, 1n) + rotl(lanes[1]!, 7n) + rotl(lanes[2]!, 12n) + rotl(lanes[3]!, 18n))
    for (const lane of lanes) acc = wrap((acc ^ round(0n, lane)) * p1 + p4)
  }
  acc = wrap(acc + BigInt(data.length))
  for (; at + 8 <= data.length; at += 8) acc = wrap(rotl(acc ^ round(0n, read(at, 8)), 27n) * p1 + p4)
  for (; at + 4 <= data.length; at += 4) acc = wrap(rotl(acc ^ wrap(read(at, 4) * p1), 23n) * p2 + p3)
  for (; at < data.length; at++) acc = wrap(rotl(acc ^ wrap(read(at, 1) * p5), 11n) * p1)
  acc = wrap((acc ^ (acc >> 33n)) * p2)
  acc = wrap((acc ^ (acc >> 29n)) * p3)
  return acc ^ (acc >> 32n)
}

const xxhBytes = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(value)
  return bytes
}

describe('sha256', () => {
  test.each([
    // FIPS 180-4 examples (NIST CSRC).
    ['', 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'],
    ['abc', 'ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad'],
    ['abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq', '248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1'],
    ['a'.repeat(1_000_000), 'cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0'],
  ])('published example %#', async (text, expected) => {
    expect(hex(await addon.sha256(ascii(text)))).toBe(expected)
  })

  test('every length to 300, at every alignment', async () => {
    for (let size = 0; size <= 300; size++) {
      const content = randomBytes(size)
      expect(hex(await addon.sha256(misaligned(content, size % 17))), `${size} bytes`).toBe(sha(content))
    }
  })
})

describe('Sha256', () => {
  test('does not depend on how the message is cut', async () => {
    const content = randomBytes(1000)
    for (const step of [1, 3, 63, 64, 65, 127, 128, 999]) {
      const hash = new addon.Sha256()
      await hash.update(new Uint8Array(0))
      for (let at = 0; at < 1000; at += step) await hash.update(content.subarray(at, at + step))
      expect(hex(hash.digest()), `steps of ${step}`).toBe(sha(content))
    }
  })

  test('reads ranges of files', async () => {
    const content = randomBytes(1_000_003)
    writeFileSync(join(dir, 'file'), content)
    const file = new addon.MappedFile(join(dir, 'file'))
    const hash = new addon.Sha256()
    await hash.updateFile(file, 17, 999_000)
    await hash.updateFile(file, 0, 0)
    await hash.update(ascii('tail'))
    expect(hex(hash.digest())).toBe(sha(content.subarray(17, 999_017), ascii('tail')))
    expect(() => new addon.Sha256().updateFile(file, 0, 1_000_004)).toThrow(RangeError)
    expect(() => new addon.Sha256().updateFile({} as never, 0, 1)).toThrow(TypeError)
  })

  test('a file that has become shorter is an error, and there is no digest', async () => {
    writeFileSync(join(dir, 'shrinks'), randomBytes(600_000))
    const file = new addon.MappedFile(join(dir, 'shrinks'))
    truncateSync(join(dir, 'shrinks'), 300_000)
    const hash = new addon.Sha256()
    await expect(hash.updateFile(file, 0, 600_000)).rejects.toMatchObject({ code: 'EFAULT' })
    expect(() => hash.digest()).toThrow(/failed/)
    expect(() => hash.update(ascii('more'))).toThrow(/failed/)
  })

  test('overlapping updates are refused, and the first one counts', async () => {
    const content = new Uint8Array(20_000_000).fill(3)
    const hash = new addon.Sha256()
    const first = hash.update(content)
    expect(() => hash.update(content)).toThrow(expect.objectContaining({ code: 'ERR_BUSY' }))
    expect(() => hash.digest()).toThrow(expect.objectContaining({ code: 'ERR_BUSY' }))
    await first
    expect(hex(hash.digest())).toBe(sha(content))
    expect(() => hash.digest()).toThrow(expect.objectContaining({ code: 'ERR_FINISHED' }))
  })
})

describe('sha256Rows', () => {
  test.each([[0, 1], [1, 1], [7, 1], [7, 2], [1000, 3]])('%i rows on %i threads', async (rows, threads) => {
    const [a, b, shared] = [randomBytes(rows * 37), randomBytes(rows * 4096), randomBytes(100)]
    const digests = await addon.sha256Rows(rows, [{ data: a, stride: 37 }, { data: shared, stride: 0 }, { data: b, stride: 4096 }], threads)
    expect(digests.length).toBe(rows * 32)
    for (let row = 0; row < rows; row++) {
      expect(hex(digests.subarray(row * 32, row * 32 + 32)), `row ${row}`).toBe(sha(a.subarray(row * 37, row * 37 + 37), shared, b.subarray(row * 4096, row * 4096 + 4096)))
    }
  })

  test('every row length to 300, with an odd number of rows', async () => {
    for (let size = 1; size <= 300; size++) {
      const rows = 3
      const data = misaligned(randomBytes(rows * size), size % 13)
      const digests = await addon.sha256Rows(rows, [{ data, stride: size }], 1)
      for (let row = 0; row < rows; row++) expect(hex(digests.subarray(row * 32, row * 32 + 32)), `row ${row} of ${size} bytes`).toBe(sha(data.subarray(row * size, row * size + size)))
    }
  })

  test('rows that are not all there are refused', () => {
    expect(() => addon.sha256Rows(4, [{ data: new Uint8Array(15), stride: 4 }], 1)).toThrow(RangeError)
    expect(() => addon.sha256Rows(4, [{ data: new Uint8Array(15), stride: -1 }], 1)).toThrow(RangeError)
    expect(() => addon.sha256Rows(4, [{ data: new Float32Array(15) as never, stride: 1 }], 1)).toThrow(TypeError)
  })
})

describe('xxh64', () => {
  test.each([
    // From the documentation of xxHash and of its Python binding.
    ['', 0xef46db3751d8e999n],
    ['a', 0xd24ec4f1a98c6e5bn],
    ['abc', 0x44bc2cf5ad770999n],
    ['Nobody inspects the spammish repetition', 0xfbcea83c8a378bf1n],
  ])('published value %#', (text, expected) => {
    expect(addon.xxh64(ascii(text))).toBe(expected)
    expect(xxh64Reference(ascii(text))).toBe(expected)
  })

  test('every length to 300, at every alignment', () => {
    for (let size = 0; size <= 300; size++) {
      const content = randomBytes(size)
      expect(addon.xxh64(misaligned(content, size % 17)), `${size} bytes`).toBe(xxh64Reference(content))
    }
  })

  test.each([[0, 64], [1, 64], [64, 64], [65, 64], [1000, 64], [1000, 1], [1000, 7], [1000, 1000], [1000, 2 ** 40]])('%i bytes in chunks of %d', async (size, chunk) => {
    const content = randomBytes(size)
    const expected: Buffer[] = []
    for (let at = 0; at < size; at += chunk) expected.push(xxhBytes(xxh64Reference(content.subarray(at, at + chunk))))
    expect(hex(await addon.xxh64Chunks(content, chunk))).toBe(hex(Buffer.concat(expected)))
  })

  test('chunks of nothing are refused', () => {
    expect(() => addon.xxh64Chunks(new Uint8Array(1), 0)).toThrow(RangeError)
  })
})

describe('crc32', () => {
  test('the check value of the catalogue', () => {
    expect(addon.crc32(ascii('123456789'))).toBe(0xcbf43926)
  })

  test('every length to 300, at every alignment, and continued', () => {
    for (let size = 0; size <= 300; size++) {
      const content = randomBytes(size)
      const expected = crc32Reference(content)
      expect(addon.crc32(misaligned(content, size % 17)), `${size} bytes`).toBe(expected)
      const cut = Math.floor(size / 3)
      expect(addon.crc32(content.subarray(cut), addon.crc32(content.subarray(0, cut))), `${size} bytes cut at ${cut}`).toBe(expected)
    }
  })

  test.skipIf(zlibCrc32 === undefined)('a long message, as zlib has it', () => {
    const content = randomBytes(1_000_001)
    expect(addon.crc32(content)).toBe(zlibCrc32(content))
  })
})

function crc32Reference(data: Uint8Array): number {
  let state = 0xffffffff
  for (const byte of data) {
    state ^= byte
    for (let bit = 0; bit < 8; bit++) state = state >>> 1 ^ ((state & 1) === 1 ? 0xedb88320 : 0)
  }
  return (state ^ 0xffffffff) >>> 0
}
