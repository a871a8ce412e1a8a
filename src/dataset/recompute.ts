import { IntegrityError } from '../core/errors.js'
import { fromHex, toHex } from '../core/hash.js'
import { HASH_BYTES, recipeKey } from '../core/keys.js'
import { shuffledIndex } from '../core/shuffle.js'
import { rowOf } from '../core/rows.js'
import { bytesOf, type Tensor } from '../core/tensor.js'
import type { DeviceSource } from '../devices/device.js'
import { checkRecipe, inputFields } from '../ops/compile.js'
import type { Store } from '../store/store.js'
import { arrange } from './arrange.js'
import { Executor } from './execute.js'
import { identitiesOf, recipeDataOn } from './identify.js'
import { Manifest } from './manifest.js'
import { isHindrance, originOf, reopen, type Reopened } from './origin.js'
import { Shards } from './shards.js'

/** An item whose bytes came out other than they are stored. */
export interface Difference {
  /** Name of its dataset, or its key. */
  readonly dataset: string
  /** Key of the dataset, 64 hex digits. */
  readonly key: string
  /** Name of the item. */
  readonly item: string
  /** The field that differs. */
  readonly field: string
  /** Where the stored bytes lie. */
  readonly shard: string
  /** How the bytes differ. */
  readonly reason: string
}

/** What computing items again found. */
export interface Recomputed {
  /** Items that were computed again and compared. */
  readonly items: number
  /** Items of all datasets. */
  readonly of: number
  /** The seed that chose them. */
  readonly seed: string
  /** Devices it was computed on: kind and name. */
  readonly devices: readonly string[]
  /** Items whose bytes are not those that are stored. */
  readonly differences: readonly Difference[]
  /** Datasets of which chosen items could not be computed again, with the reason. */
  readonly skipped: readonly { readonly dataset: string; readonly items: number; readonly reason: string }[]
}

export interface RecomputeRequest {
  readonly store: Store
  readonly items: number
  readonly seed: bigint
  /** Where to compute what was made on `kind`. */
  readonly deviceFor: (kind: string | undefined) => DeviceSource
  readonly signal: AbortSignal | undefined
}

/**
 * Computes items again, chosen by the seed among those of all datasets, from their recorded source and recipe, and compares every byte of them with what is stored. Finds
 * what no checksum can: results that were wrong when they were written, and devices that do not compute the same.
 */
export async function recompute({ store, items, seed, deviceFor, signal }: RecomputeRequest): Promise<Recomputed> {
  const datasets = [...store.datasets()].filter(({ record }) => record.items > 0 && record.items < 2 ** 40)
  const of = datasets.reduce((sum, { record }) => sum + record.items, 0)
  const chosen = Array.from({ length: Math.min(items, of) }, (_, k) => shuffledIndex(of, seed, 0, k)).sort((a, b) => a - b)
  const differences: Difference[] = []
  const skipped: { dataset: string; items: number; reason: string }[] = []
  const devices = new Set<string>()
  let compared = 0
  let first = 0
  for (const { key, record } of datasets) {
    const mine = chosen.filter((item) => item >= first && item < first + record.items).map((item) => item - first)
    first += record.items
    if (mine.length === 0) continue
    signal?.throwIfAborted()
    const dataset = `${record.namespace === '' ? '' : `${record.namespace}/`}${record.name === '' ? key : record.name}`
    const skip = (reason: string, count = mine.length): void => { skipped.push({ dataset, items: count, reason }) }
    try {
      // Pruned meanwhile, or damaged, which is said elsewhere.
      if (store.datasetRecord(fromHex(key)) === undefined) continue
      const manifest = await Manifest.read(await store.blob(record.manifest))
      const origin = await originOf(store, record, true)
      const opened = await reopen(store, origin)
      if (isHindrance(opened)) {
        skip(`${opened.reason}`)
        continue
      }
      try {
        const device = deviceFor(manifest.facts.provenance.device?.kind)
        if (toHex(recipeKey(await recipeDataOn(device, opened.recipe))) !== manifest.facts.recipeKey) {
          skip('its bytes may differ between devices, and this is another one')
          continue
        }
        const result = await compare(store, manifest, opened, device, mine, signal)
        differences.push(...result.differences.map((difference) => ({ dataset, key, ...difference })))
        compared += result.compared
        if (result.changed > 0) skip('its source has changed since', result.changed)
        if (result.device !== undefined) devices.add(result.device)
      } finally {
        await opened.close()
      }
    } catch (error) {
      signal?.throwIfAborted()
      if (error instanceof IntegrityError && store.datasetRecord(fromHex(key)) === undefined) continue
      skip((error as Error).message)
    }
  }
  return { items: compared, of, seed: String(seed), devices: [...devices], differences, skipped }
}

async function compare(store: Store, manifest: Manifest, { source: given, recipe }: Reopened, device: DeviceSource, items: readonly number[], signal: AbortSignal | undefined): Promise<{ compared: number; changed: number; device: string | undefined; differences: Omit<Difference, 'dataset' | 'key'>[] }> {
  checkRecipe(recipe, given.fields)
  const { source, segments, identities } = await arrange(given, recipe, device, signal, store.notes)
  const fields = source === given ? inputFields(recipe, given.fields) : Object.keys(source.fields)
  const executor = new Executor(segments, device)
  const shards = new Shards(store, manifest)
  const differences: Omit<Difference, 'dataset' | 'key'>[] = []
  let changed = 0
  for (const item of items) {
    signal?.throwIfAborted()
    if (item >= source.length) {
      changed++
      continue
    }
    for await (const run of source.read(item, item + 1, { fields, signal, notes: store.notes })) {
      const identity = identities?.subarray(item * HASH_BYTES, (item + 1) * HASH_BYTES) ?? await identitiesOf(run, fields, source.reader, 1)
      if (Buffer.compare(identity, manifest.rows.identities.subarray(item * HASH_BYTES, (item + 1) * HASH_BYTES)) !== 0) {
        changed++
        continue
      }
      const [made] = await executor.run(run, [source.id(item)], signal)
      const stored = await shards.item(item, Object.keys(manifest.facts.fields))
      const shard = manifest.rows.blobs[manifest.rows.blobOf[item]!]!
      for (const name of Object.keys(manifest.facts.fields)) {
        const rows = made!.fields[name]
        const reason = rows === undefined ? 'is not made' : difference(rowOf(rows, 0), stored[name] as Tensor)
        if (reason !== undefined) differences.push({ item: source.id(item), field: name, shard, reason })
      }
    }
    source.release(item, item + 1)
  }
  const { used } = executor
  return { compared: items.length - changed, changed, device: used === undefined ? undefined : `${used.kind} (${used.name})`, differences }
}

function difference(made: Tensor, stored: Tensor): string | undefined {
  if (made.dtype !== stored.dtype || made.shape.join() !== stored.shape.join()) return `made ${made.dtype} [${made.shape.join(', ')}], stored ${stored.dtype} [${stored.shape.join(', ')}]`
  const [a, b] = [bytesOf(made.data), bytesOf(stored.data)]
  if (Buffer.compare(a, b) === 0) return undefined
  const at = a.findIndex((byte, k) => byte !== b[k])
  return `differs from byte ${at} on`
}
