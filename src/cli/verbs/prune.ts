import { bytes, duration } from '../../core/options.js'
import { humanBytes, humanOf } from '../format.js'
import { UsageError, type Verb } from '../verb.js'

export const prune: Verb = {
  name: 'prune',
  summary: 'Removes what was used longest ago. What is open somewhere stays; so does what is marked keep or cannot be made again, unless its namespace is named.',
  usage: '',
  example: 'tensorcache prune --max-size 50GB --dry-run',
  options: {
    'max-size': { type: 'string', value: 'SIZE', about: 'until datasets and values take so much: 50GB, 512MiB' },
    'older-than': { type: 'string', value: 'AGE', about: 'what was not used for so long: 30d, 12h' },
    namespace: { type: 'string', value: 'NAME', about: 'only of this namespace and those below it' },
    quarantine: { type: 'boolean', about: 'damaged files that reads and verify have set aside, too; alone, nothing else' },
    'dry-run': { type: 'boolean', about: 'say what would go; remove nothing' },
  },
  positionals: [0, 0],
  async run(context) {
    const { 'max-size': size, 'older-than': age, namespace, quarantine, 'dry-run': dryRun } = context.values as { 'max-size'?: string; 'older-than'?: string; namespace?: string; quarantine?: boolean; 'dry-run'?: boolean }
    if (size === undefined && age === undefined && quarantine !== true) throw new UsageError('say how much may stay (--max-size), or for how long (--older-than), or remove what was set aside (--quarantine); all of a namespace goes with clear')
    const cache = await context.openCache({ existing: true, readonly: dryRun === true })
    const done = await cache.prune({
      ...(size !== undefined && { maxSize: bytes('prune', 'max-size', size) }), ...(age !== undefined && { olderThan: duration('prune', 'older-than', age) }),
      ...(namespace !== undefined && { namespace }), quarantine: quarantine === true, dryRun: dryRun === true,
    })
    const aside = quarantine === true ? ` and ${humanOf(done.quarantined, 'damaged file')}` : ''
    if (context.json) context.print(JSON.stringify({ ...done, dryRun: dryRun === true }))
    else context.print(`${dryRun === true ? 'would remove' : 'removed'} ${humanOf(done.datasets, 'dataset')}${aside === '' ? ' and' : ','} ${humanOf(done.entries, 'value')}${aside}, ${humanBytes(done.bytes)}; ${humanBytes(done.left)} left`)
    if (done.pinned > 0 && !context.json) context.note(`${humanOf(done.pinned, 'dataset')} ${done.pinned === 1 ? 'is' : 'are'} open somewhere and stay${done.pinned === 1 ? 's' : ''}`)
    return 0
  },
}
