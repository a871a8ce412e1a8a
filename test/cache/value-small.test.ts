import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { open } from 'lmdb'
import { describe, expect, test } from 'vitest'
import fc from 'fast-check'
import { decodeSmall, digestOfValue, encodeSmall, SMALL_BYTES_MAX } from '../../src/cache/value-small.js'
import { valueTensors } from '../../src/cache/value-blob.js'
import { DEPTH_MAX, RANK_MAX, sizeOfValue, type Value } from '../../src/cache/value.js'
import { IntegrityError } from '../../src/core/errors.js'
import { tempDir } from '../support/temp.js'
import { anyValue, difference, leavesOf } from './values.js'

const encode = (value: unknown): Buffer => encodeSmall(value, Infinity) as Buffer
const sample = { input_ids: Int32Array.of(1, 2, -3), text: 'ß and more', mask: { dtype: 'bool', shape: [1, 3], data: Uint8Array.of(1, 0, 1) }, list: [null, true, false, undefined, -1, 300, 0.5, -0, 2n ** 70n, -5n, '\ud800'] }

/** With the checksum that belongs to it, so that what is behind that gate is looked at. */
function sealed(bytes: Buffer): Buffer {
  if (bytes.length >= 8) bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4)
  return bytes
}

describe('small values', () => {
  test('come back exactly', () => {
    fc.assert(fc.property(anyValue, (value) => {
      const bytes = encode(value)
      const decoded = decodeSmall(bytes)
      expect(difference(decoded, value)).toBeUndefined()
      expect(Buffer.compare(encode(decoded), bytes)).toBe(0)
      expect(Buffer.compare(digestOfValue(decoded), digestOfValue(value))).toBe(0)
    }), { numRuns: 500 })
  })

  test('the bytes of a fixed value', () => {
    expect(createHash('sha256').update(encode(sample)).digest('hex'), 'If this fails, small values of every existing cache cannot be read. Raise the format instead.').toBe('8ba0a00b5295abe5ad511756db62cf07997e9cba8c15fa89c42913137a5e0bb3')
    expect(encode({ a: Int16Array.of(1, -2), b: 'x' }).toString('hex')).toBe('010000007102954c0d0000000c020901612302090162090178000000000000000100feff')
  })

  test('bytes come back as Uint8Array, whatever held them', () => {
    const buffer = Buffer.from('hello')
    for (const given of [buffer, new Uint8Array(buffer), new Uint8Array(buffer).buffer]) {
      const decoded = decodeSmall(encode(given))
      expect(Object.getPrototypeOf(decoded)).toBe(Uint8Array.prototype)
      expect(decoded).toStrictEqual(new Uint8Array(buffer))
    }
  })

  test('holes, missing prototypes and shared members are what the documentation says', () => {
    const shared = [1]
    expect(decodeSmall(encode(Object.assign([1], { 2: 3 })))).toStrictEqual([1, undefined, 3])
    expect(decodeSmall(encode(Object.assign(Object.create(null) as object, { a: 1 })))).toStrictEqual({ a: 1 })
    expect(decodeSmall(encode({ a: shared, b: shared }))).toStrictEqual({ a: [1], b: [1] })
    expect(Object.prototype).not.toHaveProperty('polluted')
    const named = decodeSmall(encode(JSON.parse('{"__proto__":{"polluted":true}}'))) as object
    expect(Object.keys(named)).toEqual(['__proto__'])
    expect(Object.getPrototypeOf(named)).toBe(Object.prototype)
  })

  test('what looks like a tensor and is none is an object', () => {
    for (const value of [{ dtype: 'float32', shape: [2], data: [1, 2] }, { dtype: 'other', shape: [1], data: Int8Array.of(1) }, { dtype: 'int8', shape: [1], data: Int8Array.of(1), name: 'x' }, { shape: [1], data: Int8Array.of(1) }]) {
      expect(difference(decodeSmall(encode(value)), value)).toBeUndefined()
    }
    expect(Object.keys(decodeSmall(encode({ data: Int8Array.of(1), shape: [1], dtype: 'int8' })) as object)).toEqual(['dtype', 'shape', 'data'])
  })

  test('leaves lie at multiples of 8 bytes', () => {
    const bytes = encode([Int8Array.of(1), BigInt64Array.of(0x1122334455667788n), Uint8Array.of(9)])
    expect(bytes.indexOf('8877665544332211', 'hex') % 8).toBe(0)
    expect(bytes.length % 8).toBe(1)
  })

  test('what is handed out is nobody else’s memory', () => {
    const bytes = encode({ a: Int32Array.of(1, 2), b: Uint8Array.of(3), c: { dtype: 'float32', shape: [1], data: Float32Array.of(4) }, d: 'text' })
    const decoded = decodeSmall(bytes)
    const leaves = leavesOf(decoded)
    expect(new Set([bytes.buffer, ...leaves.map((leaf) => leaf.buffer)]).size).toBe(4)
    expect(leaves.map((leaf) => leaf.buffer.byteLength)).toEqual([8, 1, 4])
    const before = structuredClone(decoded)
    bytes.fill(0xff)
    expect(decoded).toStrictEqual(before)
    const source = Int32Array.of(1)
    const encoded = encode(source)
    source[0] = 2
    expect(decodeSmall(encoded)).toStrictEqual(Int32Array.of(1))
    expect(encoded.buffer.byteLength).toBe(encoded.length)
  })

  test('lie anywhere, also in the buffer that LMDB uses again', async () => {
    for (let offset = 0; offset < 9; offset++) {
      const bytes = encode(sample)
      const moved = new Uint8Array(bytes.length + 20)
      moved.set(bytes, offset)
      expect(difference(decodeSmall(moved.subarray(offset, offset + bytes.length)), sample)).toBeUndefined()
    }
    const root = open({ path: tempDir(), encoding: 'binary' })
    try {
      await root.put('a', encode(sample))
      await root.put('b', encode({ other: new Float64Array(100).fill(7) }))
      const a = decodeSmall(root.getBinaryFast('a')!)
      const b = decodeSmall(root.getBinaryFast('b')!)
      expect(difference(a, sample)).toBeUndefined()
      expect(b).toStrictEqual({ other: new Float64Array(100).fill(7) })
    } finally {
      await root.close()
    }
  })

  test('names that come again are the names that were written, however many and in whatever alphabet', () => {
    const named = (prefix: string): Record<string, number> => Object.fromEntries(Array.from({ length: 3000 }, (_, n) => [`${prefix}${n}`, n]))
    const values = ['n', 'é', 'Ã©', 'x'.repeat(31), 'x'.repeat(32)].map(named)
    for (let round = 0; round < 2; round++) for (const value of values) expect(Object.keys(decodeSmall(encode(value)) as object)).toEqual(Object.keys(value))
  })

  test('one that is longer than wanted is undefined', () => {
    expect(encodeSmall(new Uint8Array(SMALL_BYTES_MAX))).toBeUndefined()
    expect(encodeSmall(new Uint8Array(SMALL_BYTES_MAX - 30))!.length).toBeLessThanOrEqual(SMALL_BYTES_MAX)
    fc.assert(fc.property(anyValue, fc.integer({ min: -3, max: 3 }), (value, off) => {
      const whole = encode(value)
      expect(encodeSmall(value, whole.length + off)?.length).toBe(off < 0 ? undefined : whole.length)
    }), { numRuns: 100 })
    for (const value of ['x'.repeat(10 ** 6), Array.from({ length: 10 ** 6 }, () => 1), 2n ** 1_000_000n, [new Uint8Array(20_000), new Uint8Array(20_000)], 'ß'.repeat(20_000)]) {
      expect(encodeSmall(value)).toBeUndefined()
      expect(difference(decodeSmall(encode(value)), value)).toBeUndefined()
    }
  })

  test('a getter that encodes another value does no harm', () => {
    const value = { a: 'before', get b() { return encode({ z: 'x'.repeat(300) }).length }, c: 'after' }
    expect(decodeSmall(encode(value))).toStrictEqual({ a: 'before', b: encode({ z: 'x'.repeat(300) }).length, c: 'after' })
  })
})

