import { resolve } from 'node:path'
import { nearest } from '../../core/options.js'
import { parseYaml } from './read.js'
import { DEPTH_MAX, fail, find, under, type CliEnvironment, type Leaf, type Tree } from './tree.js'

/** `${a.b}`, `${env:NAME}`, `${env:NAME:-default}`; `$${` stands for `${`. */
const REFERENCE = /\$\$\{|\$\{([^{}]*)\}/g
/** References may double a text at every step. */
const TEXT_MAX = 65_536

/**
 * Replaces references by what they name. A value that is nothing but one reference takes over the value as it is, a map or a list too; inside a
 * longer text it must be a text or a number. What lies under `paths` is made absolute first, so that it means the same wherever it is used.
 */
export class References {
  readonly #root: Tree
  readonly #env: CliEnvironment['env']
  /** Each is resolved once: a chain of doublings costs its length. */
  readonly #done = new Map<string, Tree>()
  readonly #open: string[] = []

  constructor(root: Tree, env: CliEnvironment['env']) {
    this.#root = root
    this.#env = env
  }

  /** `tree` with every reference in it replaced; `key` leads to it from the top of the file. */
  resolve(tree: Tree, key: string, depth = 0): Tree {
    if (depth > DEPTH_MAX) fail(tree.at, key, `is nested more than ${DEPTH_MAX} deep`)
    switch (tree.kind) {
      case 'map': return { ...tree, entries: new Map(Array.from(tree.entries, ([name, value]) => [name, this.resolve(value, under(key, name), depth + 1)])) }
      case 'list': return { ...tree, elements: tree.elements.map((element, i) => this.resolve(element, under(key, i), depth + 1)) }
      case 'leaf': return this.#leaf(tree, key)
    }
  }

  #leaf(leaf: Leaf, key: string): Tree {
    const { value, at } = leaf
    if (typeof value !== 'string') return leaf
    const whole = /^\$\{([^{}]*)\}$/.exec(value)?.[1]
    const found = whole === undefined ? { ...leaf, value: this.#inText(leaf, value, key) } : this.#named(whole, leaf, key)
    const isPath = /^paths[.[]/.test(key) && found.kind === 'leaf' && typeof found.value === 'string'
    return isPath ? { ...leaf, value: resolve(at.dir, found.value as string) } : found
  }

  #inText(leaf: Leaf, text: string, key: string): string {
    const made = text.replace(REFERENCE, (match, name: string | undefined) => {
      if (name === undefined) return '${'
      const found = this.#named(name, leaf, key)
      if (found.kind !== 'leaf' || found.value === null) return fail(leaf.at, key, `${match} is not a text or a number, so it cannot stand inside a text`)
      return String(found.value)
    })
    if (made.length > TEXT_MAX) fail(leaf.at, key, `becomes a text of more than ${TEXT_MAX} characters`)
    return made
  }

  #named(name: string, leaf: Leaf, key: string): Tree {
    if (name.startsWith('env:')) return this.#variable(name.slice(4), leaf, key)
    const cached = this.#done.get(name)
    if (cached !== undefined) return cached
    if (this.#open.includes(name)) fail(leaf.at, key, `refers to itself: ${[...this.#open.slice(this.#open.indexOf(name)), name].map((step) => `\${${step}}`).join(' → ')}`)
    const keys = name.split('.')
    const found = find(this.#root, keys)
    if (found === undefined) return fail(leaf.at, key, `\${${name}} names nothing${this.#suggestion(keys)}`)
    this.#open.push(name)
    const resolved = this.resolve(found, name, this.#open.length)
    this.#open.pop()
    this.#done.set(name, resolved)
    return resolved
  }

  #variable(text: string, leaf: Leaf, key: string): Tree {
    const [, name, fallback] = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(text) ?? fail(leaf.at, key, `\${env:${text}} is not the name of an environment variable`)
    const value = this.#env[name!]
    if (value === undefined && fallback === undefined) {
      return fail(leaf.at, key, `the environment variable ${name} is not set; \${env:${name}:-…} would give a default`)
    }
    const used = value === undefined || (value === '' && fallback !== undefined) ? fallback! : value
    // A value that stands alone has a type, as if it were written in the file: 7 is a number.
    const alone = leaf.value === `\${env:${text}}`
    const typed = alone ? scalarOf(used, leaf) : used
    return { ...leaf, value: typed }
  }

  #suggestion(keys: readonly string[]): string {
    for (let length = keys.length - 1; length >= 0; length--) {
      const parent = find(this.#root, keys.slice(0, length))
      if (parent?.kind !== 'map') continue
      const near = nearest(keys[length]!, [...parent.entries.keys()])
      return near === undefined ? '' : `, did you mean \${${[...keys.slice(0, length), near, ...keys.slice(length + 1)].join('.')}}?`
    }
    return ''
  }
}

function scalarOf(text: string, leaf: Leaf): Leaf['value'] {
  try {
    const tree = parseYaml(text, leaf.at, leaf.at)
    return tree.kind === 'leaf' ? tree.value : text
  } catch {
    // Not every text is YAML, and a variable need not be.
    return text
  }
}
