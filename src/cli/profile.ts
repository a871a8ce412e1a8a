import { writeFileSync } from 'node:fs'
import { FileError } from '../core/errors.js'
import type { Profile } from '../profile.js'
import { humanBytes, humanSeconds, table } from './format.js'
import type { Context } from './verb.js'

/** Prints where the time went, as a table or as an object, and writes the trace, as asked. */
export function report(profile: Profile, context: Context, asked: { readonly table: boolean; readonly trace: string | undefined }): void {
  profile.stop()
  const { seconds } = profile
  if (asked.table && context.json) context.print(JSON.stringify({ profile: profile.summary(), seconds }))
  else if (asked.table) for (const line of profileTable(profile)) context.print(line)
  if (asked.trace === undefined) return
  try {
    writeFileSync(asked.trace, profile.trace())
  } catch (cause) {
    throw new FileError(asked.trace, `cannot be written (${(cause as NodeJS.ErrnoException).code ?? (cause as Error).message})`, { cause })
  }
}

/** Work of a stage overlaps with that of others and with itself: `busy` is how long at least one piece was under way. */
function profileTable(profile: Profile): string[] {
  const { seconds } = profile
  const rows = profile.summary().map(({ stage, count, seconds: sum, busySeconds, bytes }) => [
    stage, humanSeconds(busySeconds), `${(100 * busySeconds / Math.max(seconds, 1e-9)).toFixed(0)} %`, humanSeconds(sum), String(count), bytes === 0 ? '' : humanBytes(bytes), bytes === 0 ? '' : `${humanBytes(bytes / Math.max(busySeconds, 1e-9))}/s`,
  ])
  return table([['stage', 'busy', 'of the time', 'in all', 'pieces', 'bytes', 'speed'], ...rows, ['all', humanSeconds(seconds), '', '', '', '', '']], [1, 2, 3, 4, 5, 6])
}
