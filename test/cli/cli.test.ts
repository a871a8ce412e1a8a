import { spawn, spawnSync, type SpawnSyncReturns } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { items as itemsSource } from '../../src/sources/items.js'
import { cast, npz, openArrays, recipe, type Tensor } from '../../src/index.js'
import { niftiBytes, niftiGz } from '../sources/nifti-write.js'
import { pattern } from '../sources/write.js'
import { range, smallCache, writeRows } from '../support/data.js'
import { tempDir } from '../support/temp.js'

const main = resolve(import.meta.dirname, '../../dist/cli/main.js')
const CONFIG = `
cache: { dir: cache, minFree: 0, memoryBudget: 6MiB }
datasets:
  train:
    namespace: tensors/test
    source: { type: npz, path: a.npz }
    recipe:
      ops:
        - cast: { dtype: float32, fields: [x] }
        - normalize: { mode: zscore, fields: [x] }
`

let dir: string
const env = { ...process.env, TENSORCACHE_DIR: undefined }
const run = (...args: string[]): SpawnSyncReturns<string> => spawnSync(process.execPath, [main, ...args], { cwd: dir, encoding: 'utf8', env: env as NodeJS.ProcessEnv })
const json = (...args: string[]): Record<string, unknown> => {
  const { status, stdout, stderr } = run(...args, '--format', 'json')
  expect(stderr).toBe('')
  expect(status).toBe(0)
  return JSON.parse(stdout) as Record<string, unknown>
}

const cif = (a: number, name = 'x'): string => `data_${name}\n${['a', 'b', 'c'].map((axis) => `_cell_length_${axis} ${a}\n`).join('')}${['alpha', 'beta', 'gamma'].map((angle) => `_cell_angle_${angle} 90\n`).join('')}loop_\n_atom_site_label\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\nC1 0 0 0\nC2 .5 .5 .5\n`

beforeAll(() => expect(existsSync(main), 'npm run build first').toBe(true))
beforeEach(() => {
  dir = tempDir()
  writeRows(join(dir, 'a.npz'), range(0, 60), 4096)
  writeFileSync(join(dir, 'tensorcache.yaml'), CONFIG)
})

/** The objects of `--format json`, one a line. */
function lines(...args: string[]): Record<string, unknown>[] {
  const { status, stdout, stderr } = run(...args, '--format', 'json')
  expect([status, stderr]).toEqual([0, ''])
  return stdout.trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>)
}

describe('build', () => {
  test('computes once, and says the same in the same words', () => {
    const cold = json('build')
    expect(Object.keys(cold)).toEqual(['name', 'key', 'digest', 'items', 'hits', 'computed', 'skipped', 'seconds', 'secondsSaved', 'bytes', 'device', 'adapter'])
    expect(cold).toMatchObject({ name: 'train', items: 60, hits: 0, computed: 60, skipped: 0, device: 'cpu' })
    expect(json('build', 'train')).toMatchObject({ key: cold.key, digest: cold.digest, hits: 60, computed: 0, bytes: 0 })
  })

  test('--dry-run says what is missing and writes nothing', () => {
    expect(json('build', '--dry-run')).toMatchObject({ items: 60, hits: 0, missing: 60, bytes: 60 * (4096 * 4 + 4) })
    expect(existsSync(join(dir, 'cache'))).toBe(false)
    json('build')
    writeRows(join(dir, 'a.npz'), range(0, 62), 4096)
    const before = readdirSync(join(dir, 'cache/blobs'), { recursive: true })
    expect(json('build', '--dry-run')).toMatchObject({ items: 62, hits: 60, missing: 2 })
    expect(readdirSync(join(dir, 'cache/blobs'), { recursive: true })).toEqual(before)
  })

  test('a signal stops it in good order, and the next build goes on', async () => {
    writeRows(join(dir, 'a.npz'), range(0, 3000), 4096)
    const child = spawn(process.execPath, [main, 'build', '--jobs', '1'], { cwd: dir, env: env as NodeJS.ProcessEnv, stdio: ['ignore', 'pipe', 'pipe'] })
    let stderr = ''
    child.stderr.on('data', (data: Buffer) => { stderr += data.toString() })
    const blobs = join(dir, 'cache/blobs')
    while (!(existsSync(blobs) && readdirSync(blobs).length > 3)) await new Promise((done) => setTimeout(done, 5))
    child.kill('SIGINT')
    const [status] = await new Promise<[number | null]>((done) => child.on('close', (code) => done([code])))
    expect(status, stderr).toBe(130)
    expect(stderr).toContain('stopped by SIGINT')
    expect(readdirSync(join(dir, 'cache/tmp'))).toEqual([])
    const { computed, items } = json('build') as { computed: number; items: number }
    expect(items).toBe(3000)
    expect(computed).toBeGreaterThan(0)
    expect(computed).toBeLessThan(3000)
  })
})

