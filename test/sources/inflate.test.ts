import { describe, expect, test } from 'vitest'
import { constants, deflateRawSync, gzipSync, inflateRawSync } from 'node:zlib'
import { native } from '../../src/native/load.js'
import { random } from './random.js'

const SAMPLES = samples()
/** The long form: TENSORCACHE_LONG=1. */
const FUZZ_CASES = process.env.TENSORCACHE_LONG === '1' ? 20_000 : 500

describe('inflate', () => {
  for (const { name, raw, streams } of SAMPLES) {
    test(`${name}: equals node:zlib at every level and strategy`, async () => {
      for (const stream of streams) {
        const { bytes, crc, used } = await inflate(stream, raw.length)
        expect(Buffer.compare(bytes, raw)).toBe(0)
        expect(crc).toBe(native().crc32(raw))
        expect(used).toBe(stream.length)
      }
    })

    test(`${name}: any range, in any order, from resume points`, async () => {
      const draw = random(11)
      for (const stream of streams) {
        const inflate = new (native().Inflate)(stream, raw.length, 1 + draw(70_000))
        for (let k = 0; k < 40; k++) {
          const start = draw(raw.length + 1)
          const stop = start + draw(Math.min(k % 4 === 0 ? raw.length : 300, raw.length - start) + 1)
          const out = new Uint8Array(stop - start)
          await inflate.read(start, out)
          expect(Buffer.compare(out, raw.subarray(start, stop)), `${start} to ${stop}`).toBe(0)
        }
        await inflate.read(raw.length, new Uint8Array(0))
        expect(inflate.crc32).toBe(native().crc32(raw))
      }
    })
  }

  for (const { name, raw } of SAMPLES) {
    test(`${name}: gzip of any members, any range, in any order`, async () => {
      const draw = random(12)
      for (const each of [1 + Math.floor(raw.length / 7), 40_000, raw.length + 1]) {
        const members = Array.from({ length: Math.max(1, Math.ceil(raw.length / each)) }, (_, k) => gzipSync(raw.subarray(k * each, (k + 1) * each), { level: 1 + k % 9 }))
        // Members without content, and padding.
        const file = Buffer.concat([gzipSync(Buffer.alloc(0)), ...members.flatMap((member, k) => k % 3 === 0 ? [member, gzipSync('')] : [member]), Buffer.alloc(100)])
        for (const wanted of [raw.length, Math.floor(raw.length / 2)]) {
          const inflate = new (native().Inflate)(file, wanted, 1 + draw(70_000), true)
          for (let k = 0; k < 40; k++) {
            const start = draw(wanted + 1)
            const stop = start + draw(Math.min(k % 4 === 0 ? wanted : 300, wanted - start) + 1)
            const out = new Uint8Array(stop - start)
            await inflate.read(start, out)
            expect(Buffer.compare(out, raw.subarray(start, stop)), `${start} to ${stop}`).toBe(0)
          }
          await inflate.read(wanted, new Uint8Array(0))
          expect(inflate.compressedBytes).toBe(file.length)
          expect(inflate.crc32).toBeUndefined()
        }
      }
    })
  }

  for (const { name, raw } of SAMPLES) {
    test(`${name}: what one object has passed another goes on from, at any time`, async () => {
      const draw = random(15)
      for (const each of [1 + Math.floor(raw.length / 7), 40_000, raw.length + 1]) {
        const file = Buffer.concat([membersOf(raw, each), Buffer.alloc(3)])
        const [every, block] = [1 + draw(70_000), 32_768 + draw(20_000)]
        let inflate = new (native().Inflate)(file, raw.length, every, true, block)
        for (let k = 0; k < 40; k++) {
          if (k % 4 === 3) inflate = new (native().Inflate)(file, raw.length, every, true, block, inflate.index(0))
          const start = draw(Math.min(raw.length, k * 20_000) + 1)
          const stop = start + draw(Math.min(k === 30 ? raw.length : 3000, raw.length - start) + 1)
          const out = new Uint8Array(stop - start)
          await inflate.read(start, out)
          expect(Buffer.compare(out, raw.subarray(start, stop)), `${start} to ${stop}`).toBe(0)
        }
        await inflate.read(raw.length, new Uint8Array(0))
        const whole = inflate.index(0)
        expect(whole.checks.length).toBe(Math.ceil(raw.length / block))
        whole.checks.forEach((check, k) => { expect(check).toBe(native().crc32(raw.subarray(k * block, (k + 1) * block))) })
      }
    })
  }

  test('what was noted of other bytes is told by the CRC-32 of its block', async () => {
    const raw = Buffer.from(words(4 * 2 ** 20))
    const inflate = new (native().Inflate)(gzipSync(raw), raw.length, 2 ** 18, true, 2 ** 16)
    await inflate.read(0, new Uint8Array(raw.length))
    const index = inflate.index(0)
    for (const block of [0, 7, index.checks.length - 1]) {
      const checks = Uint32Array.from(index.checks)
      checks[block]! ^= 1
      const other = new (native().Inflate)(gzipSync(raw), raw.length, 2 ** 18, true, 2 ** 16, { ...index, checks })
      await other.read(((block + 30) % 60) * 2 ** 16, new Uint8Array(10))
      await expect(other.read(block * 2 ** 16 + 5, new Uint8Array(10))).rejects.toMatchObject({ code: 'E_DEFLATE', message: `block ${block} does not have the CRC-32 it had` })
    }
  })

  test('gzip of more bytes than there are', async () => {
    const inflate = new (native().Inflate)(Buffer.concat([gzipSync('abc'), gzipSync('def')]), 7, 0, true)
    await inflate.read(0, new Uint8Array(6))
    await expect(inflate.read(0, new Uint8Array(7))).rejects.toMatchObject({ code: 'E_DEFLATE', message: expect.stringMatching(/ends after 6 bytes of the 7/) })
  })

  test('members of gzip leave resume points', async () => {
    const raw = Buffer.from(words(4 * 2 ** 20))
    const members = Array.from({ length: 64 }, (_, k) => gzipSync(raw.subarray(k * 65_536, (k + 1) * 65_536)))
    const inflate = new (native().Inflate)(Buffer.concat(members), raw.length, 2 ** 18, true)
    await inflate.read(0, new Uint8Array(raw.length))
    expect(inflate.points).toBeGreaterThan(10)
  })

  test('reads of one object at the same time do not disturb each other', async () => {
    const { raw, streams } = SAMPLES.find(({ name }) => name === 'words')!
    const inflate = new (native().Inflate)(streams[0]!, raw.length, 50_000)
    const ranges = Array.from({ length: 64 }, (_, k) => [Math.floor(raw.length * ((k * 37) % 64) / 70), 20_000] as const)
    const outs = await Promise.all(ranges.map(async ([start, length]) => {
      const out = new Uint8Array(Math.min(length, raw.length - start))
      await inflate.read(start, out)
      return out
    }))
    outs.forEach((out, k) => expect(Buffer.compare(out, raw.subarray(ranges[k]![0], ranges[k]![0] + out.length))).toBe(0))
    await inflate.read(raw.length, new Uint8Array(0))
    expect(inflate.crc32).toBe(native().crc32(raw))
  })

  test('a range far inside is read from a point, not from the start', async () => {
    const raw = Buffer.from(words(8 * 2 ** 20))
    const inflate = new (native().Inflate)(deflateRawSync(raw, { level: 1 }), raw.length, 2 ** 18)
    await inflate.read(0, new Uint8Array(raw.length))
    expect(inflate.points).toBeGreaterThan(20)
    const out = new Uint8Array(1000)
    const time = async (work: () => Promise<void>): Promise<number> => { const t = performance.now(); await work(); return performance.now() - t }
    const positions = Array.from({ length: 40 }, (_, k) => (k * 199_999_9 + 77) % (raw.length - 1000))
    const rows = await time(async () => { for (const at of positions) await inflate.read(at, out) })
    const fresh = new (native().Inflate)(deflateRawSync(raw, { level: 1 }), raw.length, 0)
    const whole = await time(async () => { await fresh.read(0, new Uint8Array(raw.length)) })
    expect(rows / positions.length).toBeLessThan(whole / 3)
  })

  test('compressed bytes may come in adjacent pieces, and in no others', async () => {
    const { raw, streams } = SAMPLES[3]!
    const stream = new Uint8Array(streams[0]!)
    const out = new Uint8Array(raw.length)
    const inflate = new (native().Inflate)([stream.subarray(0, 7), stream.subarray(7)], raw.length, 0)
    await inflate.read(0, out)
    expect(Buffer.compare(out, raw)).toBe(0)
    expect(() => new (native().Inflate)([stream.subarray(0, 7), stream.subarray(8)], raw.length, 0)).toThrow(TypeError)
  })

  test('ranges outside the stream are refused before any work', () => {
    const inflate = new (native().Inflate)(new Uint8Array([3, 0]), 0, 0)
    expect(() => inflate.read(0, new Uint8Array(1))).toThrow(RangeError)
    expect(() => inflate.read(1, new Uint8Array(0))).toThrow(RangeError)
  })

  test(`accepts and refuses what node:zlib does: ${FUZZ_CASES} mutated streams`, async () => {
    const draw = random(12)
    let accepted = 0
    for (let k = 0; k < FUZZ_CASES; k++) {
      const { raw, streams } = SAMPLES[draw(SAMPLES.length)]!
      const stream = mutate(streams[draw(streams.length)]!.subarray(0, 200_000), draw)
      const expected = verdict(stream)
      const found = await inflate(stream, expected?.length ?? raw.length).then(({ bytes }) => bytes, (error: { code?: string }) => {
        if (error.code !== 'E_DEFLATE') throw error
        return undefined
      })
      if (expected === undefined ? found !== undefined : found === undefined || Buffer.compare(found, expected) !== 0) {
        expect.fail(`case ${k}: zlib ${expected === undefined ? 'refuses' : `gives ${expected.length} bytes`}, we ${found === undefined ? 'refuse' : `give ${found.length}`}: ${Buffer.from(stream).toString('base64').slice(0, 2000)}`)
      }
      if (found !== undefined) accepted++
    }
    // A comparison in which nothing is ever accepted, or refused, would prove little.
    expect(accepted).toBeGreaterThan(FUZZ_CASES / 50)
    expect(accepted).toBeLessThan(FUZZ_CASES)
  }, 600_000)
})

