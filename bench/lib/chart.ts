// The chart of README: how many times better than the best peer, on a log scale, as an SVG that stands alone.
import { times, withUnit } from './figures.js'
import type { Headline } from './headlines.js'

const WIDTH = 980
const ROW = 24
const HEADING = 30
/** Where the names end, and where the bars begin and end. */
const [NAMES, LEFT, RIGHT] = [316, 328, 592]
const [TOP, BOTTOM] = [84, 64]

export interface Caption {
  readonly title: string
  /** What stands below it. */
  readonly subtitle: string
}

export function chart(lines: readonly Headline[], { title, subtitle }: Caption): string {
  const logs = lines.map(({ ratio }) => Math.log10(ratio))
  // Whole decades around everything, one on either side of 1 at least.
  const [low, high] = [Math.min(-1, ...logs.map(Math.floor)), Math.max(1, ...logs.map(Math.ceil))]
  const x = (log: number): number => Math.round((LEFT + (RIGHT - LEFT) * (log - low) / (high - low)) * 10) / 10
  const body: string[] = []
  let y = TOP
  for (const [k, line] of lines.entries()) {
    if (line.group !== lines[k - 1]?.group) {
      y += HEADING
      body.push(text(16, y - 7, 'group', line.group))
    }
    body.push(...bar(line, y, x))
    y += ROW
  }
  const ticks = Array.from({ length: high - low + 1 }, (_, k) => low + k)
  const grid = ticks.flatMap((log) => [
    `<line class="${log === 0 ? 'one' : 'grid'}" x1="${x(log)}" y1="${TOP}" x2="${x(log)}" y2="${y + 6}"/>`,
    text(x(log), y + 22, 'tick', `${log < 0 ? (10 ** log).toFixed(-log) : (10 ** log).toLocaleString('en')}×`, 'middle'),
  ])
  const height = y + BOTTOM
  const described = lines.map((line) => `${line.group}, ${line.text}: ${words(line)}`).join('. ')
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-labelledby="title desc">
<title id="title">${escaped(`${title}: ${subtitle}`)}</title>
<desc id="desc">${escaped(described)}.</desc>
<style>
${STYLE}
</style>
<rect class="page" width="${WIDTH}" height="${height}" rx="6"/>
${[text(16, 30, 'title', title), text(16, 52, 'note', subtitle), ...grid, ...body, text(x(0) - 10, y + 44, 'note', '← slower than the best peer', 'end'), text(x(0) + 10, y + 44, 'note', 'faster →')].join('\n')}
</svg>
`
}

// Readers' pages are light or dark; the picture brings its own ground for either.
const STYLE = `text { font: 13px system-ui, -apple-system, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; fill: #24292f }
.title { font-size: 17px; font-weight: 600 }
.group { font-weight: 600 }
.note, .tick, .peer { fill: #57606a }
.tick, .note, .peer { font-size: 12px }
.page { fill: #ffffff; stroke: #d0d7de }
.grid { stroke: #d8dee4 }
.one { stroke: #57606a; stroke-width: 1.5 }
.faster { fill: #1f77b4 }
.slower { fill: #d9730d }
.worse { fill: #a04d00; font-weight: 600 }
.better { font-weight: 600 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .note, .tick, .peer { fill: #9aa4af }
  .page { fill: #0d1117; stroke: #30363d }
  .grid { stroke: #262c34 }
  .one { stroke: #9aa4af }
  .faster { fill: #4c9fe0 }
  .slower { fill: #f0883e }
  .worse { fill: #f0a35e }
}`

function bar(line: Headline, y: number, x: (log: number) => number): string[] {
  const [from, to] = [x(0), x(Math.log10(line.ratio))]
  // What is about as fast stays visible.
  const width = Math.max(1.5, Math.abs(to - from))
  return [
    text(NAMES, y + 16, 'name', line.text, 'end'),
    `<rect class="${line.slower ? 'slower' : 'faster'}" x="${round(line.slower ? from - width : from)}" y="${y + 4}" width="${round(width)}" height="${ROW - 8}" rx="1.5"/>`,
    `<text x="${RIGHT + 14}" y="${y + 16}"><tspan class="${line.slower ? 'worse' : 'better'}">${times(line.ratio)}${line.slower ? ' slower' : ''}</tspan> <tspan class="peer" dx="4">${escaped(shortened(line.best.name, line.slower ? 40 : 47))}</tspan></text>`,
  ]
}

function words({ finding, best, ratio, slower }: Headline): string {
  return `${withUnit(finding.ours.median, finding.unit)}, ${times(ratio)} of ${best.name}${slower ? ', slower' : ''}`
}

function text(x: number, y: number, of: string, what: string, anchor?: 'middle' | 'end'): string {
  return `<text class="${of}" x="${x}" y="${y}"${anchor === undefined ? '' : ` text-anchor="${anchor}"`}>${escaped(what)}</text>`
}

/** Whole words; README's table has the rest. */
function shortened(name: string, length: number): string {
  return name.length <= length ? name : `${name.slice(0, name.lastIndexOf(' ', length - 1)).replace(/,$/, '')} …`
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

function escaped(of: string): string {
  return of.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