describe('build of a dataset that is made from another', () => {
  const config = `
cache: { dir: cache, minFree: 0, memoryBudget: 6MiB }
datasets:
  scaler: { source: { type: dataset, name: "\${vars.on}", fields: [x] }, recipe: [standardScaler: {}] }
  train: { source: { type: npz, path: a.npz } }
  val: { source: { type: npz, path: missing.npz } }
vars: { on: train }
`
  test('builds what it needs first, and nothing else', () => {
    writeFileSync(join(dir, 'tensorcache.yaml'), config)
    expect(lines('build', 'scaler', '--dry-run')).toMatchObject([{ name: 'train', missing: 60, waitsFor: null }, { name: 'scaler', items: null, waitsFor: 'train' }])
    const cold = lines('build', 'scaler')
    expect(cold).toMatchObject([{ name: 'train', items: 60, computed: 60 }, { name: 'scaler', items: 1, computed: 1 }])
    expect(lines('build', 'scaler', 'train')).toMatchObject([{ name: 'train', computed: 0 }, { name: 'scaler', computed: 0, key: cold[1]!.key, digest: cold[1]!.digest }])
    expect(lines('build', 'scaler', '--dry-run')).toMatchObject([{ name: 'train', hits: 60 }, { name: 'scaler', items: 1, hits: 1, missing: 0, bytes: 0, waitsFor: null }])
    const { dtype, shape } = JSON.parse(run('info', 'scaler', '--format', 'json').stdout).fields.x_mean as Tensor
    expect([dtype, shape]).toEqual(['float64', [4096]])
    // Another row in the training set: another scaler.
    writeRows(join(dir, 'a.npz'), range(0, 61), 4096)
    expect(lines('build', 'scaler', '--dry-run')).toMatchObject([{ name: 'train', missing: 1 }, { name: 'scaler', waitsFor: 'train' }])
    const grown = lines('build', 'scaler')
    expect(grown).toMatchObject([{ computed: 1 }, { computed: 1 }])
    expect(grown[1]!.key).not.toBe(cold[1]!.key)
  })

  test('what is wrong is said', () => {
    writeFileSync(join(dir, 'tensorcache.yaml'), config)
    expect(run('build', 'scaler', '--set', 'vars.on=scaler')).toMatchObject({ status: 2, stderr: expect.stringContaining('datasets are made from each other: scaler → scaler') })
    expect(run('build', 'scaler', '--set', 'datasets.scaler.source.fields=[z]')).toMatchObject({ status: 2, stderr: expect.stringContaining('datasets.scaler.source: fromDataset: the dataset has no field "z"; it has x, y') })
    expect(run('build', 'scaler', '--set', 'vars.on=val')).toMatchObject({ status: 1, stderr: expect.stringContaining('missing.npz') })
  })
})

