import { existsSync, readFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { parse, parseDocument } from 'yaml'
import { show } from '../../core/options.js'
import { resolveReferences } from './references.js'
import { ConfigError, isTree, type Tree } from './tree.js'

export interface LoadedConfig {
  /** Of the file that was named; paths in each file are relative to the file they stand in. */
  readonly path: string
  readonly tree: Tree
}

/** Aliases a file may expand to: enough for people, too few for a bomb. */
const ALIASES_MAX = 100
const NAMES = ['tensorcache.yaml', 'tensorcache.yml']

/** The configuration file in a folder, if there is one. */
export function findConfig(folder: string): string | undefined {
  return NAMES.map((name) => resolve(folder, name)).find((path) => existsSync(path))
}

/** Reads a file with what it extends, applies `key.path=value` changes, resolves references. Values keep their YAML types. */
export function loadConfig(path: string, changes: readonly string[], env: Readonly<Record<string, string | undefined>> = process.env): LoadedConfig {
  const tree = readTree(resolve(path), [])
  for (const change of changes) applyChange(tree, change)
  return { path: resolve(path), tree: resolveReferences(tree, env, resolve(path)) }
}

function readTree(path: string, parents: readonly string[]): Tree {
  if (parents.includes(path)) throw new ConfigError(`${path}: extends itself (${[...parents, path].join(' → ')})`)
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new ConfigError(`${path}: cannot be read (${(cause as NodeJS.ErrnoException).code})`, { cause })
  }
  const document = parseDocument(text, { prettyErrors: true })
  const [error] = document.errors
  if (error !== undefined) throw new ConfigError(`${path}: ${error.message}`)
  let own: unknown
  try {
    own = document.toJS({ maxAliasCount: ALIASES_MAX })
  } catch (cause) {
    throw new ConfigError(`${path}: ${(cause as Error).message}`, { cause })
  }
  if (own === null || own === undefined) own = {}
  if (!isTree(own)) throw new ConfigError(`${path}: expected a mapping at the top, found ${show(own)}`)
  const { extends: base, ...rest } = own
  const tree = absolutePaths(rest, dirname(path))
  if (base === undefined) return tree
  if (typeof base !== 'string') throw new ConfigError(`${path}: extends must be one path, not ${show(base)}`)
  return merge(readTree(resolve(dirname(path), base), [...parents, path]), tree)
}

/** Mappings merge key by key; everything else is replaced. */
function merge(base: Tree, over: Tree): Tree {
  const merged: Tree = { ...base }
  for (const [key, value] of Object.entries(over)) {
    const below = merged[key]
    merged[key] = isTree(below) && isTree(value) ? merge(below, value) : value
  }
  return merged
}

// Only these keys hold paths. A path that begins with a reference is made absolute when the reference is resolved, by what it refers to.
function absolutePaths(tree: Tree, folder: string): Tree {
  const fix = (value: unknown): unknown => typeof value === 'string' && !value.startsWith('${') ? resolve(folder, value) : Array.isArray(value) ? value.map(fix) : value
  const walk = (node: unknown, trail: readonly string[]): unknown => {
    if (!isTree(node)) return node
    return Object.fromEntries(Object.entries(node).map(([key, value]) => {
      const place = [...trail, key]
      const isPath = (place.length === 2 && place[0] === 'cache' && key === 'dir') || (place[0] === 'datasets' && place[2] === 'source' && (key === 'path' || key === 'paths')) || (place.length === 2 && place[0] === 'paths')
      return [key, isPath ? fix(value) : walk(value, place)]
    }))
  }
  return walk(tree, []) as Tree
}

function applyChange(tree: Tree, change: string): void {
  const at = change.indexOf('=')
  const path = change.slice(0, at).split('.')
  if (at < 1 || path.some((key) => key === '' || key === '__proto__')) throw new ConfigError(`--set expects key.path=value, not ${show(change)}`)
  let node = tree
  for (const key of path.slice(0, -1)) {
    const below = node[key] ?? {}
    if (!isTree(below)) throw new ConfigError(`--set ${change}: ${key} is not a mapping`)
    node[key] = below
    node = below
  }
  node[path.at(-1)!] = parse(change.slice(at + 1)) as unknown
}
