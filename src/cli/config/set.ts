import { UsageError } from '../verb.js'
import { ConfigError } from './tree.js'
import { parseYaml } from './read.js'
import { under, type Place, type Tree } from './tree.js'

/** `tree` with one value changed by a text such as `datasets.train.recipe.seed=7`. The value is read as YAML. */
export function applySet(tree: Tree, assignment: string, cwd: string): Tree {
  const equals = assignment.indexOf('=')
  const keys = equals < 0 ? [] : assignment.slice(0, equals).split('.')
  if (equals <= 0 || keys.includes('')) throw new UsageError(`--set needs KEY=VALUE, such as datasets.train.recipe.seed=7, not "${assignment}"`)
  const at: Place = { file: `--set ${assignment}`, line: undefined, dir: cwd }
  const value = parseYaml(assignment.slice(equals + 1), at, at)
  return put(tree, keys, '', value, at)
}

function put(tree: Tree, keys: readonly string[], base: string, value: Tree, at: Place): Tree {
  const [key, ...rest] = keys
  if (key === undefined) return value
  const here = under(base, key)
  if (tree.kind === 'list') {
    const index = Number(key)
    if (!/^\d+$/.test(key) || index >= tree.elements.length) throw new ConfigError({ ...at, key: base }, `is a list of ${tree.elements.length}; "${key}" is none of its places, 0 to ${tree.elements.length - 1}`)
    return { ...tree, elements: tree.elements.map((element, i) => i === index ? put(element, rest, here, value, at) : element) }
  }
  if (tree.kind === 'leaf' && tree.value !== null) throw new ConfigError({ ...at, key: base }, `holds ${JSON.stringify(String(tree.value))}, not keys; it cannot have "${key}"`)
  const entries = new Map(tree.kind === 'map' ? tree.entries : [])
  entries.set(key, put(entries.get(key) ?? { kind: 'leaf', value: null, at }, rest, here, value, at))
  return { kind: 'map', entries, at: tree.at }
}
