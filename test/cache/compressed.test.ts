import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync, writeFileSync, chmodSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import { items, openCache, recipe, type Cache, type CacheOptions, type Dataset, type Tensor } from '../../src/index.js'
import { native } from '../../src/native/load.js'
import { readSafetensorsHeader } from '../../src/sources/safetensors-header.js'
import { tempDir } from '../support/temp.js'
import { difference } from './values.js'

const CODECS = (['lz4', 'zstd', 'gzip'] as const).filter((_, code) => native().missingCodec(code) === undefined)
const open = (dir: string, options: CacheOptions = {}): Promise<Cache> => openCache({ dir, minFree: 0, ...options })
const fresh = (): string => join(tempDir(), 'cache')
const counts = (length: number, seed = 1): Float32Array => Float32Array.from({ length }, (_, i) => Math.floor(i * seed / 7) % 1000)

/** The files of a cache, whose names have been compared with what is in them. */
function blobs(dir: string): Buffer[] {
  return readdirSync(join(dir, 'blobs')).flatMap((folder) => readdirSync(join(dir, 'blobs', folder)).map((name) => {
    const bytes = readFileSync(join(dir, 'blobs', folder, name))
    expect(createHash('sha256').update(bytes).digest('hex')).toBe(name)
    return bytes
  }))
}

const TOOLS = { lz4: ['lz4', '-dc'], zstd: ['zstd', '-dc'], gzip: ['gzip', '-dc'] } as const

/** What the codec's own tool makes of a file; undefined where there is none. */
function decompressed(codec: keyof typeof TOOLS, bytes: Buffer): Buffer | undefined {
  if (codec === 'gzip') return gunzipSync(bytes)
  const [tool, ...options] = TOOLS[codec]
  return spawnSync(tool, ['--version']).error === undefined ? execFileSync(tool, options, { input: bytes, maxBuffer: 2 ** 28 }) : undefined
}

const header = (bytes: Buffer): ReturnType<typeof readSafetensorsHeader> => readSafetensorsHeader({ path: 'blob', size: bytes.length, view: (offset, length) => new Uint8Array(bytes.subarray(offset, offset + length)).buffer })

describe.each(CODECS)('values in %s', (codec) => {
  const value = { x: counts(700_000), y: { dtype: 'complex64' as const, shape: [3, 2], data: counts(12) }, h: { dtype: 'float16' as const, shape: [5], data: Uint16Array.of(1, 2, 3, 4, 5) }, ids: BigInt64Array.of(1n, -5n), mask: Uint8Array.of(1, 0, 1), note: 'a' }

  test.each([false, true])('come back exactly; shuffled: %s', async (shuffle) => {
    const dir = fresh()
    let cache = await open(dir, { compression: { codec, shuffle } })
    await cache.put('k', value)
    expect(difference((await cache.get('k'))!.value, value)).toBeUndefined()
    await cache.close()
    cache = await open(dir)
    const hit = (await cache.get<typeof value>('k'))!
    expect(difference(hit.value, value)).toBeUndefined()
    expect((await cache.get('k'))!.value).toBe(hit.value)
    const [file] = blobs(dir)
    expect(file!.length).toBeLessThan(700_000 * 4 / 2)
    expect(cache.usage()).toMatchObject([{ namespace: '', entries: 1, entryBytes: file!.length }])
    await cache.close()
    const plain = decompressed(codec, file!)
    if (plain === undefined) return
    const { tensors, metadata } = header(plain)
    expect(tensors.x).toMatchObject(shuffle ? { dtype: 'uint8', shape: [2_800_000] } : { dtype: 'float32', shape: [700_000] })
    expect(tensors.mask).toMatchObject({ dtype: 'uint8', shape: [3] })
    expect(metadata['shuffle.x']).toBe(shuffle ? '{"dtype":"float32","shape":[700000]}' : undefined)
    if (!shuffle) expect(plain.subarray(tensors.x!.offset, tensors.x!.offset + 16)).toEqual(Buffer.from(value.x.buffer, 0, 16))
  })

  test('a put may say otherwise, and what is small stays in the index', async () => {
    const dir = fresh()
    const cache = await open(dir, { compression: codec })
    await cache.put('plain', { x: counts(20_000) }, { compression: 'none' })
    await cache.put('small', { x: counts(10) })
    const [file, ...rest] = blobs(dir)
    expect(rest).toEqual([])
    expect(header(file!).tensors.x).toMatchObject({ dtype: 'float32' })
    await cache.close()
  })

  test('damage is a miss, wherever it is', async () => {
    for (const place of [0, 5, 0.5, 0.999, -1]) {
      const dir = fresh()
      let cache = await open(dir, { compression: codec })
      await cache.put('k', { x: counts(700_000) })
      await cache.close()
      const [folder] = readdirSync(join(dir, 'blobs'))
      const path = join(dir, 'blobs', folder!, readdirSync(join(dir, 'blobs', folder!))[0]!)
      const bytes = readFileSync(path)
      // zstd's seek table is in a frame that nothing reads: its damage is for `verify`.
      const end = codec === 'zstd' ? bytes.length - 60 : bytes.length
      const at = place < 0 ? end - 1 : place < 1 ? Math.floor(place * end) : place
      bytes[at] = bytes[at]! ^ 0x10
      chmodSync(path, 0o644)
      writeFileSync(path, bytes)
      cache = await open(dir)
      expect(await cache.get('k'), `byte ${at} of ${bytes.length}`).toBeUndefined()
      expect(readdirSync(join(dir, 'quarantine'))).toHaveLength(1)
      await cache.close()
    }
  })
})

