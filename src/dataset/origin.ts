import type { Recipe } from '../ops/recipe.js'
import { parseRecipe } from '../ops/recipe.js'
import { builtinOps } from '../ops/builtin.js'
import { IntegrityError } from '../core/errors.js'
import { fromHex, toHex } from '../core/hash.js'
import { datasetKey, HASH_BYTES, recipeKey } from '../core/keys.js'
import type { Tensor } from '../core/tensor.js'
import type { DeviceSource } from '../devices/device.js'
import { inputFields } from '../ops/compile.js'
import type { ReadOptions, Source } from '../sources/source.js'
import { openDescribed } from '../sources/types.js'
import type { Store } from '../store/store.js'
import type { DatasetRecord } from '../store/tables.js'
import { arrange } from './arrange.js'
import { Dataset } from './dataset.js'
import { completeManifest, requestKeyOf } from './find.js'
import { fromDataset } from './from-dataset.js'
import { identitiesOf, recipeDataOn } from './identify.js'
import { Manifest, type ManifestFacts } from './manifest.js'

/** What a dataset was made from, as far as it takes to make it again. */
export type Origin = Pick<ManifestFacts, 'recipeKey' | 'recipe'> & { readonly source: Source['description'] }

/** Why a dataset cannot be made again from here, and what its owner can do. */
export interface Hindrance {
  readonly reason: string
  readonly advice: string
}

export interface Reopened {
  readonly source: Source
  readonly recipe: Recipe
  close(): Promise<void>
}

const AGAIN = 'ask for it again in the program that made it: cache.dataset(source, recipe)'
/** Items whose identities are hashed in one step. */
const STEP_ITEMS = 1024

/** From the manifest, and where that is damaged from the copy in the index. */
export async function originOf(store: Store, record: DatasetRecord, manifestIsSound: boolean): Promise<Origin | undefined> {
  if (manifestIsSound && store.hasBlob(record.manifest)) {
    try {
      const { facts } = await Manifest.read(await store.blob(record.manifest))
      return { recipeKey: facts.recipeKey, recipe: facts.recipe, source: facts.provenance.source as Source['description'] }
    } catch (error) {
      if (!(error instanceof IntegrityError)) throw error
    }
  }
  return record.origin as Origin | undefined
}

/** Opens the source and reads the recipe again. Nothing of what the cache holds is used, but for a dataset that it was made from. */
export async function reopen(store: Store, origin: Origin | undefined): Promise<Reopened | Hindrance> {
  if (origin === undefined) return { reason: 'its recipe and source were recorded in its manifest alone', advice: `${AGAIN}, or tensorcache build` }
  let recipe: Recipe
  try {
    recipe = parseRecipe(origin.recipe, builtinOps)
  } catch (error) {
    return { reason: `its recipe cannot be read here (${(error as Error).message})`, advice: AGAIN }
  }
  const { type } = origin.source
  try {
    if (type === 'dataset') return await reopenDataset(store, origin.source, recipe)
    const source = await openDescribed(origin.source)
    if (source !== undefined) return { source, recipe, close: async () => source.close() }
  } catch (error) {
    return { reason: `its source cannot be opened (${(error as Error).message})`, advice: 'bring the source back, and run verify --fix again' }
  }
  return { reason: `its source was made in code (${type})`, advice: AGAIN }
}

async function reopenDataset(store: Store, description: Source['description'], recipe: Recipe): Promise<Reopened | Hindrance> {
  const { key, name, digest, fields } = description as unknown as { key: string; name: string; digest: string; fields: readonly string[] }
  const manifest = await completeManifest(store, fromHex(key))
  const which = name === '' ? key.slice(0, 16) : name
  if (manifest === undefined) return { reason: `the dataset it was made from (${which}) is not whole in the cache`, advice: `make ${which} again, then run verify --fix again` }
  if (manifest.facts.digest !== digest) return { reason: `the dataset it was made from (${which}) has other bytes now`, advice: AGAIN }
  const report = { items: manifest.length, hits: manifest.length, computed: 0, skipped: 0, cuts: [], seconds: 0, bytes: 0, secondsSaved: 0 }
  const dataset = await Dataset.open(store, manifest, report)
  const source = fromDataset(dataset, { fields })
  return { source, recipe, close: async () => { source.close(); await dataset.close() } }
}

/** Why a source that was opened again is not what the dataset was made from; undefined when it is. Reads its items only where its files' digests do not say it. */
export async function hindrance(store: Store, key: string, origin: Origin, { source, recipe }: Reopened, device: DeviceSource, signal: AbortSignal | undefined): Promise<Hindrance | undefined> {
  let recipeKeyHere: Buffer
  try {
    recipeKeyHere = recipeKey(await recipeDataOn(device, recipe))
  } catch (error) {
    return { reason: `its recipe does not fit its source any more (${(error as Error).message})`, advice: AGAIN }
  }
  if (toHex(recipeKeyHere) !== origin.recipeKey) return { reason: 'its bytes depend on the device it was made on, which is another one', advice: 'run verify --fix on that device (--device)' }
  const { key: asked, remembered } = await requestKeyOf(store, source, recipeKeyHere, 'content', signal)
  await remembered
  const known = asked === undefined ? undefined : store.request(asked)
  if (known !== undefined && toHex(known) === key) return undefined
  const found = await keyOf(source, recipe, recipeKeyHere, device, { signal, notes: store.notes })
  return found === key ? undefined : { reason: 'its source has changed since', advice: 'bring the source of then back, or build the dataset of what is there now: tensorcache build, or cache.dataset(source, recipe)' }
}

async function keyOf(source: Source, recipe: Recipe, recipeKeyHere: Buffer, device: DeviceSource, { signal, notes }: Omit<ReadOptions, 'fields'>): Promise<string> {
  const arranged = await arrange(source, recipe, device, signal, notes)
  const identities = arranged.identities ?? await identitiesOfAll(source, inputFields(recipe, source.fields), { signal, notes })
  const constants: Record<string, Tensor> = {}
  for (const [field, lazy] of Object.entries(source.constants)) constants[field] = await lazy.read()
  return toHex(datasetKey(recipeKeyHere, identities, constants))
}

async function identitiesOfAll(source: Source, fields: readonly string[], reading: Omit<ReadOptions, 'fields'>): Promise<Uint8Array> {
  const identities = new Uint8Array(source.length * HASH_BYTES)
  for (let start = 0; start < source.length; start += STEP_ITEMS) {
    const stop = Math.min(source.length, start + STEP_ITEMS)
    for await (const run of source.read(start, stop, { fields, ...reading })) identities.set(await identitiesOf(run, fields, source.reader, 1), run.start * HASH_BYTES)
    source.release(start, stop)
  }
  return identities
}

export function isHindrance(made: Reopened | Hindrance): made is Hindrance {
  return 'reason' in made
}
