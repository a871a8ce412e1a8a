import { execFileSync, spawnSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DTYPES, type DType } from '../../src/core/dtype.js'
import { FormatError, IntegrityError } from '../../src/core/errors.js'
import { native } from '../../src/native/load.js'
import { checkCompression, declareShuffled, FRAME_BYTES, readShuffled, shuffleElement, type Codec, type Compression, type FrameIndex, type Shuffled } from '../../src/store/compression.js'
import { FrameCache } from '../../src/store/frame-cache.js'
import { FrameReader } from '../../src/store/frame-reader.js'
import { readFrameIndex } from '../../src/store/frame-scan.js'
import { FrameWriter } from '../../src/store/frame-writer.js'
import { encodeBlob } from '../../src/store/shard-format.js'
import { tempDir } from '../support/temp.js'

/** What this machine lacks: zstd on Node 20 without libzstd. */
const MISSING = new Map((['lz4', 'zstd', 'gzip'] as const).map((codec, code) => [codec, native().missingCodec(code)]))
const CODECS = [...MISSING].filter(([, missing]) => missing === undefined).map(([codec]) => codec)
test.each([...MISSING])('%s is there, or what it lacks is named', (codec, missing) => {
  if (missing === undefined) expect(checkCompression('test', codec)).toMatchObject({ codec })
  else expect(missing).toContain(codec)
})
const withoutZstd = MISSING.get('zstd') !== undefined
const MIB = 2 ** 20
const dir = tempDir()
let files = 0

/** Counts with noise in the low bits: neither trivial nor incompressible. */
function sample(bytes: number, seed = 1): Uint8Array {
  const out = new Uint8Array(bytes)
  let state = seed
  for (let i = 0; i < bytes; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    out[i] = i % 4 === 0 ? state >>> 28 : i % 4 === 1 ? i >>> 12 : 0
  }
  return out
}

/** The bytes in uneven parts, some of them empty. */
function cut(bytes: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [new Uint8Array(0)]
  for (let at = 0, step = 1; at < bytes.length; at += step, step = step * 3 % 1_500_007) parts.push(bytes.subarray(at, at + step), new Uint8Array(0))
  return parts
}

function compression(codec: Codec, facts: Partial<Compression> = {}): Compression {
  return { ...checkCompression('test', codec)!, ...facts }
}

async function compress(parts: readonly Uint8Array[], how: Compression, shuffled: readonly Shuffled[] = []): Promise<{ bytes: Buffer; index: FrameIndex }> {
  const writer = new FrameWriter(parts, how, { shuffled })
  const pieces: Buffer[] = []
  for await (const piece of writer) pieces.push(Buffer.from(piece))
  return { bytes: Buffer.concat(pieces), index: writer.index }
}

/** Writes the bytes to a file and lets `work` have it mapped. */
async function mapped<T>(bytes: Uint8Array, work: (file: InstanceType<ReturnType<typeof native>['MappedFile']>) => T | Promise<T>): Promise<T> {
  const path = join(dir, `${files++ % 8}.frames`)
  writeFileSync(path, bytes)
  const file = new (native().MappedFile)(path)
  try {
    return await work(file)
  } finally {
    file.close()
  }
}

async function readAll(bytes: Uint8Array, index?: FrameIndex, shuffled: readonly Shuffled[] = []): Promise<Buffer> {
  return mapped(bytes, async (file) => {
    const reader = new FrameReader(file, index ?? readFrameIndex(file))
    reader.declareShuffled(shuffled)
    const out = Buffer.alloc(reader.bytes)
    await reader.read(0, out)
    return out
  })
}

const TOOLS: Readonly<Record<Codec, readonly string[]>> = { lz4: ['lz4', '-dc'], zstd: ['zstd', '-dc'], gzip: ['gzip', '-dc'] }
const installed = (codec: Codec): boolean => spawnSync(TOOLS[codec][0]!, ['--version'], { stdio: 'ignore' }).status === 0
function unpacked(codec: Codec, bytes: Uint8Array): Buffer {
  const [name, ...args] = TOOLS[codec]
  return execFileSync(name!, args, { input: bytes, maxBuffer: 2 ** 28 })
}

