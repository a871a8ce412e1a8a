// How much memory does it take to stream a file much larger than memory through a cast, and how fast is it? The file is sparse: its pages have to be
// brought in like any other's, but no disk limits the speed.
import { spawn } from 'node:child_process'
import { closeSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { openArrays } from 'tensorcache'
import { peakResidentMiB } from './lib/facts.js'
import { writeSparseNpy } from './lib/files.js'
import { seconds, spread } from './lib/measure.js'
import { atMost, check, type Context, type Finding, type Question } from './lib/question.js'

/** 1 MB of source. */
const ROW = 125_000
/** 16 MB of source per read. */
const ROWS_PER_READ = 16
/** What is asked of the smaller files, which by default would be kept in memory as they fit there. */
const RESIDENCY_BYTES = 2 ** 28

interface Passed { readonly seconds: number; readonly peakMiB: number; readonly startMiB: number; readonly elements: number; readonly sum: number }

async function run({ dir, pick }: Context): Promise<Finding[]> {
  const rows = pick({ tiny: 96, quick: 1_000, full: 64_000 })
  const bytes = rows * ROW * 8
  const path = join(dir, 'sparse.npy')
  writeSparseNpy(path, 'float64', [rows, ROW], bytes)
  const passed = await pass(path, pick({ tiny: RESIDENCY_BYTES, quick: RESIDENCY_BYTES, full: undefined }))
  check(passed.elements === rows * ROW && passed.sum === 0, 'the stream')
  // Another file, because the pages of this one are partly in memory now.
  const fresh = join(dir, 'fresh.npy')
  const freshRows = pick({ tiny: 96, quick: 500, full: 8_000 })
  writeSparseNpy(fresh, 'float64', [freshRows, ROW], freshRows * ROW * 8)
  const limit = { name: 'read() of such a file, one thread', ...spread([freshRows * ROW * 8 / 1e9 / await seconds(() => readThrough(fresh))]) }
  const peak = spread([passed.peakMiB])
  const speed = spread([bytes / 1e9 / passed.seconds])
  const what = `${bytes / 1e9} GB sparse .npy`
  return [
    {
      what: `${what}: peak resident memory`, unit: 'MiB', ours: peak, peers: [], limits: [{ name: 'a Node process with the library loaded', ...spread([passed.startMiB]) }],
      target: atMost(256, peak, 'MiB'), note: 'VmHWM of a process that does only this',
    },
    { what: `${what}: speed`, unit: 'GB/s of source', ours: speed, peers: [], limits: [limit], target: undefined },
  ]
}

function readThrough(path: string): void {
  const fd = openSync(path, 'r')
  const buffer = new Uint8Array(2 ** 20)
  while (readSync(fd, buffer) > 0) { /* only the reading counts */ }
  closeSync(fd)
}

function pass(path: string, residencyBytes: number | undefined): Promise<Passed> {
  return new Promise((done, failed) => {
    const child = spawn(process.execPath, [fileURLToPath(import.meta.url), path, ...residencyBytes === undefined ? [] : [String(residencyBytes)]], { stdio: ['ignore', 'pipe', 'inherit'] })
    let text = ''
    child.stdout.setEncoding('utf8').on('data', (part: string) => { text += part })
    child.once('error', failed).once('close', (code) => code === 0 ? done(JSON.parse(text) as Passed) : failed(new Error(`the stream's process ended with ${code}`)))
  })
}

/** In a process of its own: VmHWM remembers the peak since the process began. */
async function stream(path: string, residencyBytes: number | undefined): Promise<Passed> {
  using arrays = await openArrays(path, residencyBytes === undefined ? {} : { residencyBytes })
  const lazy = arrays.data!.cast('float32')
  const startMiB = peakResidentMiB()
  let elements = 0
  let sum = 0
  const took = await seconds(async () => {
    for (let start = 0; start < lazy.shape[0]!; start += ROWS_PER_READ) {
      const { data } = await lazy.read({ start, stop: Math.min(start + ROWS_PER_READ, lazy.shape[0]!) })
      elements += data.length
      sum += Number(data[0]) + Number(data.at(-1))
    }
  })
  return { seconds: took, peakMiB: peakResidentMiB(), startMiB, elements, sum }
}

export const streaming: Question = { name: 'stream', about: 'a file larger than memory through a cast', run }

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(JSON.stringify(await stream(process.argv[2]!, process.argv[3] === undefined ? undefined : Number(process.argv[3]))))
