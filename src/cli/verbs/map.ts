import { humanOf } from '../format.js'
import { toHex } from '../../core/hash.js'
import { HASH_BYTES } from '../../core/keys.js'
import { Manifest } from '../../dataset/manifest.js'
import { writeWhole } from '../export/output.js'
import { datasetsOf, findDataset } from '../find.js'
import type { Verb } from '../verb.js'

export const map: Verb = {
  name: 'map',
  summary: 'Says which item is which: ids with their identities and digests, and where each lies. Of all datasets, or of one.',
  usage: '[key or name]',
  example: 'tensorcache map train --output train.json',
  options: {
    output: { type: 'string', value: 'FILE', about: 'write there, as one JSON object; default: a line for each item' },
    force: { type: 'boolean', about: 'replace a file that exists' },
  },
  positionals: [0, 1],
  async run(context) {
    const cache = await context.openCache({ readonly: true })
    const [one] = context.positionals
    const chosen = one === undefined ? datasetsOf(cache) : [findDataset(cache, one)]
    const output = context.values.output as string | undefined
    const datasets: { key: string; name: string; namespace: string; items: object[] }[] = []
    for (const { store, key, record } of chosen) {
      const manifest = await Manifest.read(await store.blob(record.manifest))
      const { rows } = manifest
      const at = (table: Uint8Array, item: number): string => toHex(table.subarray(item * HASH_BYTES, (item + 1) * HASH_BYTES))
      const items = Array.from({ length: record.items }, (_, item) => ({ id: manifest.id(item), identity: at(rows.identities, item), digest: at(rows.digests, item), blob: rows.blobs[rows.blobOf[item]!]!, row: rows.rowOf[item]! }))
      if (output !== undefined) datasets.push({ key, name: record.name, namespace: record.namespace, items })
      else if (context.json) for (const item of items) context.print(JSON.stringify({ dataset: key, ...item }))
      else for (const { id: name, digest, blob, row } of items) context.print(`${digest}  ${name}  ${blob.slice(0, 16)}:${row}`)
    }
    if (output !== undefined) {
      await writeWhole(output, context.values.force === true, (file) => file.append(Buffer.from(`${JSON.stringify({ datasets }, null, 1)}\n`)))
      context.note(`${humanOf(datasets.reduce((sum, { items }) => sum + items.length, 0), 'item')} of ${humanOf(datasets.length, 'dataset')} written to ${output}`)
    }
    return 0
  },
}
