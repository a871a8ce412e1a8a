import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { StoreError } from '../../core/errors.js'
import { fromHex } from '../../core/hash.js'
import { number } from '../../core/options.js'
import type { Dataset } from '../../dataset/dataset.js'
import { plan } from '../../dataset/plan.js'
import { checkDeviceChoice, deviceSource, type DeviceChoice } from '../../devices/select.js'
import type { Cache } from '../../open-cache.js'
import { startProfile } from '../../profile.js'
import type { Source } from '../../sources/source.js'
import type { DatasetConfig } from '../config/schema.js'
import { humanBytes, humanOf, humanSeconds } from '../format.js'
import { report } from '../profile.js'
import { ProgressLine } from '../progress.js'
import { UsageError, type Context, type Verb } from '../verb.js'

export const build: Verb = {
  name: 'build',
  summary: 'Fills what is missing of the datasets of the configuration file (all, or those named and what they are made from).',
  usage: '[dataset…]',
  example: 'tensorcache build train --jobs 4',
  options: {
    device: { type: 'string', value: 'auto|cpu|webgpu[:NAME]', about: 'where to compute; the bytes are the same' },
    jobs: { type: 'string', value: 'N', about: 'ranges of items in work at the same time; default: one per core' },
    'dry-run': { type: 'boolean', about: 'say what is there and what would be computed; write nothing' },
    profile: { type: 'boolean', about: 'say in the end what the time went into: reading, casting, computing, hashing, writing, waiting' },
    trace: { type: 'string', value: 'FILE', about: 'write the same piece by piece, as a trace that Perfetto and chrome://tracing open' },
    'no-cache': { type: 'boolean', about: 'compute everything, keep nothing, and compare with what is in the cache; exit code 1 when it differs' },
  },
  positionals: [0, Infinity],
  async run(context) {
    const config = context.config()
    const { datasetNames: names } = config
    const chosen = context.positionals.length === 0 ? names : [...context.positionals]
    if (chosen.length === 0) throw new UsageError('the configuration file has no datasets')
    for (const name of chosen) if (!names.includes(name)) unknown(name, names)
    // Only what is built is checked: another dataset may need a variable that is not set here. What is made from others comes after them.
    const datasets = new Map<string, DatasetConfig>()
    const take = (name: string): void => {
      if (datasets.has(name)) return
      const dataset = config.dataset(name)
      if (dataset.from !== undefined) take(dataset.from)
      datasets.set(name, dataset)
    }
    chosen.forEach(take)
    const { jobs: given } = context.values
    const jobs = given === undefined ? undefined : number('build', 'jobs', Number(given), { integer: true, min: 1, max: 256 })
    const device = (dataset: DatasetConfig): DeviceChoice => checkDeviceChoice('build', context.values.device ?? dataset.device)
    if (context.values['dry-run'] === true) await dryRun(context, [...datasets.values()], device)
    else return profiled(context, () => fill(context, [...datasets.values()], device, jobs))
    return 0
  },
}

/** Does it while the stages of work are measured, where that is asked for. */
async function profiled(context: Context, work: () => Promise<number>): Promise<number> {
  const asked = { table: context.values.profile === true, trace: context.values.trace as string | undefined }
  if (!asked.table && asked.trace === undefined) return work()
  const profile = startProfile()
  try {
    return await work()
  } finally {
    report(profile, context, asked)
  }
}

