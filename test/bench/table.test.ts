import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { compared } from '../../bench/lib/compare.js'
import { figure, times } from '../../bench/lib/figures.js'
import { merged, readRecord, recordPath, writeRecord } from '../../bench/lib/record.js'
import { summary, table } from '../../bench/lib/table.js'
import { answer, finding, named } from './support.js'

describe('comparing', () => {
  const peers = [named('good', 50), named('better', 80)]

  test('a ratio above 1 is ours, whether more or less is better', () => {
    expect(compared(finding('rate', 'rows/s', 100, { peers }))).toMatchObject({ best: { name: 'better' }, ratio: 1.25, slower: false })
    expect(compared(finding('time', 'ms', 100, { peers }))).toMatchObject({ best: { name: 'good' }, ratio: 0.5, slower: true })
    expect(compared(finding('misses', 'of 1,000', 100, { peers, better: 'less' }))).toMatchObject({ best: { name: 'good' }, ratio: 0.5 })
    expect(compared(finding('alone', 'ms', 100))).toEqual({ best: undefined, ratio: undefined, slower: false, limit: undefined, share: undefined })
  })

  test('the limit is the tightest one', () => {
    const limits = [named('loose', 400), named('tight', 200), named('looser', 800)]
    expect(compared(finding('rate', 'GB/s', 100, { limits }))).toMatchObject({ limit: { name: 'tight' }, share: 0.5 })
    expect(compared(finding('time', 'ms', 1000, { limits }))).toMatchObject({ limit: { name: 'looser' }, share: 0.8 })
  })

  test('what is slower never reads as 1×', () => {
    expect([0.999, 1, 1.004, 0.0123, 121.4, 1234.5].map(times)).toEqual(['0.99×', '1.00×', '1.00×', '0.012×', '121×', '1,235×'])
    expect([0.0724, 0.5, 12.34, 1225150].map(figure)).toEqual(['0.072', '0.50', '12.3', '1,225,150'])
  })
})

describe('the table', () => {
  const answers = [
    answer('fast', [finding('work with a description that does not fit into one line of its column', 'GB/s of source', 10, {
      peers: [named('a peer', 1, 2, 3), named('another', 1)], limits: [named('memory copy', 20)], target: { text: '≥ 3× peer', reached: true }, beside: [named('part of it', 7)], note: 'noted',
    })]),
    answer('slow', [finding('more work', 'ms', 10, { peers: [named('lmdb, the bytes alone', 9)], target: { text: '≤ 5 ms', reached: false } })]),
    answer('broken', [], { failed: 'wrong result: voxels', about: 'what breaks' }),
  ]
  const text = table(answers)

  test('has its columns, and a line of each question', () => {
    expect(text.split('\n')[0]!.trim().split(/ {2,}/)).toEqual(['work', 'us', 'best peer', 'ratio', 'machine limit', 'share', 'target'])
    expect(text).toMatch(/^fast: about fast\n· work with .+ {2}10\.0 GB\/s of source {2}a peer 2\.00.* {2}5\.00× {2,}memory copy 20\.0 {2}50 % {3}≥ 3× peer\n/m)
    expect(text).toMatch(/ {2}reached$/m)
  })

  test('says where we are slower, what was missed and what failed', () => {
    expect(text).toMatch(/^· more work .* ▼ 0\.90× slower .* ≤ 5 ms$/m)
    expect(text).toContain('NOT reached')
    expect(text).toMatch(/^broken: what breaks\n {2}FAILED: wrong result: voxels$/m)
    expect(summary(answers)).toBe('2 measured: 1 slower than the best peer; targets missed: 1; questions failed: 1')
  })

  test('is at most 150 columns wide', () => {
    const [rows] = text.split('\nBeside it\n')
    expect(Math.max(...rows!.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(150)
    const long = 'words that go on and on '.repeat(12)
    const wide = table([answer('wide', [finding(long, 'Mvox/s of output', 123_456_789, { peers: [named(long, 1e9)], limits: [named(long, 1e9)], target: { text: long, reached: undefined } })])])
    expect(Math.max(...wide.split('\nBeside it\n')[0]!.split('\n').map(({ length }) => length))).toBeLessThanOrEqual(150)
  })

  test('has beside it what else was measured, once', () => {
    expect(text.split('\nBeside it\n')[1]).toBe('  fast, work with a description that does not fit into one line of its column: another: 1.00; part of it: 7.00; noted\n')
  })
})

describe('records', () => {
  test('keep what was answered before, and a failure replaces nothing', () => {
    const before = [answer('a', [finding('old', 's', 1)]), answer('b', [finding('old', 's', 1)])]
    const now = [answer('a', [finding('new', 's', 2)]), answer('b', [], { failed: 'oh' }), answer('c', [], { failed: 'oh' })]
    expect(merged(before, now).map(({ question, failed, findings }) => [question, failed ?? findings[0]!.what])).toEqual([['b', 'old'], ['a', 'new'], ['c', 'oh']])
  })

  test('are read as they were written, and only in formats we know', () => {
    const dir = mkdtempSync(join(tmpdir(), 'tensorcache-record-'))
    const path = join(dir, recordPath('2026-01-02', answer('a', []).machine))
    expect(path).toBe(join(dir, 'bench/records/2026-01-02-abacus-2-cores.json'))
    writeRecord(path, [answer('a', [finding('one', 's', 1.23456789)])])
    writeRecord(path, [answer('b', [finding('two', 's', 2)])])
    expect(readRecord(path).map(({ question, findings }) => [question, findings[0]!.ours.median])).toEqual([['a', 1.23457], ['b', 2]])
    writeFileSync(path, readFileSync(path, 'utf8').replace('"format": 2', '"format": 3'))
    expect(() => readRecord(path)).toThrow('expected a record of format 1 to 2, found 3')
    rmSync(dir, { recursive: true })
  })
})