describe('options', () => {
  test.skipIf(withoutZstd)('names, defaults and levels', () => {
    expect(checkCompression('cache', undefined)).toBeUndefined()
    expect(checkCompression('cache', 'none')).toBeUndefined()
    expect(checkCompression('cache', { codec: 'none' })).toBeUndefined()
    expect(checkCompression('cache', 'lz4')).toEqual({ codec: 'lz4', level: 1, shuffle: false })
    expect(checkCompression('cache', 'zstd')).toEqual({ codec: 'zstd', level: 3, shuffle: false })
    expect(checkCompression('cache', { codec: 'gzip', level: 9, shuffle: true })).toEqual({ codec: 'gzip', level: 9, shuffle: true })
  })
  test('what is refused', () => {
    const refused = (value: unknown, message: RegExp): void => expect(() => checkCompression('cache', value)).toThrow(expect.objectContaining({ name: 'TypeError', message: expect.stringMatching(message) as string }))
    refused('brotli', /compression must be one of none, lz4, zstd, gzip, not "brotli"/)
    refused(3, /name of a codec or an object, not 3/)
    refused(null, /not null/)
    refused(['zstd'], /not \["zstd"\]/)
    refused({}, /compression.codec must be one of/)
    refused({ codec: 'zstd', lvl: 3 }, /unknown option "lvl"|misspelled option "lvl"/)
    refused({ codec: 'zstd', level: 20 }, /level must be an integer from 1 to 19/)
    refused({ codec: 'lz4', level: 0 }, /level must be an integer from 1 to 12/)
    refused({ codec: 'gzip', shuffle: 1 }, /shuffle must be true or false/)
    refused({ codec: 'none', level: 1 }, /says nothing without a codec/)
  })
})

describe('byte shuffle', () => {
  /** The definition in docs/formats/store.md, one byte at a time. */
  function reference(bytes: Uint8Array, element: number): Uint8Array {
    const count = Math.floor(bytes.length / element)
    const out = bytes.slice()
    for (let i = 0; i < count; i++) for (let b = 0; b < element; b++) out[b * count + i] = bytes[i * element + b]!
    return out
  }

  test.each(native().isaAvailable())('%s: every length around the blocks, at odd addresses, and nothing past the end', (isa) => {
    native().isaForce(isa)
    try {
      for (const element of [2, 4, 8]) {
        for (const length of [0, 1, 3, 7, 8, 9, 15, 16, 17, 31, 63, 64, 65, 127, 255, 1023, 511 * element, 512 * element - 1, 512 * element, 512 * element + 1, 513 * element, 1600 * element + 3]) {
          for (const shift of [0, 1, 5]) {
            const memory = sample(length + 16, length + 7)
            const source = memory.subarray(shift, shift + length)
            const [there, back] = [new Uint8Array(length + 16).fill(0xa5), new Uint8Array(length + 16).fill(0xa5)]
            native().shuffleBytes(source, element, there.subarray(8 - shift, 8 - shift + length))
            native().unshuffleBytes(there.subarray(8 - shift, 8 - shift + length), element, back.subarray(shift, shift + length))
            const wanted = new Uint8Array(length + 16).fill(0xa5)
            wanted.set(reference(source, element), 8 - shift)
            if (Buffer.compare(there, wanted) !== 0) expect.fail(`shuffle of ${length} bytes by ${element}`)
            wanted.fill(0xa5).set(source, shift)
            if (Buffer.compare(back, wanted) !== 0) expect.fail(`unshuffle of ${length} bytes by ${element}`)
          }
        }
      }
    } finally {
      native().isaForce(undefined)
    }
  })

  test('the reference can fail', () => expect(reference(Uint8Array.of(1, 2, 3, 4, 5), 2)).toEqual(Uint8Array.of(1, 3, 2, 4, 5)))

  test.each(CODECS)('%s: in each frame by itself, cut where tensors and frames are', async (codec) => {
    // Ranges that begin and end inside frames and inside elements, one that spans three frames, and an empty one.
    const shuffled = [{ begin: 100, end: 100, element: 8 }, { begin: 4096, end: 4096 + 1001, element: 2 }, { begin: 5097, end: 2 * MIB + 333, element: 4 }, { begin: 2 * MIB + 400, end: 3 * MIB, element: 8 }]
    const plain = sample(3 * MIB + 77)
    const { bytes, index } = await compress(cut(plain), compression(codec, { shuffle: true }), shuffled)
    const wanted = plain.slice()
    for (const { begin, end, element } of shuffled) {
      for (let at = begin; at < end;) {
        const to = Math.min(end, (Math.floor(at / MIB) + 1) * MIB)
        wanted.set(reference(plain.subarray(at, to), element), at)
        at = to
      }
    }
    expect(Buffer.compare(await readAll(bytes, index), wanted), 'as the tools see it').toBe(0)
    expect(Buffer.compare(await readAll(bytes, index, shuffled), plain), 'as we read it').toBe(0)
    const unshuffled = await compress([plain], compression(codec), shuffled)
    expect(Buffer.compare(await readAll(unshuffled.bytes), plain), 'without the option').toBe(0)
  })

  test('a shuffled tensor is declared as bytes, and found again', () => {
    const { dtype, shape, note } = declareShuffled({ name: 'x', dtype: 'complex128', shape: [3, 2] })
    expect([dtype, shape, note]).toEqual(['uint8', [96], ['shuffle.x', '{"dtype":"complex128","shape":[3,2]}']])
    const stored = new Map([['x', { dtype, shape, offset: 4096, bytes: 96 }], ['y', { dtype: 'int8' as const, shape: [1], offset: 4192, bytes: 1 }]])
    const { tensors, shuffled } = readShuffled('f', stored, Object.fromEntries([note]))
    expect(tensors.get('x')).toEqual({ dtype: 'complex128', shape: [3, 2], offset: 4096, bytes: 96 })
    expect(tensors.get('y')).toBe(stored.get('y'))
    expect(shuffled).toEqual([{ begin: 4096, end: 4192, element: 8 }])
    for (const wrong of ['{', 'null', '{}', '{"dtype":"float32","shape":[25]}', '{"dtype":"uint8","shape":[96]}', '{"dtype":"float32","shape":[-24]}', '{"dtype":"float32","shape":["24"]}', '{"dtype":"floaty","shape":[24]}']) {
      expect(() => readShuffled('f', stored, { 'shuffle.x': wrong }), wrong).toThrow(FormatError)
    }
    expect(() => readShuffled('f', stored, { 'shuffle.z': note[1] })).toThrow(FormatError)
    const elements = Object.keys(DTYPES).map((name) => shuffleElement(name as DType))
    expect(elements).toEqual([undefined, undefined, undefined, 2, 2, 4, 4, 8, 8, 2, 2, 4, 8, 4, 8])
  })
})