describe('tables', () => {
  const table = resolve(import.meta.dirname, '../fixtures/parquet/zstd.parquet')

  test('rows of JSON lines and of Parquet are items', () => {
    writeFileSync(join(dir, 'docs.jsonl'), '{"doc":"a","text":"x","meta":{"label":3}}\n{"doc":"b","text":"yz"}\n')
    writeFileSync(join(dir, 'tensorcache.yaml'), `cache: { dir: cache, minFree: 0 }
datasets:
  docs: { source: { type: jsonl, path: docs.jsonl, id: doc, fields: { text: text, label: { column: meta.label, dtype: int32, default: -1 } } } }
  rows: { source: { type: parquet, path: ${JSON.stringify(table)}, id: doc, fields: [text, list] } }
`)
    expect(lines('build')).toMatchObject([{ name: 'docs', items: 2, computed: 2 }, { name: 'rows', items: 25, computed: 25 }])
    expect(json('info', 'docs')).toMatchObject({ fields: { text: { dtype: 'uint8', shape: [null] }, label: { dtype: 'int32', shape: [] } } })
    writeFileSync(join(dir, 'docs.jsonl'), '{"doc":"a","text":"x","meta":{"label":3}}\n{"doc":"b","text":"changed"}\n')
    expect(lines('build')).toMatchObject([{ name: 'docs', computed: 1 }, { name: 'rows', computed: 0 }])
    expect(run('build', 'docs', '--set', 'datasets.docs.source.fields=[txt]')).toMatchObject({ status: 1, stderr: expect.stringContaining('docs.jsonl: line 1, column "txt"') })
    expect(run('build', 'rows', '--set', 'datasets.rows.source.fields=[txt]')).toMatchObject({ status: 2, stderr: expect.stringContaining('did you mean "text"?') })
  })

  test('inspect shows their columns', () => {
    writeFileSync(join(dir, 'docs.jsonl'), '{"doc":"a","n":1,"list":[1],"meta":{}}\n')
    expect(json('inspect', 'docs.jsonl')).toMatchObject({ format: 'jsonl', rows: 1, columns: [{ name: 'doc', type: 'text', usable: true }, { name: 'n', type: 'float64' }, { name: 'list', type: 'float64 list' }, { name: 'meta', usable: false }] })
    const { stdout } = run('inspect', table)
    expect(stdout).toMatch(/parquet, .*\n25 rows\n/)
    expect(stdout).toMatch(/^u16 +uint16$/m)
    expect(stdout).toMatch(/^when +cannot be a field: a column of type TIMESTAMP/m)
    writeFileSync(join(dir, 'bad.jsonl'), '[1]\n')
    expect(run('inspect', 'bad.jsonl')).toMatchObject({ status: 1, stderr: expect.stringContaining('line 1: expected an object in JSON') })
  })
})

describe('build of volumes', () => {
  test('a table below a folder of its own, volumes below another', () => {
    mkdirSync(join(dir, 'lists'))
    mkdirSync(join(dir, 'volumes'))
    for (const k of [1, 2]) writeFileSync(join(dir, `volumes/v${k}.nii.gz`), niftiGz(pattern('int16', [4, 3, k + 1], k)))
    writeFileSync(join(dir, 'lists/train.csv'), 'VolumeName,Age\nv1.nii.gz,50\nv2.nii.gz,61.5\n')
    writeFileSync(join(dir, 'tensorcache.yaml'), 'cache: { dir: cache, minFree: 0 }\ndatasets: { v: { source: { type: nifti, path: lists/train.csv, root: volumes, column: VolumeName, properties: { age: Age } }, recipe: [cast: { dtype: float32, fields: [image] }] } }')
    const built = json('build')
    expect(built).toMatchObject({ items: 2, computed: 2 })
    expect(json('info', built.key as string)).toMatchObject({ fields: { image: { dtype: 'float32', shape: [4, 3, null] }, affine: { dtype: 'float64', shape: [4, 4] }, age: { dtype: 'float64', shape: [] } } })
    expect(run('build', '--set', 'datasets.v.source.time=first')).toMatchObject({ status: 2, stderr: expect.stringContaining('datasets.v.source: nifti: time must be one of trailing, leading') })
  })
})