describe('damaged small values', () => {
  test('any changed byte and any other length is an IntegrityError', () => {
    const bytes = encode(sample)
    for (let at = 0; at < bytes.length; at++) {
      for (const mask of [1, 0x80, 0xff]) {
        const damaged = Buffer.from(bytes)
        damaged[at]! ^= mask
        expect(() => decodeSmall(damaged, 'the/index')).toThrow(expect.objectContaining({ code: 'E_INTEGRITY', file: 'the/index' }))
      }
      expect(() => decodeSmall(bytes.subarray(0, at))).toThrow(IntegrityError)
    }
    expect(() => decodeSmall(Buffer.concat([bytes, Buffer.alloc(1)]))).toThrow(IntegrityError)
  })

  const attempt = (bytes: Buffer): string => {
    let value: Value
    try {
      value = decodeSmall(sealed(bytes))
    } catch (error) {
      expect(error).toBeInstanceOf(IntegrityError)
      return 'refused'
    }
    expect(leavesOf(value).reduce((sum, leaf) => sum + leaf.byteLength, 0)).toBeLessThanOrEqual(bytes.length)
    return 'decoded'
  }

  test('behind the checksum, every byte changed to anything gives some value or an IntegrityError', () => {
    const bytes = encode(sample)
    const outcomes = { refused: 0, decoded: 0 } as Record<string, number>
    for (let at = 8; at < bytes.length; at++) {
      for (let byte = 0; byte < 256; byte += at < bytes.length - 32 ? 1 : 51) {
        const damaged = Buffer.from(bytes)
        damaged[at] = byte
        outcomes[attempt(damaged)]! += 1
      }
      expect(attempt(Buffer.from(bytes.subarray(0, at)))).toBe('refused')
    }
    expect(outcomes.refused).toBeGreaterThan(100)
    expect(outcomes.decoded).toBeGreaterThan(100)
  })

  test('and so do several changes to any value, and noise', () => {
    fc.assert(fc.property(anyValue, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 6 }), fc.option(fc.nat()), (value, changes, cut) => {
      const bytes = encode(value)
      for (const [at, byte] of changes) bytes[8 + at % (bytes.length - 8)] = byte
      attempt(cut === null ? bytes : Buffer.from(bytes.subarray(0, cut % bytes.length)))
    }), { numRuns: 500 })
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (noise) => {
      const bytes = Buffer.concat([Buffer.alloc(12), noise])
      bytes.writeUInt32LE(1, 0)
      bytes.writeUInt32LE(noise.length, 8)
      attempt(bytes)
    }), { numRuns: 500 })
  })

  const tree = (...bytes: number[]): Buffer => {
    const out = Buffer.concat([Buffer.alloc(12), Uint8Array.from(bytes)])
    out.writeUInt32LE(1, 0)
    out.writeUInt32LE(bytes.length, 8)
    return sealed(out)
  }
  const varint = (value: number): number[] => value < 128 ? [value] : [value % 128 + 128, ...varint(Math.floor(value / 128))]
  const hostile: [string, Buffer, string][] = [
    ['nothing', Buffer.alloc(0), '0 bytes are no value'],
    ['another format', (() => { const out = tree(0); out.writeUInt32LE(2, 0); return out })(), 'format 2 instead of 1'],
    ['a tree longer than all', (() => { const out = tree(0); out.writeUInt32LE(99, 8); return sealed(out) })(), 'the tree ends beyond the end'],
    ['no tree', tree(), 'the tree ends too early'],
    ['two trees', tree(0, 0), 'bytes after the tree'],
    ['a tag that is none', tree(13), '13 where a value begins'],
    ['a dtype that is none', tree(32 + 15), '47 where a value begins'],
    ['an array of bool', tree(32, 0), '32 where a value begins'],
    ['a billion members', tree(11, ...varint(1e9), 0), 'more members than bytes'],
    ['a name that is a number', tree(12, 1, 5, 5, 0), '5 where a name begins'],
    ['a text longer than the tree', tree(9, 100, 65), 'the tree ends too early'],
    ['a leaf longer than all', tree(32 + 2, ...varint(1e12)), 'a leaf ends beyond the end'],
    ['a leaf too large to count', tree(64 + 12, 3, ...varint(2 ** 50), ...varint(2 ** 50), 2), 'a leaf ends beyond the end'],
    ['too many axes', tree(64 + 1, 65, ...Array.from({ length: 65 }, () => 1)), 'a tensor of 65 axes'],
    ['an endless number', tree(5, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1), 'an integer beyond 2^53'],
    ['too many levels', tree(...Array.from({ length: DEPTH_MAX + 1 }, () => [11, 1]).flat(), 0), `more than ${DEPTH_MAX} levels`],
    ['bytes after the leaves', sealed(Buffer.concat([tree(0), Buffer.alloc(8)])), 'bytes after the last leaf'],
  ]
  test.each(hostile)('%s', (_, bytes, message) => {
    expect(() => decodeSmall(bytes)).toThrow(IntegrityError)
    expect(() => decodeSmall(bytes)).toThrow(message)
  })
})

