// README's table of figures and its chart, both made of one record.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { chart } from './chart.js'
import { figure, times, withUnit } from './figures.js'
import { headlines } from './headlines.js'
import { readRecord, type Answer } from './record.js'

export const BEGIN = '<!-- bench:begin: made by `npm run bench`, from a record -->'
export const END = '<!-- bench:end -->'
export const CHART = 'docs/images/benchmarks.svg'

/** Draws the chart and README's table from a record, given by its path in the project; returns what was written. */
export function draw(root: string, record: string): string[] {
  const answers = readRecord(join(root, record))
  mkdirSync(dirname(join(root, CHART)), { recursive: true })
  writeFileSync(join(root, CHART), chartOf(answers))
  writeFileSync(join(root, 'README.md'), replaced(readFileSync(join(root, 'README.md'), 'utf8'), figures(answers, record)))
  return [CHART, 'README.md']
}

/** The record that README shows. */
export function shown(root: string): string | undefined {
  return /\((bench\/records\/[^)]+\.json)\)/.exec(between(readFileSync(join(root, 'README.md'), 'utf8')))?.[1]
}

export function chartOf(answers: readonly Answer[]): string {
  return chart(headlines(answers), { title: 'tensorcache beside the best peer', subtitle: `${machineOf(answers)}; higher is better; log scale` })
}

/** What stands between the two markers of README. */
export function figures(answers: readonly Answer[], record: string): string {
  const lines = headlines(answers)
  const slower = lines.filter((line) => line.slower).length
  const rows = lines.map(({ group, text, finding, best, ratio, slower: behind }, k) => {
    const name = group === lines[k - 1]?.group ? '' : `**${group}**`
    return `| ${name} | ${text} | ${withUnit(finding.ours.median, finding.unit)} | ${best.name}: ${figure(best.median)} | ${behind ? `slower: ${times(ratio)}` : `**${times(ratio)}**`} |`
  })
  return `![How many times faster than the best peer, for each line of the table below](${CHART})

| | | tensorcache | best peer | |
|---|---|---|---|---|
${rows.join('\n')}

Medians on ${machineOf(answers)} ([record](${record})); each line's peers ran in turns with us, their results compared with ours first. In ${slower} of ${lines.length} lines the best peer is faster than we are. ${conditions(answers)}
`
}

/** From here on somebody else was at work on the machine. */
const BUSY = 0.2

/** What else there is to know of a record: how it came together, and what it did not reach. */
function conditions(answers: readonly Answer[]): string {
  const commits = new Set(answers.map(({ machine }) => machine.commit)).size
  const busy = answers.filter(({ othersBusy }) => othersBusy.some((cores) => (cores ?? 0) > BUSY)).map(({ question }) => `\`${question}\``)
  const targets = answers.flatMap(({ findings }) => findings.flatMap(({ target }) => target?.reached === undefined ? [] : [target.reached]))
  const missed = targets.filter((reached) => !reached).length
  return [
    commits > 1 ? `Its questions were answered at ${commits} commits of that day.` : '',
    busy.length > 0 ? `At the beginning or end of ${busy.join(', ')} another program kept a core busy.` : '',
    `Of its ${targets.length} targets ${missed} were not reached.`,
  ].filter((sentence) => sentence !== '').join(' ')
}

/** The part between the markers. */
export function between(readme: string): string {
  const [begin, end] = places(readme)
  return readme.slice(begin, end)
}

export function replaced(readme: string, part: string): string {
  const [begin, end] = places(readme)
  return `${readme.slice(0, begin)}${part}${readme.slice(end)}`
}

function places(readme: string): [begin: number, end: number] {
  const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)]
  if (begin < 0 || end < begin) throw new Error(`README.md: expected the lines ${BEGIN} and ${END}, in this order`)
  return [begin + BEGIN.length + 1, end]
}

function machineOf(answers: readonly Answer[]): string {
  const { machine, at } = answers.toSorted((a, b) => a.at < b.at ? 1 : -1)[0]!
  return `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB, ${at.slice(0, 10)}`
}
