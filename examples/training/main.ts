// `npm run train -- crystals --resume`, or once the examples are compiled `node build/examples/training/main.js crystals --resume`.
import { parseArgs } from 'node:util'
import { table } from '../table.js'
import { heats } from './crystals/heats.js'
import { grains } from './patterns/grains.js'
import { epochLine, fall, waysTable } from './report.js'
import { train } from './train.js'

const USAGE = `usage: main.js crystals|patterns [options]

  --data CSV     crystals: with columns material_id, cif and heat_all, such as perov_5/train.csv
  --dir FOLDER   of the cache: data and checkpoints (default .tensorcache/training)
  --epochs N     all together, those before a resume among them (default: 6 of crystals, 12 of patterns)
  --seed N       of initial weights, order, random changes and parts (default 1)
  --every K      steps between two checkpoints (default 10)
  --resume       goes on from the newest checkpoint
  --log FILE     adds a line per step: step, epoch, SHA-256 of the batch, loss
  --no-compare   does not measure epochs without the cache at the end`

const { values, positionals: [name, ...others] } = parsed()
const tasks = { crystals: () => heats(values.data), patterns: () => grains }
if (name === undefined || !Object.hasOwn(tasks, name) || others.length > 0) fail(name === undefined ? 'what shall be trained?' : `crystals or patterns, not ${[name, ...others].join(' ')}`)
const task = tasks[name as keyof typeof tasks]()

console.log(`${task.name}: ${task.about}`)
const trained = await train(task, {
  dir: values.dir, epochs: whole('epochs'), seed: whole('seed'), every: whole('every'), resume: values.resume, log: values.log, compare: !values['no-compare'],
  onEpoch: (figures) => console.log(epochLine(task, figures)),
})
const { resumedAt, items, steps, backend } = trained
console.log(`${items.train} items for training, ${items.val} for validation; ${steps} steps${resumedAt === undefined ? '' : `, resumed after step ${resumedAt}`}; ${backend}`)
console.log(`the loss of an epoch fell ${fall(trained).toFixed(1)}-fold`)
if (trained.comparison !== undefined) console.log(`\n${table(waysTable(trained))}`)

function parsed() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        data: { type: 'string' }, dir: { type: 'string', default: '.tensorcache/training' }, epochs: { type: 'string' }, seed: { type: 'string' }, every: { type: 'string' },
        resume: { type: 'boolean', default: false }, log: { type: 'string' }, 'no-compare': { type: 'boolean', default: false },
      },
    })
  } catch (error) {
    return fail((error as Error).message)
  }
}

function whole(option: 'epochs' | 'seed' | 'every'): number | undefined {
  const text = values[option]
  if (text === undefined) return undefined
  if (!/^\d{1,9}$/.test(text) || (option !== 'seed' && Number(text) === 0)) fail(`--${option} must be a whole number, not ${text}`)
  return Number(text)
}

function fail(message: string): never {
  console.error(`${message}\n\n${USAGE}`)
  process.exit(2)
}
