import { layoutOf } from './layout.js'
import { openTables, type Tables } from './tables.js'

/**
 * A program of its own: `node index-probe.js DIR` walks the whole index and prints what it counted. A damaged index ends it, by an error or by a signal; whoever started it lives.
 */
const { root, ...tables } = openTables(layoutOf(process.argv[2]!), { readOnly: true })
const counts: Record<string, number> = {}
for (const name of Object.keys(tables) as (keyof Omit<Tables, 'root'>)[]) {
  let count = 0
  // Values are copied out, those that are JSON decoded: every page is read.
  for (const _ of tables[name].getRange()) count++
  // A damaged tree may end early without an error. A table that an earlier version did not have is empty.
  const entries = count === 0 && tables[name].getStats === undefined ? 0 : (tables[name].getStats() as { entryCount: number }).entryCount
  if (entries !== count) throw new Error(`table ${name} has ${entries} entries, ${count} can be reached`)
  counts[name] = count
}
process.stdout.write(JSON.stringify(counts))
await root.close()