describe.each(CODECS)('%s', (codec) => {
  const sizes = [0, 1, MIB - 1, MIB, MIB + 1, 10 * MIB + 7]

  test.each(sizes)('round trip of %i bytes, with and without the index', async (size) => {
    const plain = sample(size)
    for (const element of [0, 2, 4, 8]) {
      const shuffled = element === 0 ? [] : [{ begin: 0, end: size, element }]
      const { bytes, index } = await compress(cut(plain), compression(codec, { shuffle: element > 0 }), shuffled)
      expect(index.ends.length).toBe(Math.max(1, Math.ceil(size / FRAME_BYTES)))
      expect(Buffer.compare(await readAll(bytes, index, shuffled), plain)).toBe(0)
      await mapped(bytes, (file) => expect(readFrameIndex(file)).toEqual(index))
    }
  })

  test('the same bytes whatever parts they come in, and small', async () => {
    const plain = sample(3 * MIB + 5)
    const [whole, parts] = [await compress([plain], compression(codec)), await compress(cut(plain), compression(codec))]
    expect(whole.bytes.equals(parts.bytes)).toBe(true)
    expect(whole.bytes.length).toBeLessThan(plain.length / 2)
  })

  test('bytes that nothing can compress grow by less than a thousandth', async () => {
    const plain = new Uint8Array(2 * MIB)
    fillRandom(plain)
    const { bytes, index } = await compress([plain], compression(codec))
    expect(bytes.length).toBeLessThan(plain.length * 1.001)
    expect(Buffer.compare(await readAll(bytes, index), plain)).toBe(0)
  })

  test('levels', async () => {
    const plain = sample(MIB + 3)
    const top = { lz4: 12, zstd: 19, gzip: 9 }[codec]
    const [low, high] = [await compress([plain], compression(codec, { level: 1 })), await compress([plain], compression(codec, { level: top }))]
    expect(high.bytes.length).toBeLessThan(low.bytes.length)
    for (const { bytes, index } of [low, high]) expect(Buffer.compare(await readAll(bytes, index), plain)).toBe(0)
  })

  const has = installed(codec)
  test.skipIf(!has)(`the tool ${TOOLS[codec].join(' ')} gives the plain file${has ? '' : ' (not installed)'}`, async () => {
    for (const size of sizes) {
      const plain = sample(size)
      const { bytes } = await compress([plain], compression(codec))
      expect(Buffer.compare(unpacked(codec, bytes), plain), `${size} bytes`).toBe(0)
    }
  })

  test('ranges are the plain bytes', async () => {
    const plain = sample(5 * MIB + 999)
    const shuffled = [{ begin: 4096, end: 3 * MIB + 4096, element: 4 }]
    const { bytes, index } = await compress([plain], compression(codec, { shuffle: true }), shuffled)
    await mapped(bytes, async (file) => {
      const readers = [0, 1, 4].map((frames) => new FrameReader(file, index, { cache: new FrameCache(frames * FRAME_BYTES) }))
      for (const reader of readers) reader.declareShuffled(shuffled)
      const range = fc.tuple(fc.nat(plain.length), fc.oneof(fc.nat(100), fc.nat(3 * MIB)))
      await fc.assert(fc.asyncProperty(fc.array(range, { minLength: 1, maxLength: 4 }), fc.constantFrom(...readers), async (ranges, reader) => {
        // At the same time, so that they meet in the kept frames.
        await Promise.all(ranges.map(async ([offset, length]) => {
          const out = new Uint8Array(Math.min(length, plain.length - offset))
          await reader.read(offset, out)
          expect(Buffer.compare(out, plain.subarray(offset, offset + out.length))).toBe(0)
        }))
      }), { numRuns: 25 })
    })
  })

  test('only the frames of a range are read', async () => {
    const plain = sample(6 * MIB)
    const { bytes, index } = await compress([plain], compression(codec))
    // Damage in every frame but the third.
    bytes.fill(0xff, 0, index.ends[1]!).fill(0xff, index.ends[2]!)
    await mapped(bytes, async (file) => {
      const reader = new FrameReader(file, index)
      const out = new Uint8Array(1000)
      await reader.read(2 * MIB + 5, out)
      expect(Buffer.compare(out, plain.subarray(2 * MIB + 5, 2 * MIB + 1005))).toBe(0)
      await expect(reader.read(3 * MIB - 5, out)).rejects.toThrow(new RegExp(`frame 3 at byte ${index.ends[2]} is damaged`))
      // What failed is not kept, and does not spoil what is.
      await expect(reader.read(3 * MIB - 5, out)).rejects.toThrow(IntegrityError)
      await reader.read(3 * MIB - 1000, out)
      expect(Buffer.compare(out, plain.subarray(3 * MIB - 1000, 3 * MIB))).toBe(0)
    })
  })

  test('small reads in a row decompress a frame once', async () => {
    const plain = sample(2 * MIB)
    const { bytes, index } = await compress([plain], compression(codec))
    await mapped(bytes, async (file) => {
      const reader = new FrameReader(file, index)
      const out = new Uint8Array(4096)
      await reader.read(0, out)
      // The file's pages are ours alone: what is decompressed after this is damaged.
      new Uint8Array(file.view(0, file.size)).fill(0)
      for (let at = 0; at < MIB; at += out.length) {
        await reader.read(at, out)
        expect(Buffer.compare(out, plain.subarray(at, at + out.length))).toBe(0)
      }
      await expect(reader.read(MIB, out)).rejects.toThrow(IntegrityError)
    })
  })

  // --- damage ----------------------------------------------------------------------------------------------------------

  test('every flipped byte is an error or changes nothing', async () => {
    const plain = sample(700)
    const { bytes, index } = await compress([plain], compression(codec))
    let errors = 0
    for (let at = 0; at < bytes.length; at++) {
      for (const known of [index, undefined]) {
        const damaged = Buffer.from(bytes)
        damaged[at]! ^= 1 << at % 8
        const result = await readAll(damaged, known).catch((error: unknown) => error)
        if (result instanceof FormatError || result instanceof IntegrityError) errors++
        else if (!(result instanceof Buffer)) throw result
        else if (Buffer.compare(result, plain) !== 0) expect.fail(`byte ${at}: other bytes without an error`)
      }
    }
    expect(errors).toBeGreaterThan(bytes.length)
  })

  test('every truncation is an error', async () => {
    const plain = sample(700)
    const { bytes, index } = await compress([plain], compression(codec))
    for (let length = 0; length < bytes.length; length++) {
      const damaged = bytes.subarray(0, length)
      // The seek table is for others.
      if (length < index.ends[0]!) await expect(readAll(damaged, index), `${length} bytes`).rejects.toThrow(IntegrityError)
      if (length !== index.ends[0]) await expect(readAll(damaged), `${length} bytes`).rejects.toThrow(FormatError)
    }
  })

  test('a bomb is not inflated past what the index says', async () => {
    const zeros = await compress([new Uint8Array(FRAME_BYTES)], compression(codec))
    expect(zeros.bytes.length).toBeLessThan(8192)
    for (const bytes of [1, 1000, FRAME_BYTES - 1]) {
      await mapped(zeros.bytes, async (file) => {
        const reader = new FrameReader(file, { ...zeros.index, bytes })
        const memory = new Uint8Array(bytes + 4096).fill(0xa5)
        await expect(reader.read(0, memory.subarray(0, bytes))).rejects.toThrow(IntegrityError)
        expect(memory.subarray(bytes).every((byte) => byte === 0xa5)).toBe(true)
      })
    }
  })

  test('an index that is not one of this file', async () => {
    const { bytes, index } = await compress([sample(2 * MIB)], compression(codec))
    await mapped(bytes, (file) => {
      const wrong = (facts: Partial<FrameIndex>): FrameReader => new FrameReader(file, { ...index, ...facts })
      expect(() => wrong({ bytes: 2 * MIB + 1 })).toThrow(FormatError)
      expect(() => wrong({ bytes: -1 })).toThrow(FormatError)
      expect(() => wrong({ bytes: 0.5 })).toThrow(FormatError)
      expect(() => wrong({ ends: Float64Array.of(5, 5) })).toThrow(FormatError)
      expect(() => wrong({ ends: Float64Array.of(5, NaN) })).toThrow(FormatError)
      expect(() => wrong({ ends: Float64Array.of(0, 5) })).toThrow(FormatError)
      expect(() => wrong({ ends: Float64Array.of(5, bytes.length + 1) })).toThrow(IntegrityError)
    })
  })
})

