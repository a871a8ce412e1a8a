import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { chart } from '../../bench/lib/chart.js'
import { headlines, unmatched } from '../../bench/lib/headlines.js'
import { BEGIN, between, CHART, chartOf, draw, END, figures, replaced, shown } from '../../bench/lib/readme.js'
import { readRecord, type Answer } from '../../bench/lib/record.js'
import { answer, finding, named } from './support.js'

const root = resolve(import.meta.dirname, '../..')

const answers: Answer[] = [
  answer('batches', [finding('shuffled, copied', 'M rows/s', 1, { peers: [named('a <quick> & "dirty" peer', 10), named('other', 5)] })]),
  answer('scan', [finding('512 samples: nearest, sorting included', 'k samples/s', 100, { peers: [named('scipy', 1)] }), finding('no peer, another epoch, shuffled', 'k groups/s', 1)]),
]

describe('headlines', () => {
  test('are the findings of the list that have a peer, by group', () => {
    expect(headlines(answers).map(({ group, best, ratio, slower }) => [group, best.name, ratio, slower])).toEqual([['Arrays and batches', 'a <quick> & "dirty" peer', 0.1, true], ['Ptychography', 'scipy', 100, false]])
  })

  test('what is not found is named', () => {
    expect(unmatched(answers)).toContain('crystals (CSV of CIFs → CrystalNN graphs, cached)')
    expect(unmatched(answers).some((line) => line.startsWith('batches'))).toBe(false)
  })
})

describe('the chart', () => {
  const svg = chart(headlines(answers), { title: 'Title', subtitle: 'machine, day' })
  const bars = [...svg.matchAll(/<rect class="(faster|slower)" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"/g)].map(([, kind, x, width]) => ({ kind, from: Number(x), to: Number(x) + Number(width) }))
  const one = Number(/<line class="one" x1="([\d.]+)"/.exec(svg)![1])

  test('has a bar for each line, to the left of 1× where we are slower, as long as the ratio on a log scale', () => {
    expect(bars.map(({ kind }) => kind)).toEqual(['slower', 'faster'])
    expect(bars[0]!.to).toBeCloseTo(one, 0)
    expect(bars[1]!.from).toBeCloseTo(one, 0)
    // 100× is twice as far from 1× as 0.1× is.
    expect((bars[1]!.to - one) / (one - bars[0]!.from)).toBeCloseTo(2, 1)
    expect(svg).toContain('0.10× slower')
  })

  test('is XML with a title and a description, in light and dark, and needs nothing else', () => {
    expect(svg).toContain('<title id="title">Title: machine, day</title>')
    expect(svg).toMatch(/<desc id="desc">Arrays and batches, .*: 1\.00 M rows\/s, 0\.10× of a &lt;quick&gt; &amp; &quot;dirty&quot; peer, slower\. Ptychography, /)
    expect(svg).toContain('prefers-color-scheme: dark')
    expect(svg.replace('xmlns="http://www.w3.org/2000/svg"', '')).not.toMatch(/https?:|href|url\(|<script/)
    // What opens closes, and in this order.
    const open: string[] = []
    for (const [, end, name, alone] of svg.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
      if (end === '/') expect(open.pop()).toBe(name)
      else if (alone === '') open.push(name!)
    }
    expect(open).toEqual([])
    expect(svg).not.toMatch(/NaN|undefined|Infinity/)
  })

  test('holds ratios of any size', () => {
    const wide = chart(headlines([answer('batches', [finding('shuffled, copied', 'M rows/s', 1, { peers: [named('peer', 12_345)] })]), answer('scan', answers[1]!.findings)]), { title: '', subtitle: '' })
    for (const [, x] of wide.matchAll(/ x="([-\d.]+)"/g)) expect(Number(x)).toBeGreaterThanOrEqual(0)
    expect(wide).toContain('>0.00001×<')
  })
})

describe('README', () => {
  const readme = readFileSync(join(root, 'README.md'), 'utf8')

  test('shows what its record gives', () => {
    const record = shown(root)!
    const read = readRecord(join(root, record))
    expect(between(readme)).toBe(figures(read, record))
    expect(readFileSync(join(root, CHART), 'utf8')).toBe(chartOf(read))
    expect(headlines(read).length).toBeGreaterThanOrEqual(12)
  })

  test('would not with another figure', () => {
    const record = shown(root)!
    const [first, ...others] = readRecord(join(root, record)).filter((each) => headlines([each]).length > 0)
    const faster = { ...first!, findings: first!.findings.map((each) => ({ ...each, ours: { ...each.ours, median: 2 * each.ours.median } })) }
    expect(between(readme)).not.toBe(figures([faster, ...others], record))
  })

  test('is drawn from a record between its markers and nowhere else', () => {
    const dir = mkdtempSync(join(tmpdir(), 'tensorcache-readme-'))
    mkdirSync(join(dir, 'bench/records'), { recursive: true })
    const record = 'bench/records/2026-01-02-abacus-2-cores.json'
    writeFileSync(join(dir, record), JSON.stringify({ format: 1, answers }))
    writeFileSync(join(dir, 'README.md'), `before\n${BEGIN}\nold\n${END}\nafter\n`)
    expect(shown(dir)).toBe(undefined)
    expect(draw(dir, record)).toEqual([CHART, 'README.md'])
    const drawn = readFileSync(join(dir, 'README.md'), 'utf8')
    expect(drawn).toMatch(/^before\n<!-- bench:begin[^\n]*-->\n!\[/)
    expect(drawn).toMatch(/<!-- bench:end -->\nafter\n$/)
    expect(drawn).toContain('slower: 0.10×')
    expect(drawn).toContain('In 1 of 2 lines the best peer is faster')
    expect(drawn).not.toContain('old')
    expect(shown(dir)).toBe(record)
    cpSync(join(dir, 'README.md'), join(dir, 'once.md'))
    draw(dir, record)
    expect(readFileSync(join(dir, 'README.md'), 'utf8')).toBe(readFileSync(join(dir, 'once.md'), 'utf8'))
    expect(() => replaced('no markers', 'x')).toThrow('expected the lines <!-- bench:begin')
    rmSync(dir, { recursive: true })
  })
})