describe('build of crystals', () => {
  const config = (more: string): string => `cache: { dir: cache, minFree: 0, memoryBudget: 6MiB }\ndatasets: { c: { source: { type: crystals, path: c.csv, idColumn: id, properties: [energy]${more} } } }`
  const rows = (list: readonly (readonly [id: string, a: number])[]): void => writeFileSync(join(dir, 'c.csv'), `id,energy,cif\n${list.map(([id, a]) => `${id},${a / 4},"${cif(a)}"\n`).join('')}`)

  test('only rows that are new are computed, whatever their order', () => {
    writeFileSync(join(dir, 'tensorcache.yaml'), config(''))
    rows([['a', 3], ['b', 4]])
    expect(json('build')).toMatchObject({ items: 2, computed: 2, skipped: 0 })
    rows([['c', 5], ['b', 4], ['a', 3]])
    const added = json('build')
    expect(added).toMatchObject({ items: 3, computed: 1 })
    expect(json('build')).toMatchObject({ key: added.key, items: 3, computed: 0 })
    expect(json('info', added.key as string)).toMatchObject({ fields: { numbers: { dtype: 'int32', shape: [null] }, frac_coords: { dtype: 'float64', shape: [null, 3] }, lattice: { dtype: 'float64', shape: [3, 3] }, energy: { dtype: 'float32', shape: [] } } })
  })

  test('bad rows end it, or are listed at its end', () => {
    writeFileSync(join(dir, 'tensorcache.yaml'), config(''))
    rows([['a', 3], ['b', -1], ['c', 5]])
    const failed = run('build')
    expect([failed.status, failed.stderr]).toEqual([1, expect.stringContaining('c.csv: row 1 ("b"): _cell_length_a: expected a length')])
    writeFileSync(join(dir, 'tensorcache.yaml'), config(', onBadItem: skip'))
    const { status, stdout, stderr } = run('build', '--format', 'json')
    expect(status).toBe(0)
    expect(JSON.parse(stdout)).toMatchObject({ items: 2, skipped: 1 })
    expect(stderr).toContain('skipped b: ')
    expect(run('build').stdout).toContain('2 items, 2 hits, 0 computed, 1 skipped')
  })
})

describe('looking', () => {
  test('ls, info and inspect', () => {
    const { key, digest } = json('build')
    expect(json('ls')).toMatchObject({ key, digest, name: 'train', namespace: 'tensors/test', items: 60 })
    expect(run('ls', 'tensors').stdout).toContain('train')
    expect(run('ls', 'tens').stdout).toBe('')
    for (const name of ['train', 'tensors/test/train', (key as string).slice(0, 8)]) {
      expect(json('info', name)).toMatchObject({ key, digest, items: 60, fields: { x: { dtype: 'float32', shape: [4096] } }, recipe: { ops: [{ name: 'cast' }, { name: 'normalize' }] }, pins: [] })
    }
    expect(run('info', 'train').stdout).toContain('normalize (version 1)')
    expect(json('inspect', 'a.npz')).toMatchObject({ format: 'npz', arrays: [{ name: 'x', dtype: 'float64', shape: [60, 4096], compressed: false }, { name: 'y', dtype: 'int32', shape: [60] }] })
  })

  test('inspect shows the header of a .nii', () => {
    const rows = [2, 0, 0, -10, 0, 3, 0, -20, 0, 0, 4, -30.5]
    writeFileSync(join(dir, 'v.nii.gz'), niftiGz(pattern('int16', [4, 3, 2]), { sform: rows, slope: 0.5, inter: 1 }))
    expect(json('inspect', 'v.nii.gz')).toMatchObject({ format: 'nifti', version: 1, dtype: 'int16', shape: [4, 3, 2], compressed: true, scale: { slope: 0.5, inter: 1 }, affine: [[2, 0, 0, -10], [0, 3, 0, -20], [0, 0, 4, -30.5], [0, 0, 0, 1]], unusable: null })
    expect(run('inspect', 'v.nii.gz').stdout).toMatch(/NIfTI-1, int16 \[4, 3, 2\], compressed, scaled by 0\.5, plus 1\n[^]*0 +0 +4 +-30\.5/)
    writeFileSync(join(dir, 'rgb.nii'), niftiBytes(pattern('uint8', [4, 3, 2]), { lies: { datatype: 128, bitpix: 24 } }))
    expect(run('inspect', 'rgb.nii').stdout).toContain('cannot be read: it holds colours')
  })

  test('inspect shows the blocks of a .cif and the columns of a .csv', () => {
    writeFileSync(join(dir, 'a.cif'), `data_about\n_x 1\n${cif(4, 'one')}${cif(-1, 'two')}`)
    expect(json('inspect', 'a.cif')).toMatchObject({ format: 'cif', blocks: [{ name: 'one', formula: 'C2', atoms: 2 }, { name: 'two', unusable: 'block two: _cell_length_a: expected a length above 0, up to 100000 Å, found "-1"' }] })
    expect(run('inspect', 'a.cif').stdout).toMatch(/one +2 +4\.0000 4\.0000 4\.0000 +C2/)
    writeFileSync(join(dir, 'a.csv'), `id,cif\na,"${cif(4)}"\nb\n`)
    expect(json('inspect', 'a.csv')).toMatchObject({ format: 'csv', rows: 2, columns: ['id', 'cif'], raggedRows: 1 })
    expect(run('inspect', 'a.csv').stdout).toContain('2 rows, 1 of which')
  })

  test('doctor says what there is', () => {
    expect(json('doctor')).toMatchObject({ addon: 'built', instructionSets: expect.arrayContaining(['baseline']), writable: true })
  })

  test('the cache is where option, environment and file say, in this order', () => {
    // Without adapters: their canaries take ten seconds.
    const where = (args: string[], more: object = {}): unknown => (JSON.parse(spawnSync(process.execPath, [main, 'doctor', '--format', 'json', ...args], { cwd: dir, encoding: 'utf8', env: { ...env, VK_DRIVER_FILES: '/dev/null', ...more } as NodeJS.ProcessEnv }).stdout) as { cacheDir: string }).cacheDir
    expect(where([])).toBe(join(dir, 'cache'))
    expect(where([], { TENSORCACHE_DIR: '/tmp/by-environment' })).toBe('/tmp/by-environment')
    expect(where(['--cache-dir', 'by-option'], { TENSORCACHE_DIR: '/tmp/by-environment' })).toBe(join(dir, 'by-option'))
  })
})

