import { checkCacheOptions, type CacheOptions } from '../../cache/options.js'
import { checkOptions, show } from '../../core/options.js'
import { builtinOps } from '../../ops/builtin.js'
import { parseRecipe, type Recipe } from '../../ops/recipe.js'
import { npy } from '../../sources/npy.js'
import { npz } from '../../sources/npz.js'
import { safetensors } from '../../sources/safetensors.js'
import type { Source } from '../../sources/source.js'
import type { LoadedConfig } from './load.js'
import { ConfigError, isTree, type Tree } from './tree.js'

/** One dataset of a configuration file, checked. */
export interface DatasetConfig {
  readonly name: string
  readonly namespace: string
  readonly device: string
  readonly recipe: Recipe
  open(): Promise<Source>
}

export interface Config {
  readonly cache: CacheOptions
  readonly datasets: readonly DatasetConfig[]
}

const SOURCES = { npy, npz, safetensors } as const
const SOURCE_OPTIONS = { npy: ['fields'], npz: ['fields', 'constants', 'ids'], safetensors: ['fields', 'constants', 'ids'] } as const

/** Checks the whole file; unknown keys are errors that suggest the right one. */
export function checkConfig({ path, tree }: LoadedConfig): Config {
  return within(path, () => {
    // `paths` and `vars` are for references only.
    checkOptions('the top', tree, ['cache', 'datasets', 'paths', 'vars'])
    const cache = mapping('cache', tree.cache ?? {}) as CacheOptions
    within('cache', () => checkCacheOptions(cache))
    const datasets = mapping('datasets', tree.datasets ?? {})
    return { cache, datasets: Object.entries(datasets).map(([name, value]) => within(`datasets.${name}`, () => checkDataset(name, mapping(name, value)))) }
  })
}

function checkDataset(name: string, tree: Tree): DatasetConfig {
  checkOptions('here', tree, ['namespace', 'source', 'recipe', 'device'])
  const { namespace = '', device = 'auto' } = tree
  if (typeof namespace !== 'string') throw new ConfigError(`namespace must be a text, not ${show(namespace)}`)
  if (typeof device !== 'string') throw new ConfigError(`device must be a name, not ${show(device)}`)
  const source = within('source', () => checkSource(mapping('source', tree.source)))
  const recipe = within('recipe', () => parseRecipe(tree.recipe ?? [], builtinOps))
  return { name, namespace, device, recipe, open: source }
}

function checkSource(tree: Tree): () => Promise<Source> {
  const { type, path, paths, ...options } = tree
  if (typeof type !== 'string' || !Object.hasOwn(SOURCES, type)) throw new ConfigError(`type must be one of ${Object.keys(SOURCES).join(', ')}, not ${show(type)}`)
  const kind = type as keyof typeof SOURCES
  checkOptions(`type ${type}`, options, ['type', 'path', 'paths', ...SOURCE_OPTIONS[kind]])
  if ((path === undefined) === (paths === undefined)) throw new ConfigError('give either path or paths')
  const list = paths ?? [path]
  if (!Array.isArray(list) || list.length === 0 || list.some((entry) => typeof entry !== 'string')) throw new ConfigError(`paths must be a list of texts, not ${show(list)}`)
  return () => SOURCES[kind](list as string[], options as object)
}

function mapping(name: string, value: unknown): Tree {
  if (!isTree(value)) throw new ConfigError(`${name} must be a mapping, not ${show(value)}`)
  return value
}

/** Puts the place before the message of whatever is wrong inside it. */
function within<T>(place: string, check: () => T): T {
  try {
    return check()
  } catch (error) {
    if (error instanceof TypeError) throw new ConfigError(`${place}: ${error.message}`, { cause: error })
    throw error
  }
}