describe('what is no value', () => {
  class Own { a = 1 }
  class List extends Array {}
  const loop: Record<string, unknown> = { a: [] }
  ;(loop.a as unknown[]).push({ back: loop })
  const nested = (levels: number): unknown => levels === 0 ? 1 : { n: nested(levels - 1) }
  const refused: [unknown, string][] = [
    [undefined, 'value is undefined, which a value cannot hold; null says that there is nothing'],
    [{ a: [() => 1] }, 'value.a[0] is a function, which a value cannot hold'],
    [{ a: Symbol('x') }, 'value.a is a symbol'],
    [{ [Symbol('x')]: 1 }, 'value is an object with a symbol for a name'],
    [{ when: new Date() }, 'value.when is an instance of Date, which a value cannot hold; pass date.toISOString()'],
    [[1, new Map()], 'value[1] is an instance of Map, which a value cannot hold; pass Object.fromEntries(map)'],
    [{ 'a b': { c: new Set() } }, 'value["a b"].c is an instance of Set'],
    [new Own(), 'value is an instance of Own'],
    [{ a: new List() }, 'value.a is an array of a class of its own'],
    [{ a: /x/ }, 'value.a is an instance of RegExp'],
    [new Error('x'), 'value is an instance of Error'],
    [{ a: Promise.resolve(1) }, 'value.a is an instance of Promise'],
    [{ a: new DataView(new ArrayBuffer(1)) }, 'value.a is an instance of DataView, which a value cannot hold; pass a Uint8Array'],
    [{ a: new Uint8ClampedArray(1) }, 'value.a is an instance of Uint8ClampedArray, which a value cannot hold; pass a Uint8Array'],
    [{ a: new SharedArrayBuffer(1) }, 'value.a is an instance of SharedArrayBuffer'],
    [loop, 'value.a[0].back is a reference to itself'],
    [nested(DEPTH_MAX + 1), `is nested deeper than ${DEPTH_MAX} levels`],
    [{ t: { dtype: 'float32', shape: [3], data: new Float32Array(2) } }, 'value.t is a float32 tensor of shape [3], whose data are 3 numbers, not 2'],
    [{ t: { dtype: 'complex64', shape: [2], data: new Float32Array(2) } }, 'value.t is a complex64 tensor of shape [2], whose data are 4 numbers, not 2'],
    [{ t: { dtype: 'bfloat16', shape: [2], data: new Float32Array(2) } }, 'value.t is a bfloat16 tensor, whose data lies in a Uint16Array, not in a Float32Array'],
    [{ t: { dtype: 'int8', shape: [1.5], data: new Int8Array(1) } }, 'value.t has the shape [1.5], which is none'],
    [{ t: { dtype: 'int8', shape: ['1'], data: new Int8Array(1) } }, 'value.t has the shape [1], which is none'],
    [{ t: { dtype: 'int8', shape: Array.from({ length: RANK_MAX + 1 }, () => 1), data: new Int8Array(1) } }, `value.t is a tensor of ${RANK_MAX + 1} axes, which a value cannot hold; ${RANK_MAX} at most`],
  ]
  const writers: Record<string, (value: unknown, root?: string) => unknown> = { encodeSmall: (value, root) => encodeSmall(value, Infinity, root), valueTensors, digestOfValue, sizeOfValue }
  test.each(refused)('%# is refused by all that write', (value, message) => {
    for (const write of Object.values(writers)) {
      expect(() => write(value)).toThrow(TypeError)
      expect(() => write(value)).toThrow(message)
      expect(() => write(value, 'put: value')).toThrow(message.startsWith('value') ? `put: ${message}` : message)
    }
  })

  test('and the most that is allowed is not', () => {
    const value = { deep: nested(DEPTH_MAX - 1), wide: { dtype: 'int8', shape: Array.from({ length: RANK_MAX }, () => 1), data: Int8Array.of(5) } }
    expect(difference(decodeSmall(encode(value)), value)).toBeUndefined()
  })

  test('a refusal leaves nothing behind', () => {
    expect(() => encode({ a: 'text', b: () => 1 })).toThrow(TypeError)
    expect(decodeSmall(encode({ c: 1 }))).toStrictEqual({ c: 1 })
  })
})

