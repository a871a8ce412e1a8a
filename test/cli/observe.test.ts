import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { humanAgo, humanBytes, humanSeconds } from '../../src/core/human.js'
import { verbs } from '../../src/cli/verbs/index.js'
import { main, runCli } from '../support/cli.js'
import { range, smallCache, writeRows } from '../support/data.js'
import { tempDir } from '../support/temp.js'

const CONFIG = 'cache: { dir: cache, minFree: 0, memoryBudget: 6MiB }\ndatasets: { train: { namespace: tensors/test, source: { type: npz, path: a.npz }, recipe: [cast: { dtype: float32, fields: [x] }] } }'

let dir: string
const run = (...args: string[]) => runCli(dir, args)
const json = (...args: string[]): Record<string, any> => {
  const { status, stdout, stderr } = run(...args, '--format', 'json')
  expect([status, stderr]).toEqual([0, ''])
  return JSON.parse(stdout) as Record<string, unknown>
}

beforeAll(() => expect(existsSync(main), 'npm run build first').toBe(true))
beforeEach(() => {
  dir = tempDir()
  writeRows(join(dir, 'a.npz'), range(0, 60), 1024)
  writeFileSync(join(dir, 'tensorcache.yaml'), CONFIG)
})

describe('the environment', () => {
  test('TENSORCACHE_LOG=info says on standard error what was built and reused', () => {
    const log = { TENSORCACHE_LOG: 'info' }
    expect(runCli(dir, ['build'], log).stderr).toMatch(/^tensorcache build train: 60 of 60 items computed in [^\n]+ written\n$/)
    expect(runCli(dir, ['build'], log).stderr).toMatch(/^tensorcache reuse train: 60 of 60 items from the cache, \d+(\.\d)? m?s of computing saved\n$/)
    expect(runCli(dir, ['build'], { TENSORCACHE_LOG: 'warn' }).stderr).toBe('')
    expect(runCli(dir, ['build'], { TENSORCACHE_LOG: 'loud' })).toMatchObject({ status: 2, stderr: 'tensorcache: environment: TENSORCACHE_LOG must be one of warn, info, debug, not "loud"\n' })
    // The configuration file counts before the environment.
    expect(runCli(dir, ['build', '--set', 'cache.log=warn'], log).stderr).toBe('')
  })

  test('TENSORCACHE_READONLY refuses what writes, TENSORCACHE_ENABLED=0 keeps nothing', () => {
    expect(JSON.parse(runCli(dir, ['build', '--format', 'json'], { TENSORCACHE_ENABLED: '0' }).stdout)).toMatchObject({ computed: 60 })
    expect(existsSync(join(dir, 'cache'))).toBe(false)
    json('build')
    const readonly = { TENSORCACHE_READONLY: '1' }
    expect(runCli(dir, ['build'], readonly)).toMatchObject({ status: 0, stdout: expect.stringContaining('60 hits') })
    for (const args of [['prune', '--max-size', '0'], ['clear', '--yes']]) expect(runCli(dir, args, readonly)).toMatchObject({ status: 2, stderr: expect.stringContaining('is to be read only') })
    expect(runCli(dir, ['prune', '--max-size', '0', '--dry-run'], readonly).stdout).toContain('would remove 1 dataset')
    // What looks at a cache looks at the one that is there.
    expect(runCli(dir, ['ls'], { TENSORCACHE_ENABLED: '0' }).stdout).toContain('train')
  })
})

describe('build --no-cache', () => {
  test('computes everything, writes nothing, and says whether the cache has the same bytes', async () => {
    const passing = json('build', '--no-cache')
    expect(passing).toMatchObject({ items: 60, hits: 0, computed: 60, bytes: 0, matches: null })
    expect(existsSync(join(dir, 'cache'))).toBe(false)
    const kept = json('build')
    expect(kept.digest).toBe(passing.digest)
    const files = (): string[] => readdirSync(join(dir, 'cache/blobs'), { recursive: true, encoding: 'utf8' })
    const before = files()
    expect(json('build', '--no-cache')).toMatchObject({ computed: 60, matches: true, digest: kept.digest })
    expect(run('build', '--no-cache').stdout).toContain('nothing written; digest ' + (kept.digest as string).slice(0, 16) + ', as in the cache')
    expect(files()).toEqual(before)
    expect(json('build', '--no-cache', '--dry-run')).toMatchObject({ hits: 0, missing: 60 })
    // The cache says something else than what is computed.
    const cache = await smallCache(join(dir, 'cache'))
    const record = [...cache.store.datasets()][0]!.record
    const manifest = record.manifest
    await cache.close()
    const { open } = await import('lmdb')
    const root = open({ path: join(dir, 'cache/index'), noSubdir: false, maxDbs: 32, encoding: 'binary' })
    const table = root.openDB<typeof record, Buffer>({ name: 'datasets', encoding: 'json', keyEncoding: 'binary', cache: false })
    await table.put(Buffer.from(kept.key as string, 'hex'), { ...record, manifest, digest: '0'.repeat(64) })
    await root.close()
    expect(run('build', '--no-cache')).toMatchObject({ status: 1, stdout: expect.stringContaining('the cache has other bytes') })
  })
})

