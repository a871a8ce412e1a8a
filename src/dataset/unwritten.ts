import { IntegrityError } from '../core/errors.js'
import { toHex } from '../core/hash.js'
import { HASH_BYTES } from '../core/keys.js'
import type { Tensor } from '../core/tensor.js'
import { digestsOf } from './identify.js'
import type { Shards } from './shards.js'

/**
 * Compares items, as whoever is handed them sees them, with their digests. Views of a shard are copy-on-write, so a stray write reaches no file, but later views
 * of that mapping show it. For looking for faults: it costs a hash of each item.
 */
export async function assertUnwritten(shards: Shards, indices: Iterable<number>): Promise<void> {
  const { facts, rows } = shards.manifest
  for (const index of indices) {
    const { id, ...fields } = await shards.item(index, Object.keys(facts.fields))
    const piece = { count: 1, fields: Object.fromEntries(Object.entries(fields as Record<string, Tensor>).map(([name, { dtype, shape, data }]) => [name, { dtype, shape: [1, ...shape], data }])) }
    if (toHex(await digestsOf(piece, 1)) !== toHex(rows.digests.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES))) {
      throw new IntegrityError(`item ${id as string}`, 'was written to after it was handed out (TENSORCACHE_CHECK); items are to be read only, copy what you change')
    }
  }
}