async function inflate(stream: Uint8Array, size: number): Promise<{ bytes: Uint8Array; crc: number | undefined; used: number | undefined }> {
  const inflate = new (native().Inflate)(stream, size, 65_536)
  const bytes = new Uint8Array(size)
  await inflate.read(0, bytes)
  return { bytes, crc: inflate.crc32, used: inflate.compressedBytes }
}

function membersOf(raw: Uint8Array, each: number): Buffer {
  return Buffer.concat(Array.from({ length: Math.max(1, Math.ceil(raw.length / each)) }, (_, k) => gzipSync(raw.subarray(k * each, (k + 1) * each), { level: 1 + k % 9 })))
}

function verdict(stream: Uint8Array): Buffer | undefined {
  try {
    return inflateRawSync(stream, { maxOutputLength: 2 ** 26 })
  } catch {
    return undefined
  }
}

function mutate(stream: Uint8Array, draw: (n: number) => number): Uint8Array {
  const copy = Uint8Array.from(stream)
  const near = (): number => draw(2) === 0 ? draw(Math.min(200, copy.length)) : draw(copy.length)
  switch (draw(6)) {
    case 0: return copy.subarray(0, draw(copy.length))
    case 1: copy[near()]! ^= 1 << draw(8); return copy
    case 2: for (let k = draw(5); k >= 0; k--) copy[near()] = draw(256); return copy
    case 3: { const from = draw(copy.length), to = draw(copy.length); copy.copyWithin(to, from, Math.min(copy.length, from + draw(400))); return copy }
    case 4: return Uint8Array.from({ length: 1 + draw(60) }, () => draw(256))
    default: return Buffer.concat([copy, Uint8Array.from({ length: draw(9) }, () => draw(256))])
  }
}

