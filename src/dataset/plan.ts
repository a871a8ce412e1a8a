import { HASH_BYTES, recipeKey } from '../core/keys.js'
import { byteCount } from '../core/tensor.js'
import type { DeviceSource } from '../devices/device.js'
import { checkRecipe, inputFields } from '../ops/compile.js'
import type { Recipe } from '../ops/recipe.js'
import type { Source } from '../sources/source.js'
import type { Store } from '../store/store.js'
import { arrange } from './arrange.js'
import { Executor } from './execute.js'
import { contiguous, identitiesOf, keysOf, recipeDataOn } from './identify.js'
import { slicePiece } from './shard-builder.js'

/** What a build would do. */
export interface Plan {
  readonly items: number
  readonly hits: number
  readonly missing: number
  /** Bytes that would be written, about; undefined when shapes differ between items. */
  readonly bytes: number | undefined
  /** Time on this device, from computing a few of the missing items without keeping them; undefined when nothing is missing, and after ops of dataset scope. */
  readonly secondsEstimate: number | undefined
}

const STEP_ITEMS = 1024
const NONE = new Uint8Array(HASH_BYTES)
/** Computed to estimate the time. */
const SAMPLE_ITEMS = 16

/** Identifies every item and looks it up. Reads the source, writes nothing. `store` is undefined when there is no cache yet. */
export async function plan(request: { readonly store: Store | undefined; readonly source: Source; readonly recipe: Recipe; readonly device: DeviceSource; readonly signal: AbortSignal | undefined }): Promise<Plan> {
  const { store, recipe, device, signal } = request
  const outputs = checkRecipe(recipe, request.source.fields)
  const key = recipeKey(await recipeDataOn(device, recipe))
  const { source, segments: steps, identities } = await arrange(request.source, recipe, device, signal, store?.notes)
  const fields = inputFields(recipe, request.source.fields)
  const executor = new Executor(steps, device)
  const samples = executor.wholeCalls(SAMPLE_ITEMS)
  const places = (keys: Uint8Array): unknown[] => store?.lookup(keys) ?? Array.from({ length: keys.length / HASH_BYTES }, () => undefined)
  let hits = 0
  let sampled = 0
  let seconds = 0
  /** Which of these items are in the cache, as far as their identities are remembered. */
  const stored = async (remembered: readonly (Uint8Array | undefined)[] = []): Promise<boolean[]> => {
    const keys = await keysOf(key, Buffer.concat(remembered.map((identity) => identity ?? NONE)))
    return remembered.length === 0 ? [] : places(keys).map((place, k) => place !== undefined && remembered[k] !== undefined)
  }
  for (let start = 0; start < source.length; start += STEP_ITEMS) {
    signal?.throwIfAborted()
    const stop = Math.min(source.length, start + STEP_ITEMS)
    if (identities !== undefined) {
      hits += places(await keysOf(key, identities.subarray(start * HASH_BYTES, stop * HASH_BYTES))).filter((place) => place !== undefined).length
      continue
    }
    // What is remembered and stored is not read.
    const witnesses = store === undefined ? undefined : await source.witnesses?.(start, stop, { fields, signal })
    const remembered = witnesses === undefined ? undefined : store!.identities(witnesses)
    const known = await stored(remembered)
    hits += known.filter((one) => one).length
    const unread = Array.from({ length: stop - start }, (_, k) => start + k).filter((item) => known[item - start] !== true)
    for (const [from, to] of contiguous(unread)) {
      for await (const run of source.read(from, to, { fields, signal, notes: store?.notes })) {
        const found = places(await keysOf(key, await identitiesOf(run, fields, source.reader, 1)))
        hits += found.filter((place) => place !== undefined).length
        const missing = found.indexOf(undefined)
        if (missing < 0 || sampled >= samples) continue
        const count = Math.min(samples - sampled, run.count - missing)
        const piece = slicePiece(run, missing, missing + count)
        const began = performance.now()
        await executor.run(piece, Array.from({ length: count }, (_, i) => source.id(run.start + missing + i)), signal)
        seconds += (performance.now() - began) / 1000
        sampled += count
      }
    }
    source.release(start, stop)
  }
  const missing = source.length - hits
  const shapes = Object.values(outputs)
  const fixed = shapes.every(({ shape }) => !shape.includes(null))
  return {
    items: source.length, hits, missing,
    bytes: fixed ? missing * shapes.reduce((sum, { dtype, shape }) => sum + byteCount(dtype, shape as number[]), 0) : undefined,
    secondsEstimate: sampled === 0 ? undefined : seconds / sampled * missing,
  }
}