describe('export', () => {
  test.each(['npz', 'safetensors'])('%s holds the same bytes', async (format) => {
    json('build')
    expect(json('export', 'train', '--output', `out.${format}`)).toMatchObject({ items: 60 })
    const cache = await smallCache(join(dir, 'cache'))
    const dataset = (await cache.openDataset([...cache.store.datasets()][0]!.key))!
    const arrays = await openArrays(join(dir, `out.${format}`))
    expect(arrays.x!.shape).toEqual([60, 4096])
    for (let i = 0; i < dataset.length; i++) {
      const item = await dataset.get(i)
      for (const name of ['x', 'y']) expect(Buffer.from((await arrays[name]!.read({ start: i, stop: i + 1 })).data.buffer).byteLength).toBeGreaterThan(0)
      const row = (await arrays.x!.read({ start: i, stop: i + 1, })).data as Float32Array
      expect(Buffer.compare(Buffer.from(row.buffer, row.byteOffset, row.byteLength), Buffer.from((item.x as Tensor).data.buffer, (item.x as Tensor).data.byteOffset, 16384))).toBe(0)
    }
    await cache.close()
    expect(run('export', 'train', '--output', `out.${format}`).status).toBe(2)
    expect(run('export', 'train', '--output', `out.${format}`, '--force').status).toBe(0)
    expect(readdirSync(dir).filter((name) => name.endsWith('.tmp'))).toEqual([])
  })

  test('ragged fields come with offsets', async () => {
    const cache = await smallCache(join(dir, 'cache'))
    const rows = range(0, 5).map((i) => ({ id: `n${i}`, fields: { e: { dtype: 'float32' as const, shape: [i, 2], data: Float32Array.from({ length: 2 * i }, (_, k) => 10 * i + k) } } }))
    const { key } = await cache.dataset(await itemsSource(rows), recipe([cast({ dtype: 'int32' })]), { name: 'ragged' })
    await cache.close()
    for (const format of ['npz', 'safetensors']) {
      expect(run('export', key.slice(0, 12), '--output', `r.${format}`).stderr).toBe('')
      const arrays = await openArrays(join(dir, `r.${format}`))
      expect([...(await arrays['e.offsets']!.read()).data]).toEqual([0n, 0n, 1n, 3n, 6n, 10n])
      expect([...(await arrays.e!.read()).data as Int32Array]).toEqual(rows.flatMap(({ fields }) => [...fields.e.data]))
    }
  })
})

