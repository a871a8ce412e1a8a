// Items whose files are elsewhere: fetched, read, published, removed. A server on the loopback stands for the world.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { cast, http, nifti, recipe, select, staged, stagedList, type Cache, type Dataset, type Source, type StagedOptions, type Tensor } from '../../src/index.js'
import { range, smallCache } from '../support/data.js'
import { tempDir } from '../support/temp.js'
import { sourceContract } from '../contracts/source.js'
import { niftiBytes } from './nifti-write.js'
import { cutAt, digestOf, first, serve, status, type Remote } from './remote.js'
import { rawBytes, rawFiles } from './staged-folder.js'
import { pattern } from './write.js'

const SHAPE = [12, 11, 10]
const steps = recipe([cast({ dtype: 'float32', fields: ['image'] })])
const volume = (k: number): Buffer => niftiBytes(pattern('int16', SHAPE, k + 1))
const BYTES = volume(0).length
const fetch = http({ retries: 2, backoff: 1, timeout: 500 })
const fields = { image: { dtype: 'int16', shape: [null, null, null] }, affine: { dtype: 'float64', shape: [4, 4] } } as const

let remote: Remote
let cache: Cache
let dir: string
beforeEach(async () => {
  dir = join(tempDir(), 'staging')
  cache = await smallCache(join(tempDir(), 'cache'))
  remote = await serve(Object.fromEntries(range(0, 12).map((k) => [`v${k}.nii`, { bytes: volume(k), etag: `"${k}"` }])))
})
afterEach(() => cache.close())

const itemsOf = (ks: readonly number[], more: (k: number) => object = () => ({})): StagedOptions['items'] => ks.map((k) => ({ id: `v${k}`, files: [{ url: `${remote.url}/v${k}.nii`, ...more(k) }] }))
const open = (ks: readonly number[], options: Partial<StagedOptions> = {}): Promise<Source> => staged({ items: itemsOf(ks), open: { type: 'nifti' }, dir, fetch, fields, ...options })

async function built(source: Source, ops = steps): Promise<Dataset> {
  try {
    return await cache.dataset(source, ops, { jobs: 2 })
  } finally {
    source.close()
  }
}

sourceContract('staged', async () => {
  const folder = tempDir()
  const there = await serve(Object.fromEntries(range(0, 5).map((k) => [`v${k}.nii`, { bytes: volume(k), etag: `"${k}"` }])))
  const paths = range(0, 5).map((k) => join(folder, `v${k}.nii`))
  paths.forEach((path, k) => writeFileSync(path, volume(k)))
  const local = await nifti(paths)
  const contents = []
  for await (const run of local.read(0, 5, { fields: ['image', 'affine'] })) {
    contents.push({ id: `v${run.start}`, fields: Object.fromEntries(Object.entries(run.fields).map(([name, tensor]) => [name, { ...tensor, shape: (tensor as Tensor).shape.slice(1) }])) as never })
  }
  return { items: contents, open: () => staged({ items: range(0, 5).map((k) => ({ id: `v${k}`, files: [{ url: `${there.url}/v${k}.nii` }] })), open: { type: 'nifti' }, dir: join(folder, 'staging'), fetch }) }
})

