import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, readdirSync, renameSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { sha256 } from '../../src/core/hash.js'
import { blobPath, layoutOf } from '../../src/store/layout.js'
import { isAlive, ownerName, parseOwner, thisProcess } from '../../src/core/owner.js'
import { encodeBlob, chunkBytesFor, type EncodedBlob } from '../../src/store/shard-format.js'
import { Store } from '../../src/store/store.js'
import { openTables } from '../../src/store/tables.js'
import { transactions } from '../../src/store/transactions.js'
import { verifyStore } from '../../src/store/verify.js'
import { tempDir } from '../support/temp.js'

const hash = (text: string): Buffer => sha256(text)
const segmentsOf = (value: number): EncodedBlob => encodeBlob([{ name: 'x', dtype: 'float32', shape: [2, 3], data: [Float32Array.of(value, 1, 2, 3, 4, 5)] }], { a: 'b' })

let dir: string
let store: Store
beforeEach(async () => {
  dir = join(tempDir(), 'cache')
  store = await Store.open({ dir, readonly: false, minFree: 0 })
})
afterEach(() => store.close())

async function publish(value: number, keys: Buffer[], owner = store.newOwner()): Promise<string> {
  const pending = store.tmpName(owner)
  const lease = (await store.claim(hash(`range ${value}`), owner, [pending]))!
  const { digest } = await store.publishShard(segmentsOf(value), { chunkBytes: 65536 }, Buffer.concat(keys), lease, pending, true)
  await store.retire(owner)
  return digest
}

