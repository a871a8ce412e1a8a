import { layoutOf } from './layout.js'
import { openTables } from './tables.js'

/**
 * A program of its own: `node index-probe.js DIR` walks the whole index and prints what it counted. A damaged index ends it, by an error or by a signal; whoever started it lives.
 */
const tables = openTables(layoutOf(process.argv[2]!), { readOnly: true })
const counts: Record<string, number> = {}
for (const name of ['counters', 'items', 'blobs', 'blobIds', 'checksums', 'datasets', 'requests', 'files', 'witnesses', 'namespaces', 'entries', 'uses', 'dependents', 'holders'] as const) {
  let count = 0
  // Values are copied out, those that are JSON decoded: every page is read.
  for (const _ of tables[name].getRange()) count++
  counts[name] = count
}
// A damaged tree may end early without an error.
if (counts.blobs !== counts.blobIds || counts.blobs !== counts.checksums || counts.counters === 0) throw new Error(`the tables of blobs do not agree: ${JSON.stringify(counts)}`)
process.stdout.write(JSON.stringify(counts))
