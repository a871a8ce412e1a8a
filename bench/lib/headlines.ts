// The findings that README and its chart show: for each kind of use a few, those where we are slower among them.
import { compared } from './compare.js'
import type { Finding, Named } from './question.js'
import type { Answer } from './record.js'

interface Line {
  readonly question: string
  /** Of the finding's `what`; the first that matches is it. */
  readonly like: RegExp
  readonly text: string
}

const GROUPS: readonly { readonly group: string; readonly lines: readonly Line[] }[] = [
  {
    group: 'Arrays and batches', lines: [
      { question: 'batches', like: /^shuffled, copied$/, text: 'shuffled batches of 64 × 64 float32' },
      { question: 'chunks', like: /at random/, text: 'random rows in batches' },
      { question: 'reading', like: /^all numbers/, text: 'a .npy file, every number read' },
      { question: 'cast', like: /a new array$/, text: 'float64 → float32, mapped file, into a new array' },
    ],
  },
  {
    group: 'Training', lines: [
      { question: 'tfjs', like: /^shuffled, read once$/, text: 'shuffled batches as tensors of TensorFlow.js' },
      { question: 'tfjs', like: /^in order, read once$/, text: 'the same in order' },
      { question: 'onnx', like: /conv.*batches without/, text: 'a conv net in ONNX, batches of 32' },
    ],
  },
  {
    group: 'Tokens and values', lines: [
      { question: 'values', like: /from memory/, text: 'get 4 KB from memory' },
      { question: 'values', like: /^get of 4 KB from disk/, text: 'get 4 KB from disk, checked' },
      { question: 'values', like: /^put/, text: 'put 4 KB in bulk, durable' },
    ],
  },
  {
    group: 'Crystals', lines: [
      { question: 'crystals', like: /CrystalNN/, text: 'CSV of CIFs → CrystalNN graphs, cached' },
      { question: 'crystals', like: /within 5 Å/, text: 'neighbours within 5 Å, 1 thread' },
      { question: 'crystals', like: /read in order$/, text: 'cached graphs opened, verified, read' },
    ],
  },
  {
    group: 'Simulations', lines: [
      { question: 'open', like: /verified before/, text: 'a view of a 10 MB array, not read, verified before' },
      { question: 'open', like: /first touch/, text: 'the same, read and verified now' },
    ],
  },
  {
    group: 'Ptychography', lines: [
      { question: 'scan', like: /sorting included/, text: '7 nearest of 100,000 scan points, 1 thread' },
      { question: 'scan', like: /^\d+ groups of/, text: '512 groups, from file to float32 batches' },
      { question: 'scan', like: /^another epoch, shuffled$/, text: 'another epoch of groups, shuffled' },
    ],
  },
  {
    group: 'Medical volumes', lines: [
      { question: 'volumes', like: /cores$/, text: 'NIfTI → oriented, 1.5 mm, clipped, cached' },
      { question: 'resample', like: /z-score, 1 thread/, text: '256³ int16 → 128³ → z-score, 1 thread' },
      { question: 'gzip', like: /^one file/, text: '.nii.gz → voxels' },
      { question: 'gzip', like: /at random/, text: 'frames of a .nii.gz series at random' },
    ],
  },
]

export interface Headline {
  readonly group: string
  readonly text: string
  readonly finding: Finding
  /** The best of those measured. Without one there is nothing to compare with, and no headline. */
  readonly best: Named
  readonly ratio: number
  readonly slower: boolean
}

export function headlines(answers: readonly Answer[]): Headline[] {
  return GROUPS.flatMap(({ group, lines }) => lines.flatMap(({ question, like, text }) => {
    const finding = found(answers, question, like)
    if (finding === undefined) return []
    const { best, ratio, slower } = compared(finding)
    return best === undefined || ratio === undefined ? [] : [{ group, text, finding, best, ratio, slower }]
  }))
}

/** Lines for which there is no finding: a question that was not asked or failed, or a text that has changed. */
export function unmatched(answers: readonly Answer[]): string[] {
  return GROUPS.flatMap(({ lines }) => lines.filter(({ question, like }) => found(answers, question, like) === undefined).map(({ question, text }) => `${question} (${text})`))
}

function found(answers: readonly Answer[], question: string, like: RegExp): Finding | undefined {
  return answers.find((answer) => answer.question === question)?.findings.find(({ what }) => like.test(what))
}