describe('files of others', () => {
  const refused = (bytes: Uint8Array, message: RegExp): Promise<void> => mapped(bytes, (file) => expect(() => readFrameIndex(file)).toThrow(expect.objectContaining({ code: 'E_FORMAT', message: expect.stringMatching(message) as string })))
  const frame = async (codec: Codec, plain: Uint8Array): Promise<Buffer> => {
    const { bytes, index } = await compress([plain], compression(codec))
    return bytes.subarray(0, index.ends.at(-1))
  }

  test('nothing, text, an ordinary gzip file', async () => {
    await refused(Buffer.alloc(0), /first bytes/)
    await refused(Buffer.from('hello, world'), /a zstd frame, an LZ4 frame or a gzip member/)
    await refused(Buffer.from('1f8b08000000000000030300000000000000000000000000', 'hex'), /extra field/)
  })

  test.each(CODECS)('%s: frames after a short one, empty ones, text between', async (codec) => {
    const [short, empty] = [await frame(codec, sample(100)), await frame(codec, new Uint8Array(0))]
    await refused(Buffer.concat([short, short]), /frame 1 at byte \d+: expected the end of the file after a short frame/)
    await refused(Buffer.concat([await frame(codec, sample(MIB)), empty]), /frame 1 at byte/)
    await refused(Buffer.concat([short, Buffer.from('text after it')]), /frame 1 at byte/)
  })

  test.skipIf(withoutZstd)('frames that declare more than 1 MiB', async () => {
    const lz4 = await frame('lz4', sample(100))
    lz4.writeUInt32LE(FRAME_BYTES + 1, 6)
    await refused(lz4, /at most 1048576 bytes, found 1048577/)
    lz4.writeUInt32LE(1, 10)
    await refused(lz4, /over 4 GiB/)
    const gzip = await frame('gzip', sample(100))
    gzip.writeUInt32LE(2 ** 32 - 1, gzip.length - 4)
    await refused(gzip, /at most 1048576 bytes/)
    gzip.writeUInt32LE(0, 16)
    await refused(gzip, /at least 30 bytes/)
    // Single segment, content size in 8 bytes.
    const zstd = (size: bigint, ...blocks: number[]): Buffer => {
      const header = Buffer.from('28b52ffde40000000000000000', 'hex')
      header.writeBigUInt64LE(size, 5)
      return Buffer.concat([header, Buffer.from(blocks), Buffer.alloc(4)])
    }
    await mapped(zstd(0n, 1, 0, 0), (file) => expect(readFrameIndex(file)).toEqual({ codec: 'zstd', bytes: 0, ends: Float64Array.of(20) }))
    await refused(zstd(BigInt(FRAME_BYTES) + 1n, 1, 0, 0), /at most 1048576 bytes/)
    await refused(zstd(1n << 32n, 1, 0, 0), /over 4 GiB/)
    await refused(zstd(1n, 7, 0, 0), /known type/)
    await refused(zstd(1n, ...Array.from({ length: 4400 }, () => 0)), /at most 1024 blocks/)
    await refused(zstd(1n, 0xff, 0xff, 0xff), /known type|more bytes/)
    // A thousand blocks of one byte repeated 128 KiB times: 128 MiB, if anybody believed it.
    const blocks = Array.from({ length: 1000 }, (_, k) => [(k === 999 ? 1 : 0) | 1 << 1, 0, 16, 0x5a]).flat()
    await expect(readAll(zstd(BigInt(FRAME_BYTES), ...blocks))).rejects.toThrow(IntegrityError)
  })

  test.skipIf(withoutZstd)('a seek table that is not the end', async () => {
    const { bytes, index } = await compress([sample(100)], compression('zstd'))
    await refused(Buffer.concat([bytes, Buffer.of(0)]), /a seek table that ends the file/)
    const table = bytes.subarray(index.ends[0])
    expect([table.readUInt32LE(0), table.readUInt32LE(4), table.readUInt32LE(8), table.readUInt32LE(12), table.readUInt32LE(16), table[20], table.readUInt32LE(21)])
      .toEqual([0x184d2a5e, 17, index.ends[0], 100, 1, 0, 0x8f92eab1])
  })
})

