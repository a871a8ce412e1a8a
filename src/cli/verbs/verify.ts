import { checkDeviceChoice } from '../../devices/select.js'
import type { Verification } from '../../dataset/verify.js'
import { humanBytes, humanOf, humanSeconds } from '../format.js'
import { ProgressLine } from '../progress.js'
import { UsageError, type Context, type Verb } from '../verb.js'

export const verify: Verb = {
  name: 'verify',
  summary: 'Reads every blob again and compares its SHA-256 with its name, and follows every dataset and value to its bytes. Changes nothing unless asked to; exit code 1 on damage that is left.',
  usage: '',
  example: 'tensorcache verify --fix',
  options: {
    sample: { type: 'string', value: 'N|P%', about: 'so many blobs, chosen by the seed, instead of all' },
    recompute: { type: 'string', value: 'N', about: 'compute so many items again, chosen by the seed, on another device if there is one, and compare the bytes' },
    seed: { type: 'string', value: 'S', about: 'what chooses; default: 0' },
    fix: { type: 'boolean', about: 'move damage to quarantine and make again what was in it, from its recorded recipe and source' },
    'dry-run': { type: 'boolean', about: 'with --fix: say what would be done; change nothing' },
    device: { type: 'string', value: 'auto|cpu|webgpu[:NAME]', about: 'where to compute' },
  },
  positionals: [0, 0],
  async run(context) {
    const { sample, recompute, seed, fix, 'dry-run': dryRun, device } = context.values as { sample?: string; recompute?: string; seed?: string; fix?: boolean; 'dry-run'?: boolean; device?: string }
    if (dryRun === true && fix !== true) throw new UsageError('--dry-run says what --fix would do, and goes with it')
    if (seed !== undefined && !/^\d+$/.test(seed)) throw new UsageError(`--seed must be an integer from 0, not ${seed}`)
    if (recompute !== undefined && !/^\d{1,9}$/.test(recompute)) throw new UsageError(`--recompute must be a number of items from 0, not ${recompute}`)
    const cache = await context.openCache({ existing: true, readonly: fix !== true || dryRun === true })
    const line = new ProgressLine(process.stderr, !context.quiet)
    const found = await cache.verify({
      signal: context.signal,
      onProgress: (progress) => line.updateBytes('verify', progress),
      onRebuild: (progress) => line.update(progress),
      ...(sample !== undefined && { sample }),
      ...(recompute !== undefined && { recompute: Number(recompute) }),
      ...(seed !== undefined && { seed: BigInt(seed) }),
      ...(fix !== undefined && { fix }),
      ...(dryRun !== undefined && { dryRun }),
      ...(device !== undefined && { device: checkDeviceChoice('verify', device) }),
    }).finally(() => line.clear())
    if (context.json) context.print(JSON.stringify(found))
    else tell(context, found)
    return found.sound ? 0 : 1
  },
}

function tell(context: Context, { sound, blobs, of, bytes, seconds, seed, records, damaged, broken, recomputed, repairs, dryRun }: Verification): void {
  for (const { path, reason } of damaged) context.print(`damaged: ${path}: ${reason}`)
  for (const { what, key, name, namespace, reason } of broken) context.print(`broken: ${what} ${[namespace, name === '' ? key : name].filter((part) => part !== '').join('/')}: ${reason}`)
  for (const { dataset, item, field, reason } of recomputed?.differences ?? []) context.print(`differs: ${dataset}, item ${item}, field ${field}: ${reason}`)
  for (const { dataset, items, reason } of recomputed?.skipped ?? []) context.note(`not computed again: ${humanOf(items, 'item')} of ${dataset}: ${reason}`)
  for (const { what, name, outcome, reason, advice } of repairs ?? []) {
    const verb = outcome === 'lost' ? dryRun ? 'would be lost' : 'lost' : `${dryRun ? 'would be ' : ''}${outcome}`
    context.print(`${verb}: ${what} ${name}: ${reason}${advice === '' ? '' : `; ${advice}`}`)
  }
  const read = seed === null ? humanOf(blobs, 'blob') : `${blobs} of ${of} blobs, chosen by seed ${seed}`
  const again = recomputed === null ? '' : `, ${humanOf(recomputed.items, 'item')} computed again${recomputed.devices.length === 0 ? '' : ` on ${recomputed.devices.join(', ')}`} (seed ${recomputed.seed})`
  const count = damaged.length + broken.length
  const verdict = count === 0 ? 'all as written' : `${count} damaged${repairs === null ? '; --fix mends what can be mended' : sound ? ', mended' : dryRun ? '' : '; what is lost is listed above'}`
  context.print(`${read}, ${records} datasets and values${again}, ${humanBytes(bytes)} in ${humanSeconds(seconds)}: ${verdict}`)
}