describe('the store', () => {
  test('what is published is found, mapped and checked', async () => {
    const digest = await publish(7, [hash('a'), hash('b')])
    expect(store.lookup(Buffer.concat([hash('b'), hash('c'), hash('a')]))).toEqual([
      { blob: Buffer.from(digest, 'hex'), row: 1 }, undefined, { blob: Buffer.from(digest, 'hex'), row: 0 },
    ])
    const blob = await store.blob(digest)
    const tensor = await blob.tensor('x')
    expect([tensor.dtype, tensor.shape, [...tensor.data as Float32Array]]).toEqual(['float32', [2, 3], [7, 1, 2, 3, 4, 5]])
    expect(tensor.data.byteOffset % 4096).toBe(0)
    expect(blob.metadata).toMatchObject({ a: 'b' })
    expect(await verifyStore(store)).toMatchObject({ blobs: 1, damaged: [] })
    expect(readdirSync(layoutOf(dir).tmp)).toEqual([])
  })

  test('an item stays with the shard that had it first', async () => {
    const first = await publish(1, [hash('a')])
    await publish(2, [hash('a'), hash('b')])
    expect(store.lookup(hash('a'))[0]!.blob.toString('hex')).toBe(first)
    expect(store.lookup(hash('b'))[0]!.row).toBe(1)
  })

  test('a range is worked on by one owner at a time', async () => {
    const [one, two] = [store.newOwner(), store.newOwner()]
    const lease = (await store.claim(hash('r'), one, []))!
    expect(await store.claim(hash('r'), two, [])).toBeUndefined()
    const again = (await store.claim(hash('r'), one, []))!
    expect(again.token).toBeGreaterThan(lease.token)
    await store.release(again, undefined)
    expect(await store.claim(hash('r'), two, [])).toBeDefined()
  })

  test('who was overtaken publishes nothing', async () => {
    const owner = store.newOwner()
    const pending = store.tmpName(owner)
    const old = (await store.claim(hash('r'), owner, [pending]))!
    await store.claim(hash('r'), owner, [])
    await expect(store.publishShard(segmentsOf(1), { chunkBytes: 65536 }, hash('a'), old, pending, true)).rejects.toMatchObject({ code: 'E_LEASE_LOST' })
    expect(store.lookup(hash('a'))).toEqual([undefined])
    expect([...store.blobs()]).toEqual([])
  })

  test('a dead owner loses its leases, and what it left is swept', async () => {
    const gone = spawnSync(process.execPath, ['-e', '']).pid
    const dead = ownerName({ ...thisProcess(), pid: gone, start: 'long-ago' })
    expect(isAlive(dead)).toBe(false)
    const layout = layoutOf(dir)
    const orphan = blobPath(layout, hash('orphan').toString('hex'))
    mkdirSync(join(orphan, '..'), { recursive: true })
    writeFileSync(orphan, 'published but never made visible')
    writeFileSync(join(layout.tmp, 'unfinished'), 'half')
    const digest = await publish(3, [hash('kept')])
    await store.claim(hash('r'), `${dead}#0-aa`, ['unfinished'])
    expect(await store.claim(hash('r'), store.newOwner(), [])).toBeDefined()
    await store.sweep()
    expect(readdirSync(layout.tmp)).toEqual([])
    expect(statSync(orphan, { throwIfNoEntry: false })).toBeUndefined()
    expect(store.hasBlob(digest)).toBe(true)
    expect(statSync(blobPath(layout, digest)).size).toBeGreaterThan(4096)
  })

  test('while somebody is writing, a blob without a record is left alone', async () => {
    const layout = layoutOf(dir)
    const young = blobPath(layout, hash('young').toString('hex'))
    mkdirSync(join(young, '..'), { recursive: true })
    writeFileSync(young, 'renamed, not yet entered')
    await store.claim(hash('w'), store.newOwner(), ['being-written'])
    const dead = ownerName({ ...thisProcess(), pid: spawnSync(process.execPath, ['-e', '']).pid, start: 'long-ago' })
    await store.claim(hash('r'), `${dead}#0-aa`, ['unfinished'])
    await store.sweep()
    expect(statSync(young, { throwIfNoEntry: false })).toBeDefined()
  })

  test('an orphan older than every unfinished file goes while somebody is writing; a younger one goes at a later sweep', async () => {
    const layout = layoutOf(dir)
    const [old, young] = ['old', 'young'].map((name) => blobPath(layout, hash(name).toString('hex'))) as [string, string]
    for (const path of [old, young]) mkdirSync(join(path, '..'), { recursive: true })
    writeFileSync(old, 'nobody knows me')
    const dead = ownerName({ ...thisProcess(), pid: spawnSync(process.execPath, ['-e', '']).pid, start: 'long-ago' })
    await store.claim(hash('r'), `${dead}#0-aa`, ['unfinished'])
    // The clocks of file system and processor may differ by two seconds.
    await setTimeout(2_100)
    const owner = store.newOwner()
    await store.claim(hash('w'), owner, ['being-written'])
    writeFileSync(young, 'renamed, not yet entered')
    await store.sweep()
    expect(statSync(old, { throwIfNoEntry: false })).toBeUndefined()
    expect(statSync(young, { throwIfNoEntry: false })).toBeDefined()
    // Its writer gives up: what it announced and never entered is looked for when the cache is opened next.
    await store.retire(owner)
    await store.close()
    store = await Store.open({ dir, readonly: false, minFree: 0 })
    expect(statSync(young, { throwIfNoEntry: false })).toBeUndefined()
  })

  test('a blob published too late is no orphan for ever', async () => {
    const owner = store.newOwner()
    const pending = store.tmpName(owner)
    const old = (await store.claim(hash('r'), owner, [pending]))!
    await store.claim(hash('r'), owner, [])
    await expect(store.publishShard(segmentsOf(1), { chunkBytes: 65536 }, hash('a'), old, pending, true)).rejects.toMatchObject({ code: 'E_LEASE_LOST' })
    const published = (): string[] => readdirSync(layoutOf(dir).blobs, { recursive: true }).map(String).filter((name) => name.length > 60)
    expect(published()).toHaveLength(1)
    await store.retire(owner)
    await store.sweep()
    expect(published()).toEqual([])
  })

  test('a sound file that took the place of a damaged one stays', async () => {
    const digest = await publish(9, [hash('a')])
    const path = blobPath(layoutOf(dir), digest)
    const mapped = await store.blob(digest)
    // Another process mends the damage that this one is about to meet: the same bytes in a new file.
    const sound = readFileSync(path)
    writeFileSync(`${path}.new`, sound)
    renameSync(`${path}.new`, path)
    await store.quarantine(mapped, 'damaged')
    expect(readdirSync(layoutOf(dir).quarantine)).toEqual([])
    expect(store.lookup(hash('a'))[0]).toBeDefined()
    expect(await store.blob(digest)).not.toBe(mapped)
    await store.quarantine(await store.blob(digest), 'damaged')
    expect(readdirSync(layoutOf(dir).quarantine)).toEqual([digest])
    expect(store.lookup(hash('a'))).toEqual([undefined])
  })

  test('an index whose maker was killed before it wrote the format gets one', async () => {
    await store.close()
    const tables = openTables(layoutOf(dir), { readOnly: false })
    tables.root.transactionSync(() => { tables.counters.remove('format') })
    await tables.root.close()
    store = await Store.open({ dir, readonly: false, minFree: 0 })
    await store.close()
    const again = openTables(layoutOf(dir), { readOnly: true })
    expect(again.counters.get('format')).toBe(1)
    await again.root.close()
  })

  test('a missing or shortened blob is damage, and its items are misses', async () => {
    const digest = await publish(4, [hash('a')])
    const path = blobPath(layoutOf(dir), digest)
    const whole = readFileSync(path)
    spawnSync('chmod', ['644', path])
    writeFileSync(path, whole.subarray(0, whole.length - 1))
    expect((await verifyStore(store)).damaged).toMatchObject([{ digest, reason: `has ${whole.length - 1} bytes, ${whole.length} were written` }])
    await expect(store.blob(digest)).rejects.toMatchObject({ code: 'E_INTEGRITY' })
    expect(store.lookup(hash('a'))).toEqual([undefined])
    expect(readdirSync(layoutOf(dir).quarantine)).toEqual([digest])
  })

  test('a read-only store writes nothing and says so', async () => {
    const digest = await publish(5, [hash('a')])
    const reader = await Store.open({ dir, readonly: true, minFree: 0 })
    expect((await (await reader.blob(digest)).tensor('x')).shape).toEqual([2, 3])
    await expect(reader.claim(hash('r'), reader.newOwner(), [])).rejects.toMatchObject({ code: 'E_STORE' })
    await reader.close()
    const nothing = tempDir()
    await expect(Store.open({ dir: nothing, readonly: true, minFree: 0 })).rejects.toThrow(/holds no cache/)
    expect(readdirSync(nothing)).toEqual([])
  })

  test('a directory of another format is refused', async () => {
    await store.close()
    const tables = openTables(layoutOf(dir), { readOnly: false })
    tables.root.transactionSync(() => { tables.counters.put('format', 99) })
    await tables.root.close()
    await expect(Store.open({ dir, readonly: false, minFree: 0 })).rejects.toThrow(/has format 99, this version reads 1/)
  })

  test('a folder that cannot be made is a StoreError', async () => {
    const file = join(tempDir(), 'file')
    writeFileSync(file, '')
    await expect(Store.open({ dir: join(file, 'cache'), readonly: false, minFree: 0 })).rejects.toMatchObject({ code: 'E_STORE' })
  })

  test('no room: an error before anything is written', async () => {
    await store.close()
    store = await Store.open({ dir, readonly: false, minFree: 2 ** 50 })
    await expect(publish(6, [hash('a')])).rejects.toMatchObject({ code: 'E_DISK_FULL', dir })
    expect(readdirSync(layoutOf(dir).tmp)).toEqual([])
  })
})