describe('a build', () => {
  test('has the bytes of local files, under the same keys, and leaves no raw file', async () => {
    const dataset = await built(await open(range(0, 12)))
    expect([dataset.length, dataset.report.computed]).toEqual([12, 12])
    expect(rawFiles(dir)).toEqual([])
    const folder = tempDir()
    for (const k of range(0, 12)) writeFileSync(join(folder, `v${String(k).padStart(2, '0')}.nii`), volume(k))
    const local = await cache.dataset(await nifti(folder), steps)
    expect([local.digest, local.report.computed]).toEqual([dataset.digest, 0])
  })

  test('fetches what is missing, and nothing else', async () => {
    await built(await open(range(0, 10)))
    remote.log.length = 0
    const dataset = await built(await open(range(0, 12)))
    expect([dataset.report.computed, remote.gets().sort()]).toEqual([2, ['v10.nii', 'v11.nii']])
    remote.files.set('v3.nii', { bytes: volume(30), etag: '"30"' })
    remote.log.length = 0
    expect([(await built(await open(range(0, 12)))).report.computed, remote.gets()]).toEqual([1, ['v3.nii']])
    expect(rawFiles(dir)).toEqual([])
  })

  test('with digests in the list asks nobody when all is there', async () => {
    const items = itemsOf(range(0, 6), (k) => ({ sha256: digestOf(volume(k)), size: BYTES }))
    const dataset = await built(await open([], { items }))
    expect(remote.log.filter((line) => line.startsWith('HEAD'))).toEqual([])
    remote.log.length = 0
    expect((await built(await open([], { items }))).digest).toBe(dataset.digest)
    expect(remote.log).toEqual([])
  })

  test('learns the fields from the first item, once', async () => {
    const { fields: _, ...rest } = { fields }
    const given = { items: itemsOf([0, 1]), open: { type: 'nifti' }, dir, fetch, ...rest } as StagedOptions
    const source = await staged({ ...given })
    expect(source.fields).toEqual(fields)
    await built(source)
    expect(remote.gets().filter((name) => name === 'v0.nii')).toHaveLength(1)
    remote.log.length = 0
    await built(await staged({ ...given }))
    expect(remote.gets()).toEqual([])
  })

  test('several files of an item, and a reader of one\'s own', async () => {
    const source = await staged({
      items: range(0, 3).map((k) => ({ id: `p${k}`, files: [{ url: `${remote.url}/v${k}.nii`, name: 'image.nii' }, { url: `${remote.url}/v${k + 3}.nii`, name: 'label.nii' }] })),
      open: { type: 'nifti', fields: { image: 'image', label: 'label' } }, dir, fetch,
    })
    const dataset = await built(source, recipe([]))
    expect((await dataset.get(1)).label).toMatchObject({ dtype: 'int16', shape: SHAPE })
    const released: string[] = []
    const own = await built(await open([1], { open: async (paths) => await nifti(paths[0]!, { scaled: false }), reader: { name: 'mine', version: 1 }, release: ({ id }, paths) => { released.push(id); expect(existsSync(paths[0]!)).toBe(true) } }))
    expect([own.report.computed, released]).toEqual([1, ['v1']])
    expect(rawFiles(dir)).toEqual([])
  })

  test('keeps to its disk budget', async () => {
    let most = 0
    const watch = setInterval(() => { most = Math.max(most, rawBytes(dir)) }, 1)
    for (const k of range(0, 12)) remote.files.get(`v${k}.nii`)!.fault = () => { most = Math.max(most, rawBytes(dir)); return undefined }
    // Fixed extents: many items would fill one shard.
    const dataset = await built(await open(range(0, 12), { diskBudget: 3 * BYTES, concurrency: 4, fields: { ...fields, image: { dtype: 'int16', shape: SHAPE } } }))
    clearInterval(watch)
    expect(dataset.report.computed).toBe(12)
    expect(most).toBeGreaterThan(BYTES)
    expect(most).toBeLessThanOrEqual(3 * BYTES)
    expect(remote.gets()).toHaveLength(12)
    await expect(built(await open([1, 2], { diskBudget: BYTES - 1, fields: { ...fields, image: { dtype: 'int16', shape: [null, null, 10] } } }), recipe([]))).rejects.toMatchObject({ code: 'E_ITEM', message: expect.stringMatching(/item v1: .*v1\.nii: .*bytes needed/) as string })
  })

  test('files whose size nobody tells are fetched alone, within the budget', async () => {
    for (const k of range(0, 4)) {
      const chunked = (_: unknown, response: import('node:http').ServerResponse): 'handled' => {
        response.writeHead(200, { etag: `"${k}"` })
        response.write(volume(k))
        response.end()
        return 'handled'
      }
      Object.assign(remote.files.get(`v${k}.nii`)!, { fault: chunked, headFault: (_: unknown, response: import('node:http').ServerResponse) => { response.writeHead(200, { etag: `"${k}"` }).end(); return 'handled' } })
    }
    expect((await built(await open(range(0, 4), { diskBudget: 2 * BYTES }))).report.computed).toBe(4)
    await expect(built(await open(range(0, 4), { diskBudget: BYTES - 1 }), recipe([]))).rejects.toThrow(/v\d\.nii.*more than \d+ bytes came/)
  })
})