describe('verify', () => {
  test('finds one flipped bit and names the file', () => {
    json('build')
    expect(json('verify')).toMatchObject({ damaged: [] })
    const root = join(dir, 'cache/blobs')
    // The shard; a manifest that is made again has another time in it, and another name.
    const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).map((name) => join(root, name)).filter((path) => statSync(path).isFile())
    const victim = files.sort((a, b) => statSync(b).size - statSync(a).size)[0]!
    const bytes = readFileSync(victim)
    bytes[bytes.length - 1]! ^= 1
    chmodSync(victim, 0o644)
    writeFileSync(victim, bytes)
    const { status, stdout } = run('verify', '--format', 'json')
    expect(status).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({ damaged: [{ path: victim }] })
    expect(run('verify').stdout).toContain(`damaged: ${victim}`)
    expect(run('verify', '--dry-run').status).toBe(2)
    expect(run('verify', '--sample', 'all').status).toBe(2)
    const dry = run('verify', '--fix', '--dry-run')
    expect(dry.status).toBe(1)
    expect(dry.stdout).toContain('would be rebuilt: dataset tensors/test/train: from npz')
    const fixed = run('verify', '--fix', '--recompute', '5', '--seed', '7')
    expect(fixed.stdout).toMatch(/rebuilt: dataset tensors\/test\/train: \d+ of 60 items computed from npz/)
    expect(fixed.status).toBe(0)
    const keys = ['sound', 'blobs', 'of', 'bytes', 'seconds', 'seed', 'records', 'damaged', 'broken', 'recomputed', 'repairs', 'dryRun']
    expect(Object.keys(json('verify'))).toEqual(keys)
    expect(json('verify', '--fix', '--recompute', '5')).toMatchObject({ sound: true, repairs: [], recomputed: { items: 5, differences: [] } })
    expect(json('verify', '--sample', '1', '--seed', '3')).toMatchObject({ blobs: 1, seed: '3' })
    rmSync(join(dir, 'a.npz'))
    writeFileSync(victim, bytes)
    const lost = run('verify', '--fix')
    expect(lost.status).toBe(1)
    expect(lost.stdout).toMatch(/lost: dataset tensors\/test\/train: its source cannot be opened .*a\.npz.*; bring the source back/)
  })
})

describe('reindex, backup and restore', () => {
  test('an index that is lost, a cache that is lost', () => {
    const { digest } = json('build')
    expect(Object.keys(json('backup', 'copy'))).toEqual(['blobs', 'bytes', 'copied', 'copiedBytes', 'linked', 'removed', 'missing'])
    expect(run('reindex').status).toBe(1)
    rmSync(join(dir, 'cache/index'), { recursive: true })
    expect(json('reindex')).toMatchObject({ items: 60, datasets: 1, values: 0, damaged: [], before: null })
    expect(json('build')).toMatchObject({ digest, computed: 0 })
    expect(json('verify')).toMatchObject({ sound: true })
    expect(run('restore', 'copy').status).toBe(1)
    expect(json('restore', 'copy', '--yes', '--verify')).toMatchObject({ missing: [], damaged: [] })
    rmSync(join(dir, 'cache'), { recursive: true })
    expect(run('verify').status).toBe(2)
    expect(json('restore', 'copy', '--link')).toMatchObject({ missing: [] })
    expect(json('build')).toMatchObject({ digest, computed: 0 })
    expect(run('backup').status).toBe(2)
  })
})

