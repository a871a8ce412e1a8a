// `npm run bench -- [--quick | --tiny] [--dir FOLDER] [question …]`, or `--from RECORD`: see docs/benchmarks.md.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { ask } from './lib/ask.js'
import { coresBusy, facts } from './lib/facts.js'
import { unmatched } from './lib/headlines.js'
import type { Size } from './lib/question.js'
import { draw, shown } from './lib/readme.js'
import { readRecord, recordPath, writeRecord, type Answer } from './lib/record.js'
import { root } from './lib/root.js'
import { summary, table } from './lib/table.js'
import { questions } from './questions.js'

const { values: given, positionals } = parseArgs({ allowPositionals: true, options: { quick: { type: 'boolean' }, tiny: { type: 'boolean' }, dir: { type: 'string' }, from: { type: 'string' } } })
const unknown = positionals.filter((name) => !Object.hasOwn(questions, name))
if (unknown.length > 0) {
  console.error(`There is no question ${unknown.join(', ')}; there are ${Object.keys(questions).join(', ')}`)
  process.exit(2)
}
if (given.from === undefined) await measure()
else {
  const path = resolve(given.from)
  print(readRecord(path))
  drawn(relative(root, path))
}

async function measure(): Promise<void> {
  const began = performance.now()
  const size: Size = given.tiny === true ? 'tiny' : given.quick === true ? 'quick' : 'full'
  const machine = facts()
  console.log(`${machine.cpu}, ${machine.cores} cores (${machine.isa}), ${machine.memoryGiB} GiB; Node ${machine.node}, ${machine.kernel}; ${size} sizes\n`)
  // Nobody waits for this in the ordinary tests.
  const othersBusy = async (): Promise<number | undefined> => size === 'tiny' ? undefined : await coresBusy(size === 'full' ? 1000 : 250)

  const answers: Answer[] = []
  let before = await othersBusy()
  for (const question of positionals.length > 0 ? positionals : Object.keys(questions)) {
    const at = performance.now()
    const reply = await answer(question, size)
    const took = (performance.now() - at) / 1000
    const after = await othersBusy()
    console.error(`${question}: ${took.toFixed(1)} s${reply.failed === undefined ? '' : ', FAILED'}; cores kept busy by others: ${before?.toFixed(2) ?? '?'} before, ${after?.toFixed(2) ?? '?'} after`)
    answers.push({ question, ...reply, at: new Date().toISOString(), machine, othersBusy: [before, after] })
    before = after
  }
  console.log()
  print(answers)
  if (size === 'full') {
    const path = recordPath(new Date().toISOString().slice(0, 10), machine)
    writeRecord(join(root, path), answers)
    console.log(`Written: ${path}`)
    // README shows a whole record, or the one that it shows already.
    if (positionals.length === 0 || shown(root) === path) drawn(path)
  }
  console.log(`Took ${Math.floor((performance.now() - began) / 60_000)} min ${Math.round((performance.now() - began) / 1000 % 60)} s`)
  if (answers.some(({ failed }) => failed !== undefined)) process.exitCode = 1
}

function print(answers: readonly Answer[]): void {
  console.log(table(answers))
  console.log(summary(answers))
  const lost = unmatched(answers)
  if (lost.length > 0 && positionals.length === 0) console.log(`README has lines for which there is no finding: ${lost.join('; ')}`)
}

function drawn(record: string): void {
  console.log(`Drawn: ${draw(root, record).join(', ')}`)
}

async function answer(question: string, size: Size): ReturnType<typeof ask> {
  // On the disk of the project, not in /tmp, which may be memory.
  const base = resolve(given.dir ?? join(root, '.tensorcache'))
  mkdirSync(base, { recursive: true })
  const dir = mkdtempSync(join(base, `bench-${question}-`))
  try {
    return await ask(fileURLToPath(new URL('answer.js', import.meta.url)), [question, size, dir])
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}
