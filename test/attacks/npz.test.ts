import { deflateRawSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { FormatError, UnsupportedError } from '../../src/core/errors.js'
import { openArrays } from '../../src/sources/arrays.js'
import { npz } from '../../src/sources/npz.js'
import { random } from '../sources/random.js'
import { file, npyBytes, npyHeader, pattern, zipBytes, type Facts, type Member, type ZipForm } from '../sources/write.js'
import { expectRefused, use } from './refuse.js'

const ARRAY = npyBytes(pattern('int32', [50, 4]))
const one = (member: Partial<Member> = {}, form?: ZipForm): string => file('x.npz', zipBytes([{ name: 'x.npy', bytes: ARRAY, ...member }], form))
const named = (...names: string[]): string => file('x.npz', zipBytes(names.map((name) => ({ name, bytes: ARRAY }))))
const both = (facts: Partial<Facts>): Partial<Member> => ({ local: facts, central: facts })

test('the file these attacks start from is sound', async () => {
  for (const member of [{}, { deflate: true }, { deflate: true, streamed: true } as const]) await use(one(member))
})

describe('.npz: end records', () => {
  test('empty but for a signature', () => expectRefused(file('x.npz', Buffer.from('PK\x05\x06')), /end record/))
  test('cut off', () => expectRefused(file('x.npz', zipBytes([{ name: 'x.npy', bytes: ARRAY }]).subarray(0, -1)), /end record/))
  test('junk appended', () => expectRefused(one({}, { after: Buffer.alloc(10) }), /end record/))
  test('junk before the first member', () => expectRefused(one({}, { before: Buffer.alloc(10), end: { offset: 0 } }), /directory|signature/))
  test('a comment longer than the file', () => expectRefused(one({}, { end: { commentBytes: 65_535 } }), /end record/))
  test('more entries than there are', () => expectRefused(one({}, { end: { entries: 2 } }), /directory/))
  test('fewer entries than there are', () => expectRefused(one({}, { end: { entries: 0 } }), /directory/))
  test('a directory that leaves the file', () => expectRefused(one({}, { end: { offset: 0x7fffffff } }), /directory/))
  test('a directory of 4 GiB', () => expectRefused(one({}, { end: { bytes: 0xfffffffe } }), /directory/))
  test('a directory that ends early', () => expectRefused(one({}, { end: { bytes: 50 } }), /directory/))
  test('a file of several parts', () => expectRefused(one({}, { end: { disk: 1 } }), /end record/))
  test('a zip64 end record that is none', () => {
    const bytes = zipBytes([{ name: 'x.npy', bytes: ARRAY }], { zip64: true })
    bytes.writeUInt32LE(0, bytes.length - 22 - 20 - 56)
    return expectRefused(file('x.npz', bytes), /zip64/)
  })
  for (const [what, at, value] of [['offset beyond the file', 8, 2n ** 40n], ['offset of 2^64 - 1', 8, 2n ** 64n - 1n]] as const) {
    test(`a zip64 locator with an ${what}`, () => {
      const bytes = zipBytes([{ name: 'x.npy', bytes: ARRAY }], { zip64: true })
      bytes.writeBigUInt64LE(value, bytes.length - 22 - 20 + at)
      return expectRefused(file('x.npz', bytes), /zip64/)
    })
  }
  for (const [what, at] of [['entries', 32], ['bytes', 40], ['offset', 48]] as const) {
    test(`a zip64 end record with 2^63 ${what}`, () => {
      const bytes = zipBytes([{ name: 'x.npy', bytes: ARRAY }], { zip64: true })
      const record = bytes.length - 22 - 20 - 56
      bytes.writeBigUInt64LE(2n ** 63n, record + at)
      if (at === 32) bytes.writeBigUInt64LE(2n ** 63n, record + 24)
      return expectRefused(file('x.npz', bytes), /zip64|directory/)
    })
  }
  test('a million entries claimed', () => {
    const bytes = zipBytes([{ name: 'x.npy', bytes: ARRAY }], { zip64: true })
    for (const at of [24, 32]) bytes.writeBigUInt64LE(1_000_000n, bytes.length - 22 - 20 - 56 + at)
    return expectRefused(file('x.npz', bytes), /directory/)
  })
  test('end records that disagree', () => expectRefused(one({}, { zip64: true, end: { entries: 3 } }), /end record/))
})

describe('.npz: names', () => {
  for (const name of ['../x.npy', 'a/../../x.npy', '..', '/etc/x.npy', 'C:/x.npy', 'c:x.npy', 'a\\x.npy', 'x\0.npy', 'x\n.npy', '']) {
    test(JSON.stringify(name), () => expectRefused(named(name), /directory, entry 0/))
  }
  test('twice', () => expectRefused(named('x.npy', 'y.npy', 'x.npy'), /each name once/))
  test('one array twice', () => expectRefused(named('x.npy', 'x'), /each array once/))
  test('bytes of no known encoding', () => expectRefused(one(both({ name: 'é.npy' })), /ASCII/))
  test('marked as UTF-8 and none', () => {
    const bytes = zipBytes([{ name: 'éé.npy', bytes: ARRAY, ...both({ flags: 1 << 11 }) }])
    for (let at = bytes.indexOf('éé'); at >= 0; at = bytes.indexOf('éé')) bytes[at] = 0xff
    return expectRefused(file('x.npz', bytes), /UTF-8/)
  })
  test('marked as UTF-8 and sound', () => use(one(both({ name: 'é.npy', flags: 1 << 11 }))))
  test('names that only look like paths are labels', async () => {
    expect(Object.keys(await openArrays(named('a/b.npy', 'a..b.npy', '__proto__.npy', 'constructor.npy')))).toEqual(['a/b', 'a..b', '__proto__', 'constructor'])
  })
})

describe('.npz: members', () => {
  test('encrypted', () => expectRefused(one(both({ flags: 1 })), /encrypted/, UnsupportedError))
  test('strongly encrypted', () => expectRefused(one(both({ flags: 1 << 6 })), /flags/, UnsupportedError))
  for (const method of [1, 9, 12, 14, 93, 99]) test(`compression method ${method}`, () => expectRefused(one(both({ method })), /method/, UnsupportedError))
  test('said to be stored, with two sizes', () => expectRefused(one(both({ bytes: ARRAY.length + 1 })), /declared size/))
  test('stored bytes beyond the directory', () => expectRefused(one(both({ bytes: 2 ** 31, storedBytes: 2 ** 31 })), /directory/))
  test('stored bytes that end in the directory', () => expectRefused(one(both({ bytes: ARRAY.length + 1, storedBytes: ARRAY.length + 1 })), /byte/))
  test('an offset beyond the file', () => expectRefused(one({ central: { offset: 0x7fffffff } }), /byte/))
  test('an offset into the middle of a member', () => expectRefused(one({ central: { offset: 3 } }), /signature|byte/))
  test('a local header that is none', () => expectRefused(one({ local: { signature: 0 } }), /signature/))
  test('an entry of the directory that is none', () => expectRefused(one({ central: { signature: 0 } }), /signature/))
  test('a local name that differs', () => expectRefused(one({ local: { name: 'y.npy' } }), /local header/))
  test('a local name longer than the file', () => {
    const bytes = zipBytes([{ name: 'x.npy', bytes: ARRAY }])
    bytes.writeUInt16LE(65_535, 26)
    return expectRefused(file('x.npz', bytes), /local header/)
  })
  for (const [what, facts] of Object.entries<Partial<Facts>>({ method: { method: 8 }, flags: { flags: 8 }, 'CRC-32': { crc: 1 }, 'compressed size': { storedBytes: 5 }, size: { bytes: 5 } })) {
    test(`a local ${what} that differs`, () => expectRefused(one({ local: facts }), /local header/))
  }
  test('an extra field longer than all of them', () => expectRefused(one(both({ extra: Buffer.from([1, 0, 255, 0]) })), /extra field/))
  test('a zip64 size without its field', () => expectRefused(one({ central: { bytes: 0xffffffff } }), /zip64/))
  test('a zip64 field too short', () => expectRefused(one({ central: { bytes: 0xffffffff, extra: Buffer.from([1, 0, 4, 0, 0, 0, 0, 0]) } }), /zip64/))
  test('a zip64 size of 2^64 - 1', () => expectRefused(one({ central: { bytes: 0xffffffff, storedBytes: 0xffffffff, extra: Buffer.from([1, 0, 16, 0, ...Array<number>(16).fill(255)]) } }), /at most/))
  test('two zip64 fields', () => expectRefused(one({ zip64: true, central: { extra: Buffer.from([1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0]) } }), /zip64/))
  test('another part', () => {
    const bytes = zipBytes([{ name: 'x.npy', bytes: ARRAY }])
    bytes.writeUInt16LE(3, bytes.lastIndexOf('PK\x01\x02') + 34)
    return expectRefused(file('x.npz', bytes), /part/)
  })
  for (const descriptor of [{ crc: 1 }, { storedBytes: 1 }, { bytes: 1 }]) {
    for (const streamed of [true, 'unsigned', 'zip64'] as const) {
      test(`a data descriptor (${String(streamed)}) that differs: ${Object.keys(descriptor)[0]}`, () => expectRefused(one({ deflate: true, streamed, descriptor }), /descriptor/))
    }
  }
  test('no data descriptor where one should be', () => expectRefused(one({ local: { flags: 8 }, central: { flags: 8 } }), /descriptor/))
})

describe('.npz: members that overlap', () => {
  test('two entries for one member', () => expectRefused(file('x.npz', zipBytes([{ name: 'x.npy', bytes: ARRAY }, { name: 'y.npy', bytes: ARRAY, central: { offset: 0 } }])), /byte/))
  test('one inside the data of another', () => {
    const inner = zipBytes([{ name: 'y.npy', bytes: ARRAY }])
    const outer = npyBytes({ dtype: 'uint8', shape: [inner.length], data: new Uint8Array(inner) })
    const start = 30 + 'x.npy'.length + outer.length - inner.length
    return expectRefused(file('x.npz', zipBytes([{ name: 'x.npy', bytes: outer }, { name: 'y.npy', bytes: ARRAY, central: { offset: start } }])), /byte/)
  })
  test('a thousand entries quoting one kernel of zeros', () => {
    const zeros = Buffer.alloc(2 ** 20)
    const members = Array.from({ length: 1000 }, (_, k) => ({ name: `${k}.npy`, bytes: zeros, deflate: true, central: k === 0 ? {} : { offset: 0 } }))
    return expectRefused(file('x.npz', zipBytes([members[0]!, ...members.slice(1).map((member) => ({ ...member, stored: Buffer.alloc(0), central: { offset: 0, storedBytes: 1050 } }))])), /byte/)
  }, 30_000)
})

describe('.npz: bombs and damaged data', () => {
  const zeros = (rows: number): Buffer => Buffer.concat([npyHeader(`{'descr': '|u1', 'fortran_order': False, 'shape': (${rows},), }`), Buffer.alloc(rows)])
  test('more than deflate can give', () => expectRefused(one({ deflate: true, ...both({ bytes: 2 ** 31 }) }), /at most/))
  test('a petabyte from a few bytes', () => {
    const extra = Buffer.alloc(12)
    extra.writeUInt16LE(1, 0)
    extra.writeUInt16LE(8, 2)
    extra.writeBigUInt64LE(2n ** 50n, 4)
    return expectRefused(one({ deflate: true, central: { bytes: 0xffffffff, extra } }), /at most/)
  })
  test('an array of gigabytes is opened, and read by rows, without inflating it whole', async () => {
    // 1 GiB of zeros as one fixed-code stream is too slow to make here; 64 MiB show the same.
    const raw = zeros(64 * 2 ** 20)
    const path = file('x.npz', zipBytes([{ name: 'x.npy', bytes: raw, deflate: true }]))
    const before = process.memoryUsage().rss
    const { x } = await openArrays(path)
    expect((await x!.read({ start: 63 * 2 ** 20, stop: 63 * 2 ** 20 + 10 })).data).toEqual(new Uint8Array(10))
    expect(process.memoryUsage().rss - before).toBeLessThan(32 * 2 ** 20)
  })
  test('a stream longer than declared', () => expectRefused(one({ bytes: ARRAY, stored: deflateRawSync(Buffer.concat([ARRAY, Buffer.alloc(1)])), ...both({ method: 8 }) }), /more than/))
  test('a stream shorter than declared', () => expectRefused(one({ stored: deflateRawSync(ARRAY.subarray(0, -1)), ...both({ method: 8 }) }), /ends after/))
  test('a stream cut off', () => expectRefused(one({ stored: deflateRawSync(ARRAY).subarray(0, -3), ...both({ method: 8 }) }), /ends early/))
  test('a stream with bytes behind it', () => expectRefused(one({ stored: Buffer.concat([deflateRawSync(ARRAY), Buffer.alloc(1)]), ...both({ method: 8 }) }), /ends after/))
  test('no stream', () => expectRefused(one({ stored: Buffer.alloc(0), ...both({ method: 8 }) }), /at most 0/))
  test('a wrong CRC of a stored member', () => expectRefused(one(both({ crc: 0x12345678 })), /CRC-32/))
  test('a wrong CRC of a deflated member', () => expectRefused(one({ deflate: true, ...both({ crc: 0x12345678 }) }), /CRC-32/))
  test('a wrong CRC of an empty array', () => expectRefused(one({ bytes: npyBytes(pattern('int8', [0])), ...both({ crc: 0x12345678 }) }), /CRC-32/))
  test('a wrong CRC of a Fortran-ordered array', async () => {
    for (const deflate of [false, true]) await expectRefused(one({ bytes: npyBytes(pattern('int32', [50, 4]), { fortran: true }), deflate, ...both({ crc: 0x12345678 }) }), /CRC-32/)
  })
  test('a wrong CRC is noticed when the last range has been read, in any order, and stays so', async () => {
    for (const deflate of [false, true]) {
      const { x } = await openArrays(one({ deflate, ...both({ crc: 0x12345678 }) }))
      await x!.read({ start: 20, stop: 30 })
      await x!.read({ start: 0, stop: 25 })
      await expect(x!.read({ start: 25, stop: 50 })).rejects.toThrow(FormatError)
      await expect(x!.read({ start: 0, stop: 1 })).rejects.toThrow(FormatError)
      const { x: cast } = await openArrays(one({ deflate, ...both({ crc: 0x12345678 }) }))
      await expect(cast!.cast('float64').read()).rejects.toThrow(FormatError)
    }
  })
  test('a damaged array does not keep its neighbours from being read', async () => {
    const path = file('x.npz', zipBytes([{ name: 'bad.npy', bytes: ARRAY, ...both({ crc: 1 }) }, { name: 'good.npy', bytes: ARRAY }]))
    const { good, bad } = await openArrays(path)
    await good!.read()
    await expect(bad!.read()).rejects.toThrow(FormatError)
  })
  test('a header inside a member that lies', () => expectRefused(one({ bytes: Buffer.concat([npyHeader('{\'descr\': \'<i4\', \'fortran_order\': False, \'shape\': (4294967296, 4), }'), Buffer.alloc(800)]), deflate: true }), /data/))
  test('a source refuses what openArrays refuses', async () => { await expect(npz(one({ local: { crc: 1 } }))).rejects.toThrow(FormatError) })
})

test('.npz: any bytes changed, or any cut, is read or refused, never worse', async () => {
  const wholes = [{}, { deflate: true }, { deflate: true, streamed: true } as const, { zip64: true }].map((member) => zipBytes([{ name: 'x.npy', bytes: ARRAY.subarray(0, 128 + 800), ...member }, { name: 'y.npy', bytes: npyBytes(pattern('int8', [9])), ...member }], { zip64: 'zip64' in member }))
  const draw = random(32)
  let refused = 0
  for (let k = 0; k < 800; k++) {
    const whole = wholes[draw(wholes.length)]!
    let bytes = Buffer.from(whole)
    if (k % 4 === 0) bytes = bytes.subarray(0, draw(bytes.length))
    else for (let times = 1 + draw(3); times > 0; times--) bytes[draw(2) === 0 ? bytes.length - 1 - draw(Math.min(300, bytes.length)) : draw(bytes.length)] = draw(3) === 0 ? 255 : draw(256)
    await use(file('x.npz', bytes)).catch((error: { code?: string }) => {
      refused++
      expect(['E_FORMAT', 'E_UNSUPPORTED'], String(error)).toContain(error.code)
    })
  }
  expect(refused).toBeGreaterThan(400)
})
