import type { Spread } from './measure.js'
import type { Finding } from './question.js'
import type { Answer } from './record.js'

/** One line per finding, and below it what else was measured. */
export function printTable(answers: readonly Answer[]): void {
  const lines = [['question', 'measured', 'unit', 'ours (p10–p90)', 'peer (p10–p90)', 'ratio', 'target', 'reached']]
  const notes: string[] = []
  for (const { question, findings } of answers) {
    for (const finding of findings) {
      lines.push(cells(question, finding))
      const beside = [...finding.peers.slice(1), ...finding.limits].map((other) => `${other.name}: ${withSpread(other)}`)
      if (finding.note !== undefined) beside.push(finding.note)
      if (beside.length > 0) notes.push(`${question}, ${finding.what}: ${beside.join('; ')}`)
    }
  }
  const widths = lines[0]!.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)))
  for (const line of lines) console.log(line.map((cell, column) => cell.padEnd(widths[column]!)).join('  ').trimEnd())
  if (notes.length > 0) console.log(`\nBeside it\n${notes.map((note) => `  ${note}`).join('\n')}`)
}

function cells(question: string, { what, unit, ours, peers: [peer], target }: Finding): string[] {
  return [
    question, what, unit, withSpread(ours), peer === undefined ? '-' : `${peer.name} ${withSpread(peer)}`,
    peer === undefined ? '-' : `${figure(ours.median / peer.median)}×`,
    target?.text ?? '-', target === undefined ? '-' : target.reached === undefined ? 'no peer' : target.reached ? 'yes' : 'NO',
  ]
}

function withSpread({ median, p10, p90, samples }: Spread): string {
  return samples.length === 1 ? figure(median) : `${figure(median)} (${figure(p10)}–${figure(p90)})`
}

/** Three digits that count. */
function figure(value: number): string {
  if (Math.abs(value) >= 1000) return Math.round(value).toLocaleString('en')
  return Math.abs(value) >= 100 ? value.toFixed(0) : Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(2)
}