describe('what goes wrong', () => {
  test.each([
    ['500 for ever', { fault: status(500) }, /item v2: http.*v2\.nii: cannot be fetched: the server answered 500.*3 attempts/],
    ['not there', { headFault: status(404) }, /item v2: http.*v2\.nii: .*404/],
    ['another version between asking and fetching', { fault: (_r: never, _s: never, file: { etag: string }) => { file.etag = '"new"'; return undefined } }, /item v2: http.*v2\.nii: changed while it was read \(its ETag was "2", now it is "new"\)/],
    ['no volume', { bytes: Buffer.alloc(1000) }, /item v2: http.*v2\.nii: .*sizeof_hdr/],
    ['another dtype', { bytes: niftiBytes(pattern('uint8', SHAPE)) }, /item v2: http.*v2\.nii: field image: expected int16 \[any, any, any\], found uint8/],
  ])('%s: an error naming item and URL; what was published stays', async (_, served, message) => {
    const good = { ...remote.files.get('v2.nii')! }
    Object.assign(remote.files.get('v2.nii')!, served)
    await expect(built(await open(range(0, 5), { concurrency: 1, ahead: 0 }))).rejects.toMatchObject({ code: 'E_ITEM', message: expect.stringMatching(message) as string })
    remote.files.set('v2.nii', { ...good, fault: undefined, headFault: undefined })
    expect((await built(await open(range(0, 5)))).length).toBe(5)
    // A version that nobody asks for any more stays until there is no room, or for a day.
    expect(rawFiles(dir)).toHaveLength('bytes' in served ? 1 : 0)
  })

  test('a wrong checksum is fetched once more, then an error', async () => {
    const items = itemsOf([0, 1], (k) => ({ sha256: digestOf(volume(k === 1 ? 7 : k)) }))
    await expect(built(await open([], { items }))).rejects.toMatchObject({ code: 'E_ITEM', message: expect.stringMatching(/item v1: http.*v1\.nii: has the SHA-256 .*, not /) as string })
    expect(remote.gets().filter((name) => name === 'v1.nii')).toHaveLength(2)
  })

  test('a connection that breaks again and again ends in the right bytes', async () => {
    for (const k of range(0, 4)) remote.files.get(`v${k}.nii`)!.fault = first(2, cutAt(0.3))
    expect((await built(await open(range(0, 4)))).report.computed).toBe(4)
  })

  test('an abort is the caller\'s own, and ends fetching', async () => {
    for (const k of range(0, 12)) remote.files.get(`v${k}.nii`)!.fault = () => 'handled'
    const stop = new AbortController()
    const source = await open(range(0, 12))
    const reason = new Error('enough')
    const building = cache.dataset(source, steps, { signal: stop.signal })
    while (remote.gets().length === 0) await new Promise((done) => { setTimeout(done, 5) })
    stop.abort(reason)
    await expect(building).rejects.toBe(reason)
    for (const k of range(0, 12)) remote.files.get(`v${k}.nii`)!.fault = undefined
    expect((await built(source)).report.computed).toBe(12)
    expect(rawFiles(dir)).toEqual([])
  })

  test('a server that says nothing of a file: it is fetched by every build, and computed once', async () => {
    remote.files.get('v0.nii')!.etag = undefined
    await built(await open([0, 1]))
    remote.log.length = 0
    const again = await built(await open([0, 1]))
    expect([again.report.computed, remote.gets()]).toEqual([0, ['v0.nii']])
    expect(rawFiles(dir)).toEqual([])
  })

  test('onBadItem: skip leaves out what is not there', async () => {
    remote.files.get('v1.nii')!.headFault = status(404)
    const source = await open(range(0, 3), { onBadItem: 'skip' })
    expect(source.skipped).toMatchObject([{ id: 'v1', reason: expect.stringContaining('404') as string }])
    const dataset = await built(source)
    expect([dataset.length, dataset.report.skipped]).toEqual([2, 1])
  })

  test('misuse', async () => {
    for (const [options, message] of [
      [{ dir: 5 }, /dir must be a path/], [{ conccurency: 2 }, /"conccurency" should be "concurrency"/], [{ open: { type: 'tiff' } }, /open\.type must be one of nifti/], [{ open: async () => await nifti('x') }, /needs reader/],
      [{ items: [{ id: 'a', files: [] }] }, /item 0 must be/], [{ items: [{ id: 'a', files: [{ url: 'http://x/../..' }] }] }, /name must be/], [{ items: [{ id: 'a', files: [{ url: 'http://x/a', name: '../a' }] }] }, /name must be/],
      [{ items: itemsOf([1, 1]) }, /has the id "v1"/], [{ items: [{ id: 'a', files: [{ url: 'u', sha256: 'x' }] }] }, /sha256 must be 64 hex/], [{ fields: { image: { dtype: 'int17', shape: [] } } }, /fields\.image/],
    ] as const) await expect(open([0], options as never)).rejects.toThrow(message)
  })
})

