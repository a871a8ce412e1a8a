import { ConfigError, isTree, type Tree } from './tree.js'

/** `${a.b}` is another value of the file, `${env:NAME}` the environment's, `${env:NAME:-default}` with a default. */
const REFERENCE = /\$\{([^${}]*)\}/g
const DEPTH_MAX = 20

export function resolveReferences(tree: Tree, env: Readonly<Record<string, string | undefined>>, file: string): Tree {
  const look = (name: string, place: string, depth: number): unknown => {
    if (depth > DEPTH_MAX) throw new ConfigError(`${file}: ${place}: references go round in a circle or too deep`)
    if (name.startsWith('env:')) {
      const [variable, fallback] = name.slice(4).split(':-', 2) as [string, string | undefined]
      const value = env[variable] ?? fallback
      if (value === undefined) throw new ConfigError(`${file}: ${place}: the environment variable ${variable} is not set; \${env:${variable}:-default} gives a default`)
      return value
    }
    let node: unknown = tree
    for (const key of name.split('.')) node = isTree(node) && Object.hasOwn(node, key) ? node[key] : undefined
    if (node === undefined) throw new ConfigError(`${file}: ${place}: there is no ${name} to refer to`)
    return resolveValue(node, name, depth + 1)
  }
  const resolveValue = (value: unknown, place: string, depth: number): unknown => {
    if (typeof value === 'string') {
      const whole = /^\$\{([^${}]*)\}$/.exec(value)
      // A value that is one reference keeps the type of what it refers to.
      if (whole !== null) return look(whole[1]!, place, depth)
      return value.replaceAll(REFERENCE, (_, name: string) => {
        const found = look(name, place, depth)
        if (typeof found === 'object') throw new ConfigError(`${file}: ${place}: ${name} is not a single value`)
        return String(found)
      })
    }
    if (Array.isArray(value)) return value.map((element, i) => resolveValue(element, `${place}[${i}]`, depth))
    if (isTree(value)) return Object.fromEntries(Object.entries(value).map(([key, below]) => [key, resolveValue(below, place === '' ? key : `${place}.${key}`, depth)]))
    return value
  }
  return resolveValue(tree, '', 0) as Tree
}
