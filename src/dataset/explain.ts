import { canonicalJson } from '../core/canonical.js'
import { toHex } from '../core/hash.js'
import { recipeKey } from '../core/keys.js'
import type { DeviceSource } from '../devices/device.js'
import type { Recipe } from '../ops/recipe.js'
import type { Source } from '../sources/source.js'
import type { Store } from '../store/store.js'
import { recipeDataOn } from './identify.js'
import { Manifest, type ManifestFacts } from './manifest.js'
import { plan } from './plan.js'

/** Why a dataset is in the cache, or is not. */
export interface Explanation {
  readonly items: number
  readonly hits: number
  /** All items are there. */
  readonly hit: boolean
  /** The dataset in the cache that is nearest to what was asked for; undefined when there is none. */
  readonly nearest: { readonly key: string; readonly name: string; readonly namespace: string; readonly created: string } | undefined
  /** What differs from that: `recipe: op 1 (normalize): params.mode: "zscore" here, "minmax" there`. */
  readonly differences: readonly string[]
  /** What differs and changes no item: moved files, touched ones, another order. */
  readonly harmless: readonly string[]
}

interface RecipeJson {
  readonly ops: readonly { readonly name: string; readonly version: number; readonly params: unknown }[]
  readonly seed?: number | string
}

/** Compares what is asked for with what the cache holds. Reads the source as a dry run does; writes nothing. */
export async function explain(request: { readonly store: Store; readonly source: Source; readonly recipe: Recipe; readonly device: DeviceSource; readonly signal: AbortSignal | undefined }): Promise<Explanation> {
  const { store, source, recipe, device, signal } = request
  const { items, hits } = await plan(request)
  const key = toHex(recipeKey(await recipeDataOn(device, recipe)))
  let best: { facts: ManifestFacts; items: number; score: number } | undefined
  for (const { record } of store.datasets()) {
    signal?.throwIfAborted()
    const { facts } = await Manifest.read(await store.blob(record.manifest))
    const score = likeness(facts, source, recipe, key)
    // Of equals the newest.
    if (best === undefined || score > best.score || (score === best.score && facts.provenance.created > best.facts.provenance.created)) best = { facts, items: record.items, score }
  }
  if (best === undefined) return { items, hits, hit: hits === items, nearest: undefined, differences: [], harmless: [] }
  const { facts } = best
  const harmless: string[] = []
  const differences = [
    ...recipeDifferences(recipe.toJSON(), facts.recipe as RecipeJson),
    ...sourceDifferences(source, facts),
    ...await fileDifferences(source, facts, harmless, signal),
    ...(items === best.items ? [] : [`source: ${items} items here, ${best.items} there`]),
  ]
  if (differences.length === 0 && facts.recipeKey !== key) differences.push('device: results of this recipe may differ between devices, and this is another one')
  const { name, namespace, provenance: { created } } = facts
  return { items, hits, hit: hits === items, nearest: { key: facts.key, name, namespace, created }, differences, harmless }
}

/** How much of a dataset is what is asked for: files and reader first, then ops from the first on. */
function likeness(facts: ManifestFacts, source: Source, recipe: Recipe, key: string): number {
  const there = new Set(facts.provenance.files.map(({ path }) => path))
  const same = source.files.filter(({ path }) => there.has(path)).length / Math.max(1, source.files.length, there.size)
  const names = new Set(facts.provenance.files.map(({ path }) => path.slice(path.lastIndexOf('/') + 1)))
  const alike = source.files.filter(({ path }) => names.has(path.slice(path.lastIndexOf('/') + 1))).length / Math.max(1, source.files.length, names.size)
  const theirs = (facts.recipe as RecipeJson).ops
  const ours = recipe.toJSON().ops
  const ops = ours.filter((op, i) => theirs[i]?.name === op.name).length / Math.max(1, ours.length, theirs.length)
  const equal = ours.filter((op, i) => canonicalJson(theirs[i] ?? null) === canonicalJson(op)).length / Math.max(1, ours.length, theirs.length)
  return (facts.reader.name === source.reader.name ? 4 : 0) + 4 * same + 2 * alike + 3 * ops + 2 * equal + (facts.recipeKey === key ? 4 : 0)
}