interface Sample { name: string; raw: Buffer; streams: Buffer[] }

function samples(): Sample[] {
  const draw = random(13)
  const floats = Float32Array.from({ length: 60_000 }, (_, k) => Math.sin(k / 300) + draw(1000) / 1e6)
  const raws: Record<string, Buffer> = {
    nothing: Buffer.alloc(0),
    'one byte': Buffer.from([7]),
    words: Buffer.from(words(1_500_000)),
    floats: Buffer.from(floats.buffer),
    noise: Buffer.from(Uint8Array.from({ length: 150_000 }, () => draw(256))),
    zeros: Buffer.alloc(700_000),
    'short periods': Buffer.from(Uint8Array.from({ length: 90_000 }, (_, k) => (k % (1 + (k >> 11))) * 7)),
    'few values': Buffer.from(Uint8Array.from({ length: 300_000 }, () => [0, 1, 2, 250][draw(4)]!)),
  }
  return Object.entries(raws).map(([name, raw]) => ({
    name,
    raw,
    streams: [
      ...[6, 9, 1, 0].map((level) => deflateRawSync(raw, { level })),
      deflateRawSync(raw, { strategy: constants.Z_FIXED }),
      deflateRawSync(raw, { strategy: constants.Z_HUFFMAN_ONLY }),
      deflateRawSync(raw, { strategy: constants.Z_RLE, memLevel: 1 }),
      deflateRawSync(raw, { level: 6, memLevel: 9, windowBits: 9 }),
    ],
  }))
}

function words(length: number): string {
  const draw = random(14)
  const dictionary = Array.from({ length: 500 }, () => Array.from({ length: 2 + draw(8) }, () => String.fromCharCode(97 + draw(26))).join(''))
  let text = ''
  while (text.length < length) text += `${dictionary[draw(draw(500) + 1)]} `
  return text.slice(0, length)
}
