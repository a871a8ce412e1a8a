import { existsSync, realpathSync } from 'node:fs'
import { resolve } from 'node:path'
import { readConfigFile } from './read.js'
import { applySet } from './set.js'
import { Config } from './schema.js'
import { ConfigError, fail, merge, shownPath, type CliEnvironment, type Tree } from './tree.js'

/** Looked for in the current folder, in this order. */
const CONFIG_NAMES = ['tensorcache.yaml', 'tensorcache.yml']
/** Files that one configuration may be made of. */
const FILES_MAX = 64

export interface ConfigChoice extends CliEnvironment {
  /** File named on the command line. */
  readonly file?: string | undefined
  /** Texts of `--set`. */
  readonly set?: readonly string[]
}

/** The configuration file in a folder, if there is one. */
export function findConfig(folder: string): string | undefined {
  return CONFIG_NAMES.map((name) => resolve(folder, name)).find((path) => existsSync(path))
}

/** The configuration: named, or found here, or empty. Throws ConfigError, UsageError. */
export function loadConfig({ file, set = [], cwd, env }: ConfigChoice): Config {
  const path = file === undefined ? findConfig(cwd) : resolve(cwd, file)
  if (file !== undefined && !existsSync(path!)) throw new ConfigError({ file: path! }, 'there is no such file')
  const nothing: Tree = { kind: 'map', entries: new Map(), at: { file: 'the command line', line: undefined, dir: cwd } }
  let tree = path === undefined ? nothing : readExtended(path, cwd, [], { left: FILES_MAX })
  for (const assignment of set) tree = applySet(tree, assignment, cwd)
  return new Config(path, tree, env)
}

/** A file laid over those that it extends, the last of them uppermost. */
function readExtended(path: string, cwd: string, open: readonly string[], budget: { left: number }): Tree {
  const real = existsSync(path) ? realpathSync(path) : path
  const own = readConfigFile(path, cwd)
  const extend = own.kind === 'map' ? own.entries.get('extends') : undefined
  if (extend === undefined || own.kind !== 'map') return own
  if (--budget.left < 0) fail(extend.at, 'extends', `leads through more than ${FILES_MAX} files`)
  const entries = new Map(own.entries)
  entries.delete('extends')
  let tree: Tree | undefined
  for (const element of extend.kind === 'list' ? extend.elements : [extend]) {
    if (element.kind !== 'leaf' || typeof element.value !== 'string') fail(element.at, 'extends', 'expected the path of a file, or a list of paths')
    const base = resolve(element.at.dir, element.value)
    if (!existsSync(base)) fail(element.at, 'extends', `there is no file ${base}`)
    const chain = [...open, real]
    if (chain.includes(realpathSync(base))) fail(element.at, 'extends', `files extend each other: ${[...chain.slice(chain.indexOf(realpathSync(base))), base].map((name) => shownPath(name, cwd)).join(' → ')}`)
    const read = readExtended(base, cwd, chain, budget)
    tree = tree === undefined ? read : merge(tree, read)
  }
  const rest: Tree = { ...own, entries }
  return tree === undefined ? rest : merge(tree, rest)
}
