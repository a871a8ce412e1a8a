import { resolve } from 'node:path'
import { onnxOp } from '../../adapters/onnx.js'
import { checkCacheOptions, type CacheOptions } from '../../cache/options.js'
import { nearest, show } from '../../core/options.js'
import type { Dataset } from '../../dataset/dataset.js'
import { fromDataset } from '../../dataset/from-dataset.js'
import { DEVICE_CHOICES, isDeviceChoice, type DeviceChoice } from '../../devices/select.js'
import { builtinOps } from '../../ops/builtin.js'
import { parseRecipe, type Recipe } from '../../ops/recipe.js'
import type { Source } from '../../sources/source.js'
import { checkCompression, type CompressionOption } from '../../store/compression.js'
import { References } from './references.js'
import { sourceTypes } from '../../sources/types.js'
import { fail, isNull, plain, under, type Branch, type CliEnvironment, type Tree } from './tree.js'

/** `paths` and `vars` are for references: folders, and anything. */
const TOP_KEYS = ['extends', 'paths', 'vars', 'cache', 'datasets']
// The names of the library's options, all of them but for what is code, and no others: the compiler says so when one is added.
const CACHE_KEYS = Object.keys({ dir: 0, enabled: 0, memory: 0, expiresIn: 0, compression: 0, maxSize: 0, namespaces: 0, readonly: 0, minFree: 0, memoryBudget: 0, fingerprint: 0, log: 0 } satisfies Record<Exclude<keyof CacheOptions, 'remote'>, 0>)
/** The type of a source that is another dataset of the file. */
const DATASET = 'dataset'
const DATASET_KEYS = ['namespace', 'source', 'recipe', 'device', 'compression']

export interface DatasetConfig {
  readonly name: string
  readonly namespace: string | undefined
  readonly recipe: Recipe
  readonly device: DeviceChoice | undefined
  /** Undefined: as the cache says. */
  readonly compression: CompressionOption | undefined
  /** The dataset of this configuration that its source is, when it is one: built first. */
  readonly from: string | undefined
  /** Opens the source: reads headers. `built` gives the dataset `from`. Rejects with ConfigError when an option does not fit the files. */
  open(built?: (name: string) => Promise<Dataset>): Promise<Source>
}

/** A configuration, read and merged. Each section is resolved and checked when it is asked for, so that one verb does not stumble over what only another needs. */
export class Config {
  /** Undefined when there is none. */
  readonly path: string | undefined
  readonly #tree: Tree
  readonly #references: References

  constructor(path: string | undefined, tree: Tree, env: CliEnvironment['env']) {
    this.path = path
    this.#tree = tree
    this.#references = new References(tree, env)
    checkKeys(mapOf(tree, ''), '', TOP_KEYS)
  }

  /** Options for `openCache`, `dir` absolute. */
  cache(): CacheOptions {
    const section = this.#section('cache')
    if (section === undefined) return {}
    checkKeys(section, 'cache', CACHE_KEYS)
    const options: Record<string, unknown> = {}
    for (const [name, tree] of section.entries) {
      if (isNull(tree)) continue
      const key = under('cache', name)
      options[name] = name === 'dir' ? resolve(tree.at.dir, textOf(tree, key)) : name === 'namespaces' ? drivesOf(tree, key) : plain(tree)
      judged(tree, key, () => checkCacheOptions({ [name]: options[name] }, {}))
    }
    return options
  }