describe('digestOfValue', () => {
  test('is this for a fixed value', () => {
    expect(digestOfValue(sample).toString('hex'), 'If this fails, digests of values that callers keep are wrong. Raise the format instead.').toBe('5e40fdfbaffa321b0387edd37fa7900af32418453c0a016dbe46fc4a13f47b79')
  })

  test('does not depend on the order of names, on who holds bytes, or on the bits of a NaN', () => {
    const odd = new Float64Array(new BigUint64Array([0xfff8_0000_0000_1234n]).buffer)[0]
    const equal: [unknown, unknown][] = [[{ a: 1, b: { c: 2, d: 3 } }, { b: { d: 3, c: 2 }, a: 1 }], [Buffer.from('a'), Uint8Array.of(97)], [new Uint8Array([97]).buffer, Uint8Array.of(97)], [odd, NaN]]
    for (const [a, b] of equal) expect(digestOfValue(a)).toEqual(digestOfValue(b))
  })

  test('differs where values differ', () => {
    const values: unknown[] = [
      null, true, false, 0, -0, 1, 1n, -1, -1n, '1', '', [], {}, [[]], [1], [1, 1], [null], [undefined], { a: undefined }, { a: null }, { '': null }, NaN, Infinity, 0.5, [Int8Array.of(1)], Int8Array.of(1), Uint8Array.of(1), Int16Array.of(1), Uint16Array.of(1),
      { dtype: 'uint8', shape: [1], data: Uint8Array.of(1) }, { dtype: 'bool', shape: [1], data: Uint8Array.of(1) }, { dtype: 'uint8', shape: [1, 1], data: Uint8Array.of(1) }, { dtype: 'float16', shape: [1], data: Uint16Array.of(1) },
      [Uint8Array.of(1), Uint8Array.of(2, 3)], [Uint8Array.of(1, 2), Uint8Array.of(3)], [Uint8Array.of(1, 2, 3)], { a: Uint8Array.of(1), b: Uint8Array.of(2) }, { a: Uint8Array.of(2), b: Uint8Array.of(1) },
    ]
    expect(new Set(values.map((value) => digestOfValue(value).toString('hex'))).size).toBe(values.length)
  })
})

describe('sizeOfValue', () => {
  test('is the bytes of the arrays and something for the tree', () => {
    expect(sizeOfValue({ input_ids: new Int32Array(1000) })).toBeGreaterThan(4000)
    expect(sizeOfValue({ input_ids: new Int32Array(1000) })).toBeLessThan(4400)
    expect(sizeOfValue(new Uint8Array(new ArrayBuffer(10_000), 0, 10))).toBeLessThan(300)
    expect(sizeOfValue('x'.repeat(1000))).toBeGreaterThanOrEqual(2000)
    expect(sizeOfValue(Array.from({ length: 1000 }, () => 0.5))).toBeGreaterThan(8000)
    fc.assert(fc.property(anyValue, (value) => {
      expect(sizeOfValue(value)).toBeGreaterThanOrEqual(leavesOf(value).reduce((sum, leaf) => sum + leaf.byteLength, 0))
      expect(Number.isSafeInteger(sizeOfValue(value))).toBe(true)
    }), { numRuns: 100 })
  })
})
