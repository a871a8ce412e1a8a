import { spread } from '../../bench/lib/measure.js'
import type { Finding, Named } from '../../bench/lib/question.js'
import type { Answer } from '../../bench/lib/record.js'

export const named = (name: string, ...samples: number[]): Named => ({ name, ...spread(samples) })

export function finding(what: string, unit: string, ours: number, others: Partial<Finding> = {}): Finding {
  return { what, unit, ours: spread([ours]), peers: [], limits: [], target: undefined, ...others }
}

export function answer(question: string, findings: readonly Finding[], others: Partial<Answer> = {}): Answer {
  const machine = { cpu: 'Abacus', cores: 2, memoryGiB: 4, isa: 'baseline', node: 'v20', kernel: 'linux', commit: 'abc' }
  return { question, about: `about ${question}`, at: '2026-01-02T03:04:05Z', peers: [], machine, othersBusy: [0, 0], findings, ...others }
}
