// `npm run bench -- [--quick | --tiny] [--dir FOLDER] [question …]`: see docs/benchmarks.md.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { batches } from './batches.js'
import { cast } from './cast.js'
import { compression } from './compression.js'
import { crystal } from './crystals.js'
import { entries } from './entries.js'
import { coresBusy, facts } from './lib/facts.js'
import { Peer } from './lib/peer.js'
import type { Context, Finding, Question, Size } from './lib/question.js'
import { writeRecord, type Answer } from './lib/record.js'
import { root } from './lib/root.js'
import { printTable } from './lib/table.js'
import { gpu } from './gpu.js'
import { gzip } from './gzip.js'
import { loop } from './loop.js'
import { missing } from './missing.js'
import { onnxOps } from './onnx.js'
import { open } from './open.js'
import { publish } from './publish.js'
import { resample } from './resample.js'
import { scan } from './scan.js'
import { streaming } from './stream.js'
import { values } from './values.js'
import { volumes } from './volumes.js'

const questions: readonly Question[] = [cast, streaming, resample, batches, open, publish, compression, loop, crystal, values, entries, volumes, gzip, missing, scan, onnxOps, gpu]

const { values: given, positionals } = parseArgs({ allowPositionals: true, options: { quick: { type: 'boolean' }, tiny: { type: 'boolean' }, dir: { type: 'string' } } })
const unknown = positionals.filter((name) => !questions.some((question) => question.name === name))
if (unknown.length > 0) {
  console.error(`There is no question ${unknown.join(', ')}; there are ${questions.map(({ name }) => name).join(', ')}`)
  process.exit(2)
}
const size: Size = given.tiny === true ? 'tiny' : given.quick === true ? 'quick' : 'full'
const machine = facts()
console.log(`${machine.cpu}, ${machine.cores} cores (${machine.isa}), ${machine.memoryGiB} GiB; Node ${machine.node}, ${machine.kernel}; ${size} sizes\n`)

const answers: Answer[] = []
for (const question of questions) {
  if (positionals.length > 0 && !positionals.includes(question.name)) continue
  const busyBefore = await othersBusy()
  const began = performance.now()
  const { findings, peers } = await answer(question)
  const took = (performance.now() - began) / 1000
  const busyAfter = await othersBusy()
  console.error(`${question.name}: ${took.toFixed(1)} s; cores kept busy by others: ${busyBefore?.toFixed(2) ?? '?'} before, ${busyAfter?.toFixed(2) ?? '?'} after`)
  answers.push({ question: question.name, about: question.about, at: new Date().toISOString(), peers, machine, othersBusy: [busyBefore, busyAfter], findings })
}
console.log()
printTable(answers)
if (size === 'full') console.log(`\nWritten: ${writeRecord(answers, machine)}`)

/** Nobody waits for this in the ordinary tests. */
async function othersBusy(): Promise<number | undefined> {
  return size === 'tiny' ? undefined : coresBusy()
}

async function answer(question: Question): Promise<{ findings: Finding[]; peers: string[] }> {
  // On the disk of the project, not in /tmp, which may be memory.
  const base = given.dir ?? join(root, '.tensorcache')
  mkdirSync(base, { recursive: true })
  const dir = mkdtempSync(join(base, `bench-${question.name}-`))
  const started: Peer[] = []
  const context: Context = {
    size, dir,
    pick: (of) => of[size],
    async peer(script) {
      // The smallest size checks our own results only: loading torch takes longer than all of it.
      const peer = size === 'tiny' ? undefined : await Peer.start(script)
      if (peer !== undefined) started.push(peer)
      return peer
    },
  }
  try {
    return { findings: await question.run(context), peers: started.map(({ versions }) => versions) }
  } finally {
    for (const peer of started) peer.stop()
    rmSync(dir, { recursive: true, force: true })
  }
}