describe('blobs', () => {
  test('gunzip of a compressed blob is the blob', async () => {
    const data = Float32Array.from({ length: 400_000 }, (_, i) => Math.round(Math.sin(i / 50) * 100))
    const { parts } = encodeBlob([{ name: 'x', dtype: 'float32', shape: [400, 1000], data: [data] }], { who: 'test' })
    const { bytes } = await compress(parts, compression('gzip'))
    expect(gunzipSync(bytes).equals(Buffer.concat(parts))).toBe(true)
  })

  test('memory does not grow with the file', async () => {
    // One part many times over: 512 MiB that occupy 8.
    const part = sample(8 * MIB)
    const parts = Array.from({ length: 64 }, () => part)
    let most = 0
    const before = process.memoryUsage().rss
    const writer = new FrameWriter(parts, compression('lz4'))
    for await (const piece of writer) {
      expect(piece.length).toBeGreaterThan(0)
      most = Math.max(most, process.memoryUsage().rss - before)
    }
    expect(writer.index.bytes).toBe(512 * MIB)
    expect(most).toBeLessThan(160 * MIB)
  })

  test.skipIf(withoutZstd)('whoever stops in the middle is not told of the rest', async () => {
    const writer = new FrameWriter([sample(40 * MIB)], compression('zstd'))
    for await (const piece of writer) {
      expect(piece.length).toBeGreaterThan(0)
      break
    }
    expect(() => writer.index).toThrow(/not all frames/)
  })
})

function fillRandom(bytes: Uint8Array): void {
  let state = 42
  for (let i = 0; i < bytes.length; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    bytes[i] = state
  }
}