describe('looking', () => {
  test('ls and du are columns with sizes and ages; ls --values has the values', async () => {
    json('build')
    const cache = await smallCache(join(dir, 'cache'))
    await cache.put('b7', new Float32Array(20_000), { namespace: 'tokens', keep: true })
    await cache.put('a\nb', 1, { namespace: 'tokens/low', expiresIn: '1h' })
    await cache.close()
    expect(run('ls').stdout).toMatch(/^namespace {5}name {3}items {4}bytes {2}made +last used +key\ntensors\/test {2}train {5}60 {2}\d{3} KiB {2}\S.* {2}[0-9a-f]{12}\n$/)
    expect(json('ls')).toMatchObject({ name: 'train', lastUse: expect.stringMatching(/Z$/) as string })
    const lines = run('ls', '--values').stdout.split('\n')
    expect(lines[0]).toMatch(/^namespace +key +bytes +made +last used +expires \(UTC\)$/)
    expect(lines[1]).toMatch(/^tokens +b7 +8\d\.\d KiB .* never +keep$/)
    expect(lines[2]).toMatch(/^tokens\/low +"a\\nb" +\d+ B .* \d{4}-\d\d-\d\d \d\d:\d\d$/)
    expect(json('ls', 'tokens/low', '--values')).toMatchObject({ namespace: 'tokens/low', key: 'a\nb', keep: false, expires: expect.stringMatching(/Z$/) as string })
    expect(run('ls', 'none', '--values')).toMatchObject({ status: 0, stdout: '', stderr: 'no values\n' })
    expect(run('du').stdout).toMatch(/^namespace +datasets +values +bytes +last used\n/)
  })

  test('long keys are cut, empty ones said; namespaces that hold nothing are not there; counts of one are singular', async () => {
    const cache = await smallCache(join(dir, 'cache'))
    const long = 'k'.repeat(1900)
    await cache.put(long, 1, { namespace: 'a' })
    await cache.put('', 2, { namespace: 'a' })
    await cache.put('x', 3, { namespace: 'gone/soon' })
    await cache.clear({ namespace: 'gone' })
    expect(cache.usage().map(({ namespace }) => namespace)).toEqual(['a'])
    await cache.close()
    const lines = run('ls', '--values').stdout.trimEnd().split('\n')
    expect(lines.map((line) => line.length < 160)).toEqual([true, true, true])
    expect(lines[1]).toMatch(/^a +"" +/)
    expect(lines[2]).toMatch(/^a +k{63}… +/)
    expect(run('ls', '--values', '--format', 'json').stdout).toContain(`"${long}"`)
    expect(run('du').stdout).not.toContain('gone')
    expect(run('du', 'nope')).toMatchObject({ status: 2, stderr: expect.stringContaining('no namespace "nope"') as string })
    expect(run('clear', '--namespace', '/x', '--yes')).toMatchObject({ status: 2, stderr: expect.stringContaining('names between slashes') as string })
    expect(run('verify', '--recompute=-1')).toMatchObject({ status: 2, stderr: expect.stringContaining('--recompute must be a number of items from 0') as string })
    expect(run('reindex')).toMatchObject({ status: 1, stderr: expect.stringContaining('--yes') as string })
    await (await smallCache(join(dir, 'cache'))).close()
    expect(run('clear', '--namespace', 'a', '--yes').stdout).toBe('removed 0 datasets and 2 values\n')
  })

  test('info says who has a dataset open since when, and what it took to make', async () => {
    const { key } = json('build')
    const cache = await smallCache(join(dir, 'cache'))
    const dataset = (await cache.openDataset(key as string))!
    expect(json('info', 'train')).toMatchObject({ seconds: expect.any(Number) as number, pins: [{ process: process.pid, host: expect.any(String) as string, since: expect.stringMatching(/Z$/) as string }] })
    expect(run('info', 'train').stdout).toMatch(new RegExp(`^open in +process ${process.pid} on .+, since .+ \\((now|\\d+ s ago)\\)$`, 'm'))
    await dataset.close()
    expect(json('info', 'train').pins).toEqual([])
    await cache.close()
  })

  test('stats has tiers and datasets', () => {
    json('build')
    json('build')
    expect(json('stats')).toMatchObject({ datasets: { built: 1, reused: 1, itemsComputed: 60, itemsReused: 60 }, memory: { hits: 0 }, disk: { hits: 0 } })
    const { stdout } = run('stats')
    expect(stdout).toMatch(/^values +hits +misses +stale +read +written +evicted +saved$/m)
    expect(stdout).toMatch(/^datasets +1 reused, 1 built, 0 healed, 0 evicted$/m)
    expect(stdout).toMatch(/^items +60 reused, \d.+ saved; 60 computed in .+ written$/m)
  })
})