function recipeDifferences(ours: RecipeJson, theirs: RecipeJson): string[] {
  const found: string[] = []
  for (let i = 0; i < Math.max(ours.ops.length, theirs.ops.length); i++) {
    const [here, there] = [ours.ops[i], theirs.ops[i]]
    if (here === undefined) found.push(`recipe: op ${i}: none here, ${there!.name} there`)
    else if (there === undefined) found.push(`recipe: op ${i}: ${here.name} here, none there`)
    else if (here.name !== there.name) found.push(`recipe: op ${i}: ${here.name} here, ${there.name} there`)
    else {
      if (here.version !== there.version) found.push(`recipe: op ${i} (${here.name}): version ${here.version} here, ${there.version} there`)
      found.push(...valueDifferences(`recipe: op ${i} (${here.name}): params`, plain(here.params), plain(there.params)))
    }
  }
  if (ours.seed !== theirs.seed) found.push(`recipe: seed: ${text(ours.seed)} here, ${text(theirs.seed)} there`)
  return found
}

function sourceDifferences({ reader, selection, description }: Source, facts: ManifestFacts): string[] {
  if (reader.name !== facts.reader.name) return [`source: type: ${reader.name} here, ${facts.reader.name} there`]
  return [
    ...(reader.version === facts.reader.version ? [] : [`source: version of the reader ${reader.name}: ${reader.version} here, ${facts.reader.version} there`]),
    ...valueDifferences(`source: ${String(description.type)}`, plain(selection ?? null), plain(facts.selection)),
  ]
}

/** Files by their place in the list; those that moved or were touched change nothing. */
async function fileDifferences(source: Source, facts: ManifestFacts, harmless: string[], signal: AbortSignal | undefined): Promise<string[]> {
  const theirs = facts.provenance.files
  const byPath = new Map(theirs.map((file) => [file.path, file]))
  const digests = new Map(theirs.flatMap((file) => file.digest === undefined ? [] : [[file.digest, file] as const]))
  const found: string[] = []
  const met = new Set<string>()
  for (const file of source.files) {
    const digest = await file.digest(signal)
    const there = byPath.get(file.path)
    const moved = digests.get(digest)
    if (there !== undefined) {
      met.add(there.path)
      if (there.digest === digest) continue
      if (there.digest !== undefined) found.push(`file ${file.path}: its content is another (${digest.slice(0, 16)} here, ${there.digest.slice(0, 16)} there; ${file.size} bytes here, ${there.size} there)`)
    } else if (moved !== undefined) {
      met.add(moved.path)
      harmless.push(`file ${file.path}: was ${moved.path}`)
    } else {
      found.push(`file ${file.path}: not there`)
    }
  }
  for (const { path } of theirs) if (!met.has(path)) found.push(`file ${path}: there, not here`)
  return found
}

/** Paths at which two trees of plain data differ. */
function valueDifferences(path: string, here: unknown, there: unknown): string[] {
  if (canonicalJson(here) === canonicalJson(there)) return []
  if (isTree(here) && isTree(there)) {
    const names = [...new Set([...Object.keys(here), ...Object.keys(there)])].sort()
    return names.flatMap((name) => valueDifferences(`${path}.${name}`, here[name] ?? null, there[name] ?? null))
  }
  return [`${path}: ${text(here)} here, ${text(there)} there`]
}

function isTree(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** As it comes back from a manifest. */
function plain(value: unknown): unknown {
  return value === undefined ? null : JSON.parse(canonicalJson(value))
}

function text(value: unknown): string {
  if (value === undefined || value === null) return 'none'
  const json = JSON.stringify(value)
  return json.length <= 200 ? json : `${json.slice(0, 200)}…`
}