  get datasetNames(): string[] {
    const datasets = mapOf(this.#tree, '').entries.get('datasets')
    return datasets === undefined || isNull(datasets) ? [] : [...mapOf(datasets, 'datasets').entries.keys()]
  }

  /** One dataset, which must be there. */
  dataset(name: string): DatasetConfig {
    const key = under('datasets', name)
    const section = this.#dataset(name)
    checkKeys(section, key, DATASET_KEYS)
    const namespace = section.entries.get('namespace')
    const device = section.entries.get('device')
    const deviceName = isNull(device) ? undefined : textOf(device!, under(key, 'device'))
    if (deviceName !== undefined && !isDeviceChoice(deviceName)) fail(device!.at, under(key, 'device'), `must be ${DEVICE_CHOICES}, not ${show(deviceName)}`)
    return {
      name,
      namespace: isNull(namespace) ? undefined : textOf(namespace!, under(key, 'namespace')),
      recipe: recipeOf(section.entries.get('recipe'), under(key, 'recipe')),
      device: deviceName,
      compression: compressionOf(section.entries.get('compression'), under(key, 'compression')),
      from: this.#from(name),
      open: sourceOf(section, key),
    }
  }

  #dataset(name: string): Branch {
    const key = under('datasets', name)
    return mapOf(this.#references.resolve(mapOf(mapOf(this.#tree, '').entries.get('datasets')!, 'datasets').entries.get(name)!, key), key)
  }

  /** The dataset that the source of `name` is, if it is one, after a look at all that it is made from in turn. */
  #from(name: string): string | undefined {
    const chain = [name]
    for (;;) {
      const last = chain.at(-1)!
      const key = under(under('datasets', last), 'source')
      const source = this.#dataset(last).entries.get('source')
      if (source?.kind !== 'map' || plain(source.entries.get('type') ?? source) !== DATASET) return chain[1]
      const tree = source.entries.get('name')
      if (tree === undefined || isNull(tree)) return fail(source.at, key, 'has no name: which dataset of this file it is')
      const next = textOf(tree, under(key, 'name'))
      if (!this.datasetNames.includes(next)) fail(tree.at, under(key, 'name'), `there is no dataset ${show(next)}; ${suggestion(next, this.datasetNames)}`)
      if (chain.includes(next)) fail(tree.at, under(key, 'name'), `datasets are made from each other: ${[...chain.slice(chain.indexOf(next)), next].join(' → ')}`)
      chain.push(next)
    }
  }