describe('the staging folder', () => {
  test('what others left is taken over when it is sound, and nothing strange is touched', async () => {
    const earlier = await open(range(0, 4))
    earlier.expect!([0, 1, 2, 3])
    while (readdirSync(join(dir, 'ready')).length < 4) await new Promise((done) => { setTimeout(done, 10) })
    earlier.close()
    const ready = readdirSync(join(dir, 'ready'))
    const damaged = join(dir, 'ready', ready[0]!, readdirSync(join(dir, 'ready', ready[0]!)).find((name) => name.endsWith('.nii'))!)
    const bytes = readFileSync(damaged)
    bytes[700] = bytes[700]! ^ 1
    writeFileSync(damaged, bytes)
    writeFileSync(join(dir, 'mine.txt'), 'mine')
    mkdirSync(join(dir, 'ready', 'mine'))
    remote.log.length = 0
    const dataset = await built(await open(range(0, 4)))
    expect(remote.gets()).toHaveLength(1)
    expect([((await dataset.get(3)).image as Tensor).shape, rawFiles(dir), existsSync(join(dir, 'mine.txt'))]).toEqual([SHAPE, ['mine'], true])
  })

  test('two builds at once share what is fetched', async () => {
    const others = await smallCache(join(tempDir(), 'cache'))
    const [a, b] = await Promise.all([built(await open(range(0, 8), { diskBudget: 4 * BYTES })), open(range(0, 8), { diskBudget: 4 * BYTES }).then(async (source) => { try { return await others.dataset(source, steps) } finally { source.close() } })])
    expect(a.digest).toBe(b.digest)
    expect(rawFiles(dir)).toEqual([])
    await others.close()
  })
})

test('a list in a CSV file, as a configuration says it', async () => {
  const list = join(tempDir(), 'volumes.csv')
  writeFileSync(list, `name,where,digest\n${range(0, 3).map((k) => `n${k},${remote.url}/v${k}.nii,${k === 1 ? '' : digestOf(volume(k))}\n`).join('')}`)
  const dataset = await built(await stagedList(list, { urlColumn: 'where', idColumn: 'name', sha256Column: 'digest', open: { type: 'nifti' }, dir, diskBudget: '1MB' }))
  expect([dataset.length, (await dataset.get(2)).id]).toEqual([3, 'n2'])
  await expect(stagedList(list, { urlColumn: 'wheer', open: { type: 'nifti' }, dir })).rejects.toThrow(/did you mean "where"/)
})