/** Datasets in an order in which each comes after that it is made from. */
async function fill(context: Context, configs: readonly DatasetConfig[], deviceOf: (config: DatasetConfig) => DeviceChoice, jobs: number | undefined): Promise<number> {
  const passing = context.values['no-cache'] === true
  const cache = await context.openCache({ passing })
  const kept = passing ? await existing(context) : undefined
  let code = 0
  const line = new ProgressLine(process.stderr, !context.quiet)
  const wanted = new Set(configs.map(({ from }) => from))
  // Others are made from these; their sources stay open, so that damage can heal.
  const needed = new Map<string, Dataset>()
  const open: Source[] = []
  try {
    for (const config of configs) {
      const source = await config.open(async (name) => needed.get(name)!)
      open.push(source)
      const dataset = await cache.dataset(source, config.recipe, {
        name: config.name, namespace: config.namespace, device: deviceOf(config), compression: config.compression, signal: context.signal,
        ...(jobs === undefined ? {} : { jobs }),
        onProgress: (progress) => line.update(progress),
      })
      line.clear()
      const { items, hits, computed, skipped, seconds, bytes, secondsSaved } = dataset.report
      const made = dataset.provenance.device
      const before = kept?.store.datasetRecord(fromHex(dataset.key))
      const matches = before === undefined ? null : before.digest === dataset.digest
      if (matches === false) code = 1
      if (context.json) context.print(JSON.stringify({ name: config.name, key: dataset.key, digest: dataset.digest, items, hits, computed, skipped, seconds, secondsSaved, bytes: passing ? 0 : bytes, device: made?.kind ?? null, adapter: made?.name ?? null, ...(passing && { matches }) }))
      else context.print(`${config.name}: ${humanOf(items, 'item')}, ${humanOf(hits, 'hit')}, ${computed} computed${skipped === 0 ? '' : `, ${skipped} skipped`} in ${humanSeconds(seconds)}${secondsSaved > 0 ? ` (${humanSeconds(secondsSaved)} saved)` : ''}, ${passing ? 'nothing' : humanBytes(bytes)} written; digest ${dataset.digest.slice(0, 16)}${passing ? COMPARED[String(matches) as keyof typeof COMPARED] : ''}`)
      for (const { what, count, items: from } of dataset.report.cuts) context.note(`${what}: ${count}, of ${humanOf(from, 'item')}`)
      for (const { id, reason } of source.skipped ?? []) context.note(`skipped ${id}: ${reason}`)
      if (wanted.has(config.name)) needed.set(config.name, dataset)
      else {
        await dataset.close()
        open.pop()!.close()
      }
    }
  } finally {
    line.clear()
    for (const dataset of needed.values()) await dataset.close()
    for (const source of open) source.close()
  }
  return code
}

const COMPARED = { true: ', as in the cache', false: '; the cache has other bytes', null: ', not in the cache' }

/** The cache that is there, if one is. */
async function existing(context: Context): Promise<Cache | undefined> {
  return existsSync(join(context.cacheDir(), 'index/data.mdb')) ? context.openCache({ readonly: true }) : undefined
}

async function dryRun(context: Context, configs: readonly DatasetConfig[], deviceOf: (config: DatasetConfig) => DeviceChoice): Promise<void> {
  const cache = context.values['no-cache'] === true ? undefined : await existing(context)
  const wanted = new Set(configs.map(({ from }) => from))
  const complete = new Map<string, Dataset>()
  const open: Source[] = []
  try {
    for (const config of configs) {
      const { name, from } = config
      if (from !== undefined && !complete.has(from)) {
        if (context.json) context.print(JSON.stringify({ name, dryRun: true, items: null, hits: null, missing: null, bytes: null, secondsEstimate: null, waitsFor: from }))
        else context.print(`${name}: is made from ${from}, which has to be built first`)
        continue
      }
      const source = await config.open(async (other) => complete.get(other)!)
      open.push(source)
      const device = deviceSource(deviceOf(config))
      try {
        const { items, hits, missing, bytes, secondsEstimate } = await plan({ store: cache?.store, source, recipe: config.recipe, device, signal: context.signal })
        if (context.json) {
          context.print(JSON.stringify({ name, dryRun: true, items, hits, missing, bytes: bytes ?? null, secondsEstimate: secondsEstimate ?? null, waitsFor: null }))
        } else {
          const cost = missing === 0 ? '' : `: about ${bytes === undefined ? 'an unknown number of bytes' : humanBytes(bytes)} and ${humanSeconds(secondsEstimate ?? NaN)} of computing`
          context.print(`${name}: ${humanOf(items, 'item')}, ${humanOf(hits, 'hit')}, ${missing} to compute${cost}`)
        }
        // A read-only cache gives what is whole, its list of items too.
        if (missing === 0 && wanted.has(name)) await cache?.dataset(source, config.recipe, { device: deviceOf(config) }).then((dataset) => complete.set(name, dataset), ifMissing)
      } finally {
        await device.close()
      }
    }
  } finally {
    for (const source of open) source.close()
  }
}

function ifMissing(error: unknown): void {
  if (!(error instanceof StoreError)) throw error
}

function unknown(name: string, names: readonly string[]): never {
  throw new UsageError(`the configuration file has no dataset "${name}"; it has ${names.join(', ') || 'none'}`)
}