  #section(name: string): Branch | undefined {
    const tree = mapOf(this.#tree, '').entries.get(name)
    return isNull(tree) ? undefined : mapOf(this.#references.resolve(tree!, name), name)
  }
}

function compressionOf(tree: Tree | undefined, key: string): CompressionOption | undefined {
  if (tree === undefined || isNull(tree)) return undefined
  const option = plain(tree) as CompressionOption
  judged(tree, key, () => checkCompression('dataset', option))
  return option
}

/** Drives of namespaces, their folders absolute. */
function drivesOf(tree: Tree, key: string): Record<string, unknown> {
  return Object.fromEntries(Array.from(mapOf(tree, key).entries, ([name, drive]) => {
    const dir = drive.kind === 'map' ? drive.entries.get('dir') : undefined
    return [name, { ...plain(drive) as object, ...(dir !== undefined && !isNull(dir) && { dir: resolve(dir.at.dir, textOf(dir, `${key}.${name}.dir`)) }) }]
  }))
}

/** Those of the library, and those of its adapters, whose packages are loaded when they run. */
const definitions = [...builtinOps, onnxOp]

/** No recipe means the source's items as they are. */
function recipeOf(tree: Tree | undefined, key: string): Recipe {
  if (tree === undefined || isNull(tree)) return parseRecipe([], definitions)
  const ops = tree.kind === 'map' ? tree.entries.get('ops') : tree
  if (tree.kind === 'map') checkKeys(tree, key, ['seed', 'ops'])
  if (ops === undefined || ops.kind !== 'list') return fail(tree.at, tree.kind === 'map' ? under(key, 'ops') : key, 'expected a list of ops, such as "- cast: { dtype: float32 }"')
  const listKey = tree.kind === 'map' ? under(key, 'ops') : key
  // One by one first, so that a fault has the line of its op.
  const list = ops.elements.map((op, i) => opOf(op, under(listKey, i)))
  list.forEach((op, i) => judged(ops.elements[i]!, under(listKey, i), () => parseRecipe([op], definitions)))
  const seed = tree.kind === 'map' ? tree.entries.get('seed') : undefined
  return judged(seed ?? tree, tree.kind === 'map' ? under(key, 'seed') : key, () => parseRecipe({ ops: list, ...(seed !== undefined && { seed: plain(seed) }) }, definitions))
}

/** An op as data, its parameters that are paths absolute. */
function opOf(tree: Tree, key: string): unknown {
  if (tree.kind !== 'map' || tree.entries.size !== 1) return plain(tree)
  const [name, params] = [...tree.entries][0]!
  const paths = definitions.find((definition) => definition.name === name)?.paths ?? []
  if (params.kind !== 'map') return plain(tree)
  const absolute = paths.filter((option) => !isNull(params.entries.get(option))).map((option) => {
    const path = params.entries.get(option)!
    return [option, resolve(path.at.dir, textOf(path, under(under(key, name), option)))]
  })
  return { [name]: { ...plain(params) as object, ...Object.fromEntries(absolute) } }
}

function sourceOf(dataset: Branch, datasetKey: string): DatasetConfig['open'] {
  const key = under(datasetKey, 'source')
  const tree = dataset.entries.get('source')
  if (tree === undefined || isNull(tree)) return fail(dataset.at, datasetKey, 'has no source; one looks like { type: npz, path: data/train.npz }')
  const section = mapOf(tree, key)
  const types = [...Object.keys(sourceTypes), DATASET]
  const typeTree = section.entries.get('type')
  if (typeTree === undefined || isNull(typeTree)) return fail(section.at, key, `has no type: ${types.join(', ')}`)
  const name = textOf(typeTree, under(key, 'type'))
  if (name === DATASET) return datasetSourceOf(section, key)
  const type = Object.hasOwn(sourceTypes, name) ? sourceTypes[name]! : fail(typeTree.at, under(key, 'type'), `there is no source ${show(name)}; ${suggestion(name, types)}`)
  checkKeys(section, key, ['type', 'path', 'paths', ...type.options])
  const paths = pathsOf(section, key)
  const optionOf = (option: string): unknown => {
    const tree = section.entries.get(option)!
    return type.paths?.includes(option) === true ? resolve(tree.at.dir, textOf(tree, under(key, option))) : plain(tree)
  }
  const options = Object.fromEntries(type.options.filter((option) => !isNull(section.entries.get(option))).map((option) => [option, optionOf(option)]))
  // The library's TypeErrors are about what the section says; other errors are about the files.
  return () => type.open(paths, options).catch((error: unknown) => judged(section, key, () => { throw error }))
}

function datasetSourceOf(section: Branch, key: string): DatasetConfig['open'] {
  checkKeys(section, key, ['type', 'name', 'fields'])
  const name = section.entries.get('name')
  const fields = section.entries.get('fields')
  return async (built) => {
    if (built === undefined) throw new TypeError(`${key}: is a dataset, which has to be built first`)
    const dataset = await built(textOf(name!, under(key, 'name')))
    return judged(section, key, () => fromDataset(dataset, isNull(fields) ? {} : { fields: plain(fields!) as string[] }))
  }
}

function pathsOf(section: Branch, key: string): string[] {
  const given = ['path', 'paths'].filter((name) => !isNull(section.entries.get(name)))
  if (given.length !== 1) return fail(section.at, key, given.length === 0 ? 'has no path' : 'has both path and paths; one of them is enough')
  const name = given[0]!
  const tree = section.entries.get(name)!
  const elements = tree.kind === 'list' ? tree.elements : [tree]
  if (elements.length === 0) fail(tree.at, under(key, name), 'is an empty list')
  return elements.map((element, i) => resolve(element.at.dir, textOf(element, tree.kind === 'list' ? under(under(key, name), i) : under(key, name))))
}

function checkKeys(section: Branch, key: string, known: readonly string[]): void {
  for (const [name, tree] of section.entries) {
    if (!known.includes(name)) fail(tree.at, under(key, name), `unknown key; ${suggestion(name, known)}`)
  }
}

function suggestion(name: string, known: readonly string[]): string {
  const near = nearest(name, known)
  return near === undefined ? `known are ${known.join(', ')}` : `it should be "${near}"`
}

function mapOf(tree: Tree, key: string): Branch {
  return tree.kind === 'map' ? tree : fail(tree.at, key, `expected keys and values, not ${tree.kind === 'list' ? 'a list' : show(tree.value)}`)
}

function textOf(tree: Tree, key: string): string {
  return tree.kind === 'leaf' && typeof tree.value === 'string' && tree.value !== '' ? tree.value : fail(tree.at, key, `expected a text, not ${show(plain(tree))}${tree.kind === 'leaf' && tree.value !== '' ? ' (quotes make one)' : ''}`)
}

/** Runs one of the library's own checks; its TypeError becomes one with a place. */
function judged<T>(tree: Tree, key: string, check: () => T): T {
  try {
    return check()
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    return fail(tree.at, key, withoutPrefix(error.message), error)
  }
}

// The library names the function and the option or place; the key says that already.
function withoutPrefix(message: string): string {
  return message.replace(/^(openCache|dataset): /, '').replace(/^recipe: (op \d+: )?/, '')
}