describe('numbers that the list knows', () => {

  test('are fields, and items with them are those of a local list', async () => {
    const source = await open(range(0, 3), { items: range(0, 3).map((k) => ({ id: `v${k}`, files: [{ url: `${remote.url}/v${k}.nii` }], properties: { age: 30 + k } })) })
    expect(source.fields.age).toEqual({ dtype: 'float64', shape: [] })
    const dataset = await built(source, steps)
    expect((await dataset.get(2)).age).toEqual({ dtype: 'float64', shape: [], data: Float64Array.of(32) })
    const folder = tempDir()
    for (const k of range(0, 3)) writeFileSync(join(folder, `v${k}.nii`), volume(k))
    writeFileSync(join(folder, 'list.csv'), `image,Age at scan\n${range(0, 3).map((k) => `v${k}.nii,${30 + k}\n`).join('')}`)
    const local = await cache.dataset(await nifti(join(folder, 'list.csv'), { properties: { age: 'Age at scan' } }), steps)
    expect([local.key, local.report.computed]).toEqual([dataset.key, 0])
  })

  test.each([[false], [true]])('one that changes is one item computed, and what is not asked for is in no key; digests in the list: %s', async (isDeclared) => {
    const itemsWith = (years: number): StagedOptions['items'] => range(0, 3).map((k) => ({
      id: `v${k}`, files: [{ url: `${remote.url}/v${k}.nii`, ...(isDeclared && { sha256: digestOf(volume(k)) }) }], properties: { age: k === 1 ? years : 30 },
    }))
    await built(await open([], { items: itemsWith(31) }), steps)
    remote.log.length = 0
    const changed = await built(await open([], { items: itemsWith(32) }), steps)
    expect([changed.report.computed, ((await changed.get(1)).age as Tensor).data[0], remote.gets()]).toEqual([1, 32, ['v1.nii']])
    const without = recipe([select({ fields: ['image'] })])
    await built(await open([], { items: itemsWith(31) }), without)
    remote.log.length = 0
    expect([(await built(await open([], { items: itemsWith(32) }), without)).report.computed, remote.gets()]).toEqual([0, []])
    const numbers = await built(await open([], { items: itemsWith(33) }), recipe([select({ fields: ['age'] })]))
    expect([((await numbers.get(1)).age as Tensor).data[0], rawFiles(dir)]).toEqual([33, []])
  })

  test('of a CSV are its columns', async () => {
    const list = join(tempDir(), 'volumes.csv')
    writeFileSync(list, `url,Age,digest\n${range(0, 3).map((k) => `${remote.url}/v${k}.nii,${30 + k},\n`).join('')}`)
    const dataset = await built(await stagedList(list, { properties: { age: 'Age' }, sha256Column: 'digest', open: { type: 'nifti' }, dir }), steps)
    expect(((await dataset.get(1)).age as Tensor).data[0]).toBe(31)
    await expect(stagedList(list, { properties: ['digest'], open: { type: 'nifti' }, dir })).rejects.toThrow(/row 0, column "?digest"?: expected a number, found nothing/)
    await expect(stagedList(list, { properties: ['Ages'], open: { type: 'nifti' }, dir })).rejects.toThrow(/Ages/)
  })

  test.each<[string, object[], RegExp]>([
    ['no number', [{ properties: { age: '31' } }], /item 0 \(v0\): properties\.age must be a number, not "31"/],
    ['other ones than the first item has', [{ properties: { age: 31 } }, {}], /item 1 \(v1\): properties must be those of the first item, age, not none/],
    ['the name of an image', [{ properties: { image: 1 } }], /there is a field "image" already/],
    ['no name for a field', [{ properties: { 'Age at scan': 1 } }], /cannot be the name of a field/],
    ['a list', [{ properties: [1] }], /properties must be \{ field: number \}/],
  ])('%s is refused', async (_name, given, message) => {
    await expect(open([], { items: given.map((more, k) => ({ id: `v${k}`, files: [{ url: `${remote.url}/v${k}.nii` }], ...more })) as never })).rejects.toThrow(message)
  })
})