const ITEMS = 300
const source = () => items(Array.from({ length: ITEMS }, (_, i) => ({ id: `item ${i}`, fields: {
  x: { dtype: 'float32' as const, shape: [64, 32], data: counts(2048, i + 1) },
  path: { dtype: 'float64' as const, shape: [i % 5, 2], data: Float64Array.from({ length: i % 5 * 2 }, (_, k) => i + k / 8) },
  frame: { dtype: 'int16' as const, shape: [1 + i % 3, 2 + i % 2], data: Int16Array.from({ length: (1 + i % 3) * (2 + i % 2) }, (_, k) => i * k) },
  label: { dtype: 'int32' as const, shape: [], data: Int32Array.of(i) },
} })))

const bytesOf = (value: unknown): unknown => JSON.stringify(value, (_, part: unknown) => ArrayBuffer.isView(part) ? createHash('sha256').update(new Uint8Array(part.buffer, part.byteOffset, part.byteLength)).digest('hex') : part)

/** What all ways of reading give. */
async function readings(dataset: Dataset): Promise<unknown[]> {
  const read: unknown[] = []
  for (const options of [{ size: 32 }, { size: 32, shuffle: true, seed: 3 }, { size: 7, shuffle: true, seed: 3, reuse: true }]) {
    for await (const batch of dataset.batches({ ...options, fields: ['x', 'label'] })) read.push(bytesOf(batch))
  }
  for (const options of [{ size: 32 }, { size: 32, shuffle: true, seed: 3 }]) for await (const batch of dataset.batches({ ...options, collate: 'pad' })) read.push(bytesOf(batch))
  for (const i of [0, 299, 17, 16]) read.push(bytesOf(await dataset.get(i)))
  return read
}

describe.each(CODECS)('datasets in %s', (codec) => {
  test.each([false, true])('read as those that are mapped do; shuffled: %s', async (shuffle) => {
    const plain = await open(fresh())
    const expected = await plain.dataset(await source(), recipe([]))
    const dir = fresh()
    const cache = await open(dir)
    const dataset = await cache.dataset(await source(), recipe([]), { compression: { codec, shuffle } })
    expect(dataset.digest).toBe(expected.digest)
    expect(await readings(dataset)).toEqual(await readings(expected))
    expect(Math.max(...blobs(dir).map(({ length }) => length))).toBeLessThan(ITEMS * 2048 * 4 / 3)
    await dataset.close()
    // Compression is no part of a key: what is there is there.
    const again = await cache.dataset(await source(), recipe([]))
    expect(again.report).toMatchObject({ hits: ITEMS, computed: 0 })
    await cache.close()
    await plain.close()
  })

  test('a dataset may have shards of both kinds', async () => {
    const cache = await open(fresh())
    const half = () => items(Array.from({ length: 100 }, (_, i) => ({ id: `item ${i}`, fields: { x: { dtype: 'float32' as const, shape: [512], data: counts(512, i + 1) } } })))
    const whole = () => items(Array.from({ length: 200 }, (_, i) => ({ id: `item ${i}`, fields: { x: { dtype: 'float32' as const, shape: [512], data: counts(512, i + 1) } } })))
    await (await cache.dataset(await half(), recipe([]))).close()
    const dataset = await cache.dataset(await whole(), recipe([]), { compression: codec })
    expect(dataset.report).toMatchObject({ hits: 100, computed: 100 })
    for await (const batch of dataset.batches({ size: 16, shuffle: true, seed: 1 })) {
      for (const [k, index] of [...batch.indices].entries()) expect((batch.x as Tensor<'float32'>).data.subarray(k * 512, (k + 1) * 512)).toEqual(counts(512, index + 1))
    }
    await cache.close()
  })

  test('damage heals while it is read', async () => {
    const dir = fresh()
    const cache = await open(dir, { compression: codec })
    await (await cache.dataset(await source(), recipe([]))).close()
    await cache.close()
    for (const folder of readdirSync(join(dir, 'blobs'))) {
      for (const name of readdirSync(join(dir, 'blobs', folder))) {
        const path = join(dir, 'blobs', folder, name)
        const bytes = readFileSync(path)
        // The manifest is not compressed.
        if (bytes.subarray(8, 9).toString() === '{') continue
        bytes[Math.floor(bytes.length * 0.7)]! ^= 0x08
        chmodSync(path, 0o644)
        writeFileSync(path, bytes)
      }
    }
    const again = await open(dir, { compression: codec })
    const dataset = await again.dataset(await source(), recipe([]))
    const seen: number[] = []
    for await (const batch of dataset.batches({ size: 50, shuffle: true, seed: 1, fields: ['x', 'label'] })) seen.push(...(batch.label as Tensor<'int32'>).data)
    expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: ITEMS }, (_, i) => i))
    expect(readdirSync(join(dir, 'quarantine'))).not.toEqual([])
    await again.close()
  })
})