describe('owners', () => {
  test('this process lives; one with its number but another start does not', () => {
    const me = ownerName(thisProcess())
    expect(isAlive(me)).toBe(true)
    expect(parseOwner(me)!.pid).toBe(process.pid)
    expect(isAlive(ownerName({ ...thisProcess(), start: 'other-1' }))).toBe(process.platform === 'linux' ? false : true)
    expect(isAlive(ownerName({ ...thisProcess(), host: 'elsewhere' }))).toBeUndefined()
    expect(isAlive('nonsense')).toBeUndefined()
  })

  test('one that cannot be looked at is believed until its heartbeat is too old', () => {
    // Only what the transaction asks of the tables.
    const leases = new Map([['r', { owner: 'far.1.1.x#0', token: 1 }]])
    const tables = {
      leases: { get: () => leases.get('r'), put: () => undefined }, owners: { get: () => ({ expires: 1000 }), put: () => undefined },
      pending: { put: () => undefined }, counters: { get: () => 1, put: () => undefined },
    } as unknown as Parameters<typeof transactions.claim>[0]
    expect(transactions.claim(tables, { range: hash('r'), owner: 'me', pending: [], now: 999 })).toBeUndefined()
    expect(transactions.claim(tables, { range: hash('r'), owner: 'me', pending: [], now: 1001 })).toBe(2)
  })
})

describe('the blob format', () => {
  test('is safetensors by its plain rules: ordered, without holes, largest elements first', () => {
    const bytes = Buffer.concat(encodeBlob([
      { name: 'b', dtype: 'uint8', shape: [3], data: [Uint8Array.of(1, 2, 3)] },
      { name: 'z', dtype: 'complex128', shape: [1], data: [Float64Array.of(1, -1)] },
      { name: 'h', dtype: 'bfloat16', shape: [2], data: [Uint16Array.of(1), Uint16Array.of(2)] },
      { name: 'i', dtype: 'int64', shape: [], data: [BigInt64Array.of(-5n)] },
      { name: 'e', dtype: 'float32', shape: [0, 4], data: [] },
    ], { note: 'text' }).parts)
    const length = Number(bytes.readBigUInt64LE(0))
    expect((8 + length) % 4096).toBe(0)
    expect(JSON.parse(bytes.subarray(8, 8 + length).toString())).toEqual({
      __metadata__: { note: 'text', 'dtype.z': 'complex128' },
      i: { dtype: 'I64', shape: [], data_offsets: [0, 8] }, z: { dtype: 'F64', shape: [1, 2], data_offsets: [8, 24] },
      e: { dtype: 'F32', shape: [0, 4], data_offsets: [24, 24] }, h: { dtype: 'BF16', shape: [2], data_offsets: [24, 28] }, b: { dtype: 'U8', shape: [3], data_offsets: [28, 31] },
    })
    expect(bytes.length).toBe(8 + length + 31)
  })

  test('refuses data that is not what its shape says', () => {
    expect(() => encodeBlob([{ name: 'x', dtype: 'float32', shape: [3], data: [Float32Array.of(1, 2)] }], {})).toThrow(/12 bytes declared, 8 given/)
  })

  test('has chunks of 64 KiB to 1 MiB', () => {
    expect([0, 1, 65536, 65537, 300_000, 5_000_000].map(chunkBytesFor)).toEqual([65536, 65536, 65536, 131072, 524288, 1048576])
  })
})