describe('every verb', () => {
  test('has a help with an example, by --help, -h and help', () => {
    for (const { name } of verbs) {
      const { status, stdout } = run(name, '-h')
      expect([name, status]).toEqual([name, 0])
      expect(stdout).toMatch(/Example:\n {2}.*tensorcache \w+/)
      expect(stdout).toContain('--format text|json')
    }
    expect(run('help', 'ls').stdout).toBe(run('ls', '--help').stdout)
    expect(run('help', 'lss')).toMatchObject({ status: 2, stderr: expect.stringContaining('did you mean "ls"?') })
  })

  test('that looks gives JSON', () => {
    json('build')
    for (const args of [['ls'], ['du'], ['info', 'train'], ['explain', 'train'], ['stats'], ['inspect', 'a.npz'], ['verify'], ['doctor'], ['completion', 'bash'], ['prune', '--older-than', '1d', '--dry-run'], ['clear', '--dry-run']]) expect(Object.keys(json(...args)).length).toBeGreaterThan(0)
  })

  test('that writes a file does not replace one unless it is told to', () => {
    json('build')
    for (const args of [['map', '--output', 'out.json'], ['export', 'train', '--output', 'out.npz']]) {
      expect(run(...args).status).toBe(0)
      const before = readFileSync(join(dir, args.at(-1)!))
      expect(run(...args)).toMatchObject({ status: 2, stderr: expect.stringContaining('exists; --force replaces it') })
      expect(run(...args, '--force').status).toBe(0)
      expect(readFileSync(join(dir, args.at(-1)!)).equals(before)).toBe(true)
    }
  })

  test('that removes says before what would go', () => {
    json('build')
    expect(json('clear', '--dry-run')).toMatchObject({ datasets: 1, entries: 0, dryRun: true })
    expect(json('clear', '--namespace', 'tensors', '--dry-run')).toMatchObject({ datasets: 1 })
    expect(run('clear', '--namespace', 'other', '--dry-run').stdout).toBe('would remove 0 datasets and 0 values, about 0 B\n')
    expect(run('clear').stderr).toContain('--dry-run to see what would go')
    for (const size of ['50GB', '2GiB', '512k', '0']) expect(run('prune', '--max-size', size, '--dry-run').status).toBe(0)
    expect(run('prune', '--max-size', 'much', '--dry-run')).toMatchObject({ status: 2, stderr: expect.stringContaining('max-size must be a number of bytes or a size such as 512MB or 2GiB') })
    expect(json('build')).toMatchObject({ hits: 60 })
  })
})

test('numbers for people have three digits and the unit they round to', () => {
  expect([0, 1023, 1024, 1023 * 1024, 1024 ** 2, 1.5 * 1024 ** 3].map(humanBytes)).toEqual(['0 B', '1023 B', '1.00 KiB', '0.999 MiB', '1.00 MiB', '1.50 GiB'])
  expect([0.0004, 0.9996, 59.96, 119.7, 3600, 7260].map(humanSeconds)).toEqual(['0 ms', '1.0 s', '1 min 0 s', '2 min 0 s', '1 h 0 min', '2 h 1 min'])
  expect([0, 59e3, 60e3, 3600e3, 86400e3 * 3, 86400e3 * 70].map(humanAgo)).toEqual(['now', '59 s ago', '1 min ago', '1 hour ago', '3 days ago', '2 months ago'])
})
