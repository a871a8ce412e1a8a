import { restoreCache } from '../../cache/backup.js'
import { humanBytes, humanOf } from '../format.js'
import { ProgressLine } from '../progress.js'
import type { Verb } from '../verb.js'

export const restore: Verb = {
  name: 'restore',
  summary: 'Makes a cache of a backup, which stays as it is. The folder of the cache must be empty, and nobody may have it open.',
  usage: '<folder>',
  example: 'tensorcache restore /mnt/disk/cache-backup --cache-dir .tensorcache --verify',
  options: {
    yes: { type: 'boolean', about: 'write over the cache that is there; what the backup has not goes' },
    link: { type: 'boolean', about: 'hard links where both are on one file system' },
    verify: { type: 'boolean', about: 'read every blob again and compare its SHA-256 with its name' },
  },
  positionals: [1, 1],
  async run(context) {
    const line = new ProgressLine(process.stderr, !context.quiet)
    const { yes, link, verify } = context.values
    const done = await restoreCache(context.positionals[0]!, context.writableDir(), {
      force: yes === true, link: link === true, verify: verify === true, signal: context.signal, onProgress: (progress) => line.updateBytes('restore', progress),
    }).finally(() => line.clear())
    if (context.json) {
      context.print(JSON.stringify(done))
    } else {
      for (const digest of done.missing) context.print(`missing: ${digest}: the backup has no such file of its size`)
      for (const { path, reason } of done.damaged) context.print(`damaged: ${path}: ${reason}`)
      context.print(`${humanOf(done.blobs, 'blob')}, ${humanBytes(done.bytes)}: ${done.copied} brought, ${done.removed} removed${verify === true ? `; ${done.damaged.length} damaged` : ''}`)
    }
    return done.missing.length + done.damaged.length === 0 ? 0 : 1
  },
}
