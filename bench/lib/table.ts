import { compared } from './compare.js'
import { range, times, withRange, withUnit } from './figures.js'
import type { Finding, Named } from './question.js'
import type { Answer } from './record.js'

/** Columns and how wide each may become; longer cells go on in the next line. With two blanks between them: 148. */
const COLUMNS = [['work', 39], ['us', 20], ['best peer', 23], ['ratio', 15], ['machine limit', 20], ['share', 6], ['target', 13]] as const

/** One table: a heading for each question, a row for each finding, and below it what else was measured. */
export function table(answers: readonly Answer[]): string {
  const rows = answers.map((answer) => ({ answer, cells: answer.findings.map((finding) => cells(finding).map((cell, column) => wrapped(cell, COLUMNS[column]![1]))) }))
  const widths = COLUMNS.map(([name], column) => Math.max(name.length, ...rows.flatMap(({ cells: all }) => all.flatMap((row) => row[column]!.map((line) => line.length)))))
  const width = widths.reduce((sum, each) => sum + each + 2, -2)
  const line = (of: readonly string[]): string => of.map((cell, column) => cell.padEnd(widths[column]!)).join('  ').trimEnd()
  const lines = [line(COLUMNS.map(([name]) => name)), '─'.repeat(width)]
  for (const { answer, cells: all } of rows) {
    lines.push(...wrapped([`${answer.question}: ${answer.about}`], width))
    if (answer.failed !== undefined) lines.push(...wrapped([`FAILED: ${answer.failed}`], width - 2).map((text) => `  ${text}`))
    for (const row of all) {
      const height = Math.max(...row.map(({ length }) => length))
      for (let k = 0; k < height; k++) lines.push(line(row.map((cell) => cell[k] ?? '')))
    }
  }
  const notes = beside(answers)
  return `${lines.join('\n')}\n${notes.length > 0 ? `\nBeside it\n${notes.map((note) => `  ${note}\n`).join('')}` : ''}`
}

/** `41 measured: 3 slower than the best peer; targets missed: 7; questions failed: 1` */
export function summary(answers: readonly Answer[]): string {
  const findings = answers.flatMap((answer) => answer.findings)
  const slower = findings.filter((finding) => compared(finding).slower).length
  const missed = findings.filter(({ target }) => target?.reached === false).length
  const failed = answers.filter((answer) => answer.failed !== undefined).length
  return `${findings.length} measured: ${slower} slower than the best peer; targets missed: ${missed}; questions failed: ${failed}`
}

/** Each cell is a list of texts that begin on lines of their own. */
function cells(finding: Finding): string[][] {
  const { what, unit, ours, target } = finding
  const { best, ratio, slower, limit, share } = compared(finding)
  const other = (of: Named | undefined): string[] => of === undefined ? ['-'] : [`${of.name} ${withRange(of)}`]
  return [
    [`· ${what}`], [withUnit(ours.median, unit), range(ours)], other(best), [ratio === undefined ? '-' : slower ? `▼ ${times(ratio)} slower` : times(ratio)],
    other(limit), [share === undefined ? '-' : `${Math.round(100 * share)} %`],
    target === undefined ? ['-'] : [target.text, target.reached === undefined ? 'no peer' : target.reached ? 'reached' : 'NOT reached'],
  ]
}

function beside(answers: readonly Answer[]): string[] {
  return answers.flatMap(({ question, findings }) => findings.flatMap((finding) => {
    const { best, limit } = compared(finding)
    const others = [...finding.peers, ...finding.limits, ...finding.beside ?? []].filter((other) => other !== best && other !== limit).map((other) => `${other.name}: ${withRange(other)}`)
    if (finding.note !== undefined) others.push(finding.note)
    return others.length === 0 ? [] : [`${question}, ${finding.what}: ${others.join('; ')}`]
  }))
}

/** Lines of at most so many characters, broken at blanks; a word that is longer stands alone. What goes on is indented. */
function wrapped(texts: readonly string[], width: number): string[] {
  return texts.filter((text) => text !== '').flatMap((text) => {
    const lines = ['']
    for (const word of text.split(' ')) {
      const last = lines.at(-1)!
      if (last.trim() === '') lines[lines.length - 1] = `${last}${word}`
      else if (last.length + 1 + word.length <= width) lines[lines.length - 1] = `${last} ${word}`
      else lines.push(`  ${word}`)
    }
    return lines
  })
}
