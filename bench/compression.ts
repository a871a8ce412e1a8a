// What do independent frames of 1 MiB cost? Compressing bytes that lie in memory, and reading the mapped result into memory that is there, beside the codec's own library in one call over
// everything, on one thread each. Beside it the library in calls of 1 MiB, which shows what is the frames' part. With byte shuffle the library gets the shuffled bytes, and we shuffle, too.
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { noise } from './lib/files.js'
import { checkCompression, FrameReader, FrameWriter, native } from './lib/internals.js'
import { inTurns, named, seconds, type Spread } from './lib/measure.js'
import type { Peer } from './lib/peer.js'
import { check, timesPeer, type Context, type Finding, type Question } from './lib/question.js'

interface Data { readonly name: string; readonly element: number; readonly make: (count: number) => ArrayBufferView }

const DATA: readonly Data[] = [
  { name: 'int16 volume', element: 2, make: volume },
  { name: 'float32 counts', element: 4, make: counts },
  { name: 'float32 noise', element: 4, make: (count) => Float32Array.from({ length: count }, (_, i) => noise(i)) },
]
/** In the order of their codes. */
const CODECS = ['lz4', 'zstd', 'gzip'] as const
const FRAME = 2 ** 20

/** A ball of tissue in air, CT numbers with noise of the scanner: [z, y, x] of 128 × 128 slices. */
function volume(count: number): Int16Array {
  return Int16Array.from({ length: count }, (_, i) => {
    const [x, y, z] = [i % 128 - 64, (i >> 7) % 128 - 64, (i >> 14) % 128 - 64]
    const inside = x * x + y * y + z * z < 3600
    return inside ? Math.round(40 + 30 * Math.sin(x / 9) * Math.sin(y / 11) * Math.cos(z / 7) + 6 * (noise(i) + noise(i + 0x10000000))) : -1024
  })
}

/** Detector images: whole numbers that fall off from the middle, most of them 0. */
function counts(count: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => {
    const [x, y] = [i % 128 - 64, (i >> 7) % 128 - 64]
    const mean = 200 * Math.exp(-(x * x + y * y) / 400)
    return Math.max(0, Math.round(mean + Math.sqrt(mean) * 1.5 * noise(i)))
  })
}

async function run(context: Context): Promise<Finding[]> {
  const peer = await context.peer('compression')
  const findings: Finding[] = []
  for (const [code, codec] of CODECS.entries()) {
    const missing = native().missingCodec(code)
    if (missing !== undefined) {
      console.error(missing)
      continue
    }
    const bytes = context.pick({ tiny: FRAME + 4096, quick: (codec === 'gzip' ? 2 : 4) * FRAME, full: (codec === 'gzip' ? 8 : 64) * FRAME })
    const library = peer !== undefined && await peer.call<boolean>('available', { codec }) ? peer : undefined
    for (const data of DATA) {
      const { buffer, byteOffset } = data.make(bytes / data.element)
      const plain = new Uint8Array(buffer as ArrayBuffer, byteOffset, bytes)
      for (const shuffle of [false, true]) findings.push(...await measure(codec, data, plain, shuffle, library, context))
    }
  }
  return findings
}

async function measure(codec: typeof CODECS[number], { name, element }: Data, plain: Uint8Array, shuffle: boolean, peer: Peer | undefined, { dir, pick }: Context): Promise<Finding[]> {
  const how = checkCompression('bench', { codec, shuffle })!
  const shuffled = shuffle ? [{ begin: 0, end: plain.length, element }] : []
  const pack = async (threads: number, keep?: (piece: Uint8Array) => void): Promise<InstanceType<typeof FrameWriter>> => {
    const writer = new FrameWriter([plain], how, { shuffled, threads })
    for await (const piece of writer) keep?.(piece)
    return writer
  }
  const pieces: Uint8Array[] = []
  const { index } = await pack(1, (piece) => pieces.push(piece.slice()))
  const path = join(dir, 'packed')
  writeFileSync(path, Buffer.concat(pieces))
  const file = new (native().MappedFile)(path)
  await file.populate(0, file.size)
  const readers = [1, 2].map((threads) => new FrameReader(file, index, { threads }))
  const out = new Uint8Array(plain.length)
  for (const reader of readers) {
    reader.declareShuffled(shuffled)
    out.fill(0xa5)
    await reader.read(0, out)
    check(Buffer.compare(out, plain) === 0, `${codec}, ${name}: reading`)
  }

  // What the library compresses: the bytes as they come to the codec.
  const raw = shuffle ? shuffledFrames(plain, element) : plain
  if (peer !== undefined) {
    const given = join(dir, 'raw')
    writeFileSync(given, raw)
    await peer.call('load', { path: given })
    await peer.call('compress', { codec, level: how.level })
    await peer.call('decompress', { codec })
    check(await peer.call<boolean>('check'), `${codec}, ${name}: the library`)
  }
  const ratio = `ratio ${(plain.length / index.ends.at(-1)!).toFixed(2)}${peer === undefined ? '' : `, of the library ${(await peer.call('ratio')).toFixed(2)}`}`
  const zipped = codec === 'gzip' ? gzipSync(raw, { level: how.level }) : undefined

  const rate = (work: () => unknown) => async (): Promise<number> => plain.length / 1e9 / await seconds(work)
  const asked = (call: string, args: object) => peer && (async (): Promise<number> => plain.length / 1e9 / await peer.call(call, { codec, ...args }))
  const library = codec === 'gzip' ? 'Python zlib' : `lib${codec}`
  const runs = pick({ tiny: 1, quick: 2, full: 11 })
  const writing = await inTurns(runs, {
    one: rate(() => pack(1)), 'node:zlib': zipped && rate(() => gzipSync(raw, { level: how.level })), [library]: asked('compress', { level: how.level }),
    [`${library}, frame by frame`]: asked('compress_frames', { level: how.level, frame: FRAME }), two: rate(() => pack(2)),
  })
  const reading = await inTurns(runs, {
    one: rate(() => readers[0]!.read(0, out)), 'node:zlib': zipped && rate(() => gunzipSync(zipped)), [library]: asked('decompress', {}), two: rate(() => readers[1]!.read(0, out)),
  })
  file.close()
  const row = (verb: string, results: Readonly<Record<string, Spread>>): Finding => {
    const peers = named(results, 'node:zlib', library, `${library}, frame by frame`)
    return {
      what: `${verb} ${name}, ${codec} ${how.level}${shuffle ? ' after byte shuffle' : ''}`, unit: 'GB/s of plain bytes', ours: results.one!, peers, limits: [], beside: [{ name: 'ours, 2 threads', ...results.two! }],
      target: timesPeer(0.9, results.one!, peers[0]), note: ratio,
    }
  }
  return [row('compress', writing), row('read', reading)]
}

function shuffledFrames(plain: Uint8Array, element: number): Uint8Array {
  const out = new Uint8Array(plain.length)
  for (let at = 0; at < plain.length; at += FRAME) native().shuffleBytes(plain.subarray(at, at + FRAME), element, out.subarray(at, at + FRAME))
  return out
}

export const compression: Question = { name: 'compression', about: 'frames of 1 MiB beside the codec in one call', run }