describe('wrong use', () => {
  test('a verb that only looks does not stumble over what another needs, and leaves nothing behind', () => {
    json('build')
    writeFileSync(join(dir, 'other.yaml'), 'cache: { dir: cache }\ndatasets: { x: { source: { type: npz, path: "${env:TENSORCACHE_NOT_SET}" } } }')
    expect(json('ls', '--config', 'other.yaml')).toMatchObject({ name: 'train' })
    mkdirSync(join(dir, 'empty'))
    expect(run('ls', '--cache-dir', 'empty')).toMatchObject({ status: 2, stderr: expect.stringContaining('there is no cache at') })
    expect(readdirSync(join(dir, 'empty'))).toEqual([])
  })

  test('errors have the format that was asked for', () => {
    json('build')
    expect(run('info', 'json').stderr).toMatch(/^tensorcache: /)
    const { stderr, status } = run('build', '--set', 'cache.dirr=x', '--format', 'json')
    expect(status).toBe(2)
    expect(JSON.parse(stderr)).toEqual({ error: { code: 'E_CONFIG', file: '--set cache.dirr=x', key: 'cache.dirr', message: expect.stringContaining('should be "dir"') } })
  })

  test.each([
    [['bild'], 'did you mean "build"?'],
    [['build', '--job', '3'], 'did you mean "jobs"?'],
    [['build', '--jobs', 'many'], 'jobs must be an integer'],
    [['build', 'test'], 'no dataset "test"; it has train'],
    [['build', '--device', 'gpu'], 'device must be one of'],
    [['info', 'nothing'], 'no dataset "nothing"'],
    [['inspect'], 'usage: tensorcache inspect <file>'],
    [['ls', '--format', 'xml'], '--format must be text or json'],
    [['build', '--set', 'datasets.train.recipe.sed=3'], 'recipe.sed: unknown key; it should be "seed"'],
    [['build', '--set', 'datasets.train.source.type=nzp'], 'there is no source "nzp"; it should be "npz"'],
    [['build', '--set', 'cache.dirr=x'], 'should be "dir"'],
    [['build', '--config', 'none.yaml'], 'none.yaml: there is no such file'],
    [['export', 'train', '--output', 'a.txt'], 'must end in .safetensors or .npz'],
  ])('%j ends with 2 and says what is right', (args, message) => {
    if (args[0] === 'info' || args[0] === 'export') json('build')
    const { status, stderr } = run(...args)
    expect(stderr).toContain(message)
    expect(stderr).not.toContain('    at ')
    expect(status).toBe(2)
  })

  test('failures end with 1, as one line or as JSON', () => {
    writeFileSync(join(dir, 'a.npz'), 'not a zip file')
    const { status, stderr } = run('build', '--format', 'json')
    expect(status).toBe(1)
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'E_FORMAT', file: join(dir, 'a.npz') } })
    expect(run('build').stderr).toMatch(/^tensorcache: .*a\.npz/)
  })
})

