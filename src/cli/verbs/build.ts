import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { number } from '../../core/options.js'
import { plan } from '../../dataset/plan.js'
import { checkDeviceChoice, deviceSource, type DeviceChoice } from '../../devices/select.js'
import type { DatasetConfig } from '../config/schema.js'
import { humanBytes, humanSeconds } from '../format.js'
import { ProgressLine } from '../progress.js'
import { UsageError, type Context, type Verb } from '../verb.js'

export const build: Verb = {
  name: 'build',
  summary: 'Fills what is missing of the datasets of the configuration file (all, or those named).',
  usage: '[dataset…]',
  example: 'tensorcache build train --jobs 4',
  options: {
    device: { type: 'string', value: 'auto|cpu|webgpu[:NAME]', about: 'where to compute; the bytes are the same' },
    jobs: { type: 'string', value: 'N', about: 'ranges of items in work at the same time; default: one per core' },
    'dry-run': { type: 'boolean', about: 'say what is there and what would be computed; write nothing' },
  },
  positionals: [0, Infinity],
  async run(context) {
    const config = context.config()
    const { datasetNames: names } = config
    // Only what is built is checked: another dataset may need a variable that is not set here.
    const chosen = (context.positionals.length === 0 ? names : context.positionals).map((name) => names.includes(name) ? config.dataset(name) : unknown(name, names))
    if (chosen.length === 0) throw new UsageError('the configuration file has no datasets')
    const { jobs: given } = context.values
    const jobs = given === undefined ? undefined : number('build', 'jobs', Number(given), { integer: true, min: 1, max: 256 })
    for (const dataset of chosen) {
      const device = checkDeviceChoice('build', context.values.device ?? dataset.device)
      if (context.values['dry-run'] === true) await dryRun(context, dataset, device)
      else await fill(context, dataset, device, jobs)
    }
    return 0
  },
}

async function fill(context: Context, config: DatasetConfig, device: DeviceChoice, jobs: number | undefined): Promise<void> {
  const cache = await context.openCache()
  const line = new ProgressLine(process.stderr, !context.quiet)
  const source = await config.open()
  try {
    const dataset = await cache.dataset(source, config.recipe, {
      name: config.name, namespace: config.namespace, device, signal: context.signal,
      ...(jobs === undefined ? {} : { jobs }),
      onProgress: (progress) => line.update(progress),
    })
    line.clear()
    const { items, hits, computed, skipped, seconds, bytes } = dataset.report
    const made = dataset.provenance.device
    if (context.json) context.print(JSON.stringify({ name: config.name, key: dataset.key, digest: dataset.digest, items, hits, computed, skipped, seconds, bytes, device: made?.kind ?? null, adapter: made?.name ?? null }))
    else context.print(`${config.name}: ${items} items, ${hits} hits, ${computed} computed${skipped === 0 ? '' : `, ${skipped} skipped`} in ${humanSeconds(seconds)}, ${humanBytes(bytes)} written; digest ${dataset.digest.slice(0, 16)}`)
    for (const { what, count, items: from } of dataset.report.cuts) context.note(`${what}: ${count} of ${from} items`)
    for (const { id, reason } of source.skipped ?? []) context.note(`skipped ${id}: ${reason}`)
    await dataset.close()
  } finally {
    line.clear()
    source.close()
  }
}

async function dryRun(context: Context, config: DatasetConfig, choice: DeviceChoice): Promise<void> {
  const cache = existsSync(join(context.cacheDir(), 'index/data.mdb')) ? await context.openCache({ readonly: true }) : undefined
  const device = deviceSource(choice)
  const source = await config.open()
  try {
    const found = await plan({ store: cache?.store, source, recipe: config.recipe, device, signal: context.signal })
    if (context.json) {
      context.print(JSON.stringify({ name: config.name, dryRun: true, items: found.items, hits: found.hits, missing: found.missing, bytes: found.bytes ?? null, secondsEstimate: found.secondsEstimate ?? null }))
    } else {
      const cost = found.missing === 0 ? '' : `: about ${found.bytes === undefined ? 'an unknown number of bytes' : humanBytes(found.bytes)} and ${humanSeconds(found.secondsEstimate ?? NaN)} of computing`
      context.print(`${config.name}: ${found.items} items, ${found.hits} hits, ${found.missing} to compute${cost}`)
    }
  } finally {
    source.close()
    await device.close()
  }
}

function unknown(name: string, names: readonly string[]): never {
  throw new UsageError(`the configuration file has no dataset "${name}"; it has ${names.join(', ') || 'none'}`)
}
