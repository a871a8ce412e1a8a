import { humanBytes, humanOf } from '../format.js'
import { ProgressLine } from '../progress.js'
import type { Verb } from '../verb.js'

export const backup: Verb = {
  name: 'backup',
  summary: 'Copies the cache as it is now into a folder of its own, while others read and write. Where the folder holds an older backup, only what is new is brought.',
  usage: '<folder>',
  example: 'tensorcache backup /mnt/disk/cache-backup',
  options: {
    link: { type: 'boolean', about: 'hard links where both are on one file system: at once, without taking room; what damages a file then damages both' },
  },
  positionals: [1, 1],
  async run(context) {
    const cache = await context.openCache({ existing: true })
    const line = new ProgressLine(process.stderr, !context.quiet)
    const done = await cache.backup(context.positionals[0]!, {
      link: context.values.link === true, signal: context.signal, onProgress: (progress) => line.updateBytes('backup', progress),
    }).finally(() => line.clear())
    if (context.json) {
      context.print(JSON.stringify(done))
    } else {
      for (const digest of done.missing) context.print(`missing: ${digest}: its file is not there; verify --fix says more`)
      context.print(`${humanOf(done.blobs, 'blob')}, ${humanBytes(done.bytes)}: ${done.copied} brought${done.linked === 0 ? '' : ` (${done.linked} linked)`}, ${humanBytes(done.copiedBytes)}; ${done.removed} of an older backup removed`)
    }
    return done.missing.length === 0 ? 0 : 1
  },
}