describe('upkeep', () => {
  const values = async (use: (cache: Awaited<ReturnType<typeof smallCache>>) => Promise<void>): Promise<void> => {
    const cache = await smallCache(join(dir, 'cache'))
    await use(cache)
    await cache.close()
  }

  test('du, stats and map say what is there', async () => {
    const { key } = json('build') as { key: string }
    await values(async (cache) => {
      await cache.getOrCompute('a', () => new Float32Array(20_000), { namespace: 'generated/cycle_1' })
      await cache.put('b', 'small', { namespace: 'generated/cycle_1' })
      await cache.get('b', { namespace: 'generated/cycle_1' })
      await cache.get('none')
    })
    const usage = run('du', '--format', 'json').stdout.trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(usage).toMatchObject([{ namespace: 'generated/cycle_1', entries: 2, datasets: 0 }, { namespace: 'tensors/test', entries: 0, datasets: 1 }])
    expect(usage[0]!.entryBytes).toBeGreaterThan(80_000)
    expect(run('du', 'generated').stdout).toMatch(/^generated\/cycle_1 +0 +2 +8\d\.\d KiB +█{20} +(now|\d+ s ago)$/m)
    expect(json('stats')).toMatchObject({ disk: { hits: 1 }, misses: 2, stale: 0, puts: 2, computed: 1, stored: { entries: 2 } })
    const items = run('map', 'train', '--format', 'json').stdout.trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(items.length).toBe(60)
    expect(items[7]).toMatchObject({ dataset: key, id: 'a/7', digest: expect.stringMatching(/^[0-9a-f]{64}$/) as string })
    expect(run('map', '--output', 'map.json').status).toBe(0)
    expect((JSON.parse(readFileSync(join(dir, 'map.json'), 'utf8')) as { datasets: { items: unknown[] }[] }).datasets[0]!.items.length).toBe(60)
  })

  test('prune removes what was used longest ago, never what cannot be made again unless its namespace is named', async () => {
    json('build')
    await values(async (cache) => {
      await cache.getOrCompute('old', () => new Float32Array(20_000), { namespace: 'made' })
      await cache.put('precious', new Float32Array(20_000).fill(1), { namespace: 'made' })
      await cache.getOrCompute('kept', () => new Float32Array(20_000).fill(2), { namespace: 'made', keep: true })
    })
    const files = (): number => readdirSync(join(dir, 'cache/blobs'), { recursive: true }).filter((name) => String(name).length > 60).length
    const before = files()
    expect(json('prune', '--max-size', '0', '--dry-run')).toMatchObject({ datasets: 1, entries: 1, dryRun: true })
    expect(files()).toBe(before)
    expect(json('prune', '--older-than', '1d')).toMatchObject({ datasets: 0, entries: 0, pinned: 0 })
    expect(json('prune', '--max-size', '0')).toMatchObject({ datasets: 1, entries: 1, pinned: 0 })
    expect(files()).toBe(2)
    expect(json('build')).toMatchObject({ computed: 60 })
    await values(async (cache) => {
      expect(await Promise.all(['old', 'precious', 'kept'].map((key) => cache.has(key, { namespace: 'made' })))).toEqual([false, true, true])
      const dataset = await cache.openDataset((JSON.parse(run('ls', '--format', 'json').stdout) as { key: string }).key)
      // Open here: it stays.
      expect(json('prune', '--max-size', '0', '--namespace', 'tensors')).toMatchObject({ datasets: 0, pinned: 1 })
      await dataset!.close()
    })
    expect(json('prune', '--max-size', '0', '--namespace', 'made')).toMatchObject({ entries: 2 })
    expect(run('prune').status).toBe(2)
  })

  test('what was set aside is shown, and removed when asked', async () => {
    json('build')
    const blobs = join(dir, 'cache/blobs')
    const victims = readdirSync(blobs, { recursive: true, encoding: 'utf8' }).filter((name) => name.length > 60).slice(0, 2)
    const bytes = victims.reduce((sum, name) => sum + statSync(join(blobs, name)).size, 0)
    for (const name of victims) {
      const found = readFileSync(join(blobs, name))
      found[found.length - 1]! ^= 1
      rmSync(join(blobs, name))
      writeFileSync(join(blobs, name), found)
    }
    expect(run('du').stderr).toBe('')
    expect(run('verify', '--fix').status).toBe(0)
    expect(run('du').stderr).toMatch(/2 damaged files, .* set aside in quarantine; tensorcache prune --quarantine removes them/)
    expect(json('prune', '--quarantine', '--dry-run')).toMatchObject({ datasets: 0, entries: 0, quarantined: 2, bytes, dryRun: true })
    const { stdout } = run('du', '--format', 'json')
    expect(json('prune', '--quarantine')).toMatchObject({ datasets: 0, quarantined: 2, bytes })
    expect(readdirSync(join(dir, 'cache/quarantine'))).toEqual([])
    expect(run('du', '--format', 'json').stdout).toBe(stdout)
    expect(run('prune', '--quarantine').stdout).toMatch(/removed 0 datasets, 0 values and 0 damaged files/)
  })

  test('clear asks for --yes, and takes a namespace with all below it', async () => {
    json('build')
    await values(async (cache) => {
      await cache.put('x', 1, { namespace: 'generated/a' })
      await cache.put('y', 1)
    })
    expect(run('clear', '--namespace', 'generated')).toMatchObject({ status: 2 })
    expect(json('clear', '--namespace', 'generated', '--yes')).toEqual({ datasets: 0, entries: 1, pinned: 0 })
    expect(json('clear', '--yes')).toEqual({ datasets: 1, entries: 1, pinned: 0 })
    expect(readdirSync(join(dir, 'cache/blobs'), { recursive: true }).filter((name) => String(name).length > 60)).toEqual([])
    expect(json('build')).toMatchObject({ computed: 60 })
  })
})

describe('help', () => {
  const docs = readFileSync(resolve(import.meta.dirname, '../../docs/cli.md'), 'utf8')
  test('docs/cli.md shows every verb as --help does', () => {
    const { stdout, status } = run('--help')
    expect(status).toBe(0)
    const verbs = [...stdout.matchAll(/^ {2}(\w+) {2,}/gm)].map((match) => match[1]!)
    expect(verbs).toEqual(['build', 'explain', 'ls', 'info', 'du', 'map', 'stats', 'inspect', 'export', 'verify', 'reindex', 'backup', 'restore', 'prune', 'clear', 'doctor', 'completion'])
    for (const verb of verbs) expect(docs).toContain(`\`\`\`\n${run(verb, '--help').stdout.trimEnd()}\n\`\`\``)
  })
  test('an npz that numpy.load would open is opened by our own reader as a source', async () => {
    json('build')
    json('export', 'train', '--output', 'again.npz')
    const source = await npz(join(dir, 'again.npz'), { fields: { x: 'x' } })
    expect([source.length, source.fields]).toEqual([60, { x: { dtype: 'float32', shape: [4096] } }])
    source.close()
  })
})
