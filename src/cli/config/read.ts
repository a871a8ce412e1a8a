import { readFileSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument, type Document, type Node } from 'yaml'
import { ConfigError, DEPTH_MAX, fail, merge, NODES_MAX, shownPath, type Place, type Scalar, type Tree } from './tree.js'

const FILE_BYTES_MAX = 2 ** 20
/** Finding what an alias means walks the file. */
const ALIASES_MAX = 1000

/** Reads one file; nothing in it is resolved yet. Throws ConfigError. */
export function readConfigFile(path: string, cwd: string): Tree {
  let text: string
  try {
    const { size } = statSync(path)
    if (size > FILE_BYTES_MAX) throw new Error(`${size} bytes, more than the ${FILE_BYTES_MAX} that a configuration may have`)
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new ConfigError({ file: shownPath(path, cwd) }, `cannot be read (${(cause as Error).message})`, { cause })
  }
  const tree = parseYaml(text, { file: shownPath(path, cwd), dir: dirname(path) })
  // An empty file says nothing, which is no fault.
  if (tree.kind === 'leaf' && tree.value === null) return { kind: 'map', entries: new Map(), at: tree.at }
  if (tree.kind !== 'map') fail(tree.at, '', 'expected keys and values, such as "datasets:"')
  return tree
}

/** YAML 1.2 as a tree. `at` is the place of a text that is not a file's. Tags that make anything but plain values are refused; aliases unfold within a budget. */
export function parseYaml(text: string, from: { file: string; dir: string }, at?: Place): Tree {
  const lines = new LineCounter()
  const place = (offset: number | undefined): Place => at ?? { file: from.file, dir: from.dir, line: offset === undefined ? undefined : lines.linePos(offset).line }
  let document: Document
  try {
    document = parseDocument(text, { lineCounter: lines, prettyErrors: false, logLevel: 'silent', version: '1.2' })
    const [fault] = [...document.errors, ...document.warnings]
    if (fault !== undefined) fail(place(fault.pos[0]), '', fault.message)
    return new Converter(document, place).convert(document.contents as Node | null, undefined, 0)
  } catch (error) {
    if (error instanceof RangeError) fail(place(undefined), '', 'is nested too deeply', error)
    throw error
  }
}

class Converter {
  readonly #document: Document
  readonly #place: (offset: number | undefined) => Place
  #left = NODES_MAX
  #aliases = 0

  constructor(document: Document, place: (offset: number | undefined) => Place) {
    this.#document = document
    this.#place = place
  }

  /** `at` is the place of the key, when the value has one. */
  convert(node: Node | null | undefined, at: Place | undefined, depth: number): Tree {
    const here = at ?? this.#place(node?.range?.[0])
    if (--this.#left < 0) fail(here, '', `unfolds into more than ${NODES_MAX} values`)
    if (depth > DEPTH_MAX) fail(here, '', `is nested more than ${DEPTH_MAX} deep`)
    if (node === null || node === undefined) return { kind: 'leaf', value: null, at: here }
    if (isAlias(node) && ++this.#aliases > ALIASES_MAX) fail(here, '', `uses more than ${ALIASES_MAX} aliases`)
    if (isAlias(node)) return this.convert(node.resolve(this.#document), here, depth + 1)
    if (isSeq(node)) return { kind: 'list', elements: node.items.map((element) => this.convert(element as Node, undefined, depth + 1)), at: here }
    if (isMap(node)) return this.#map(node.items as { key: unknown; value: Node | null }[], here, depth)
    if (isScalar(node)) return { kind: 'leaf', value: scalar(node.value, node.source, here), at: here }
    return fail(here, '', 'is not a value')
  }

  #map(items: readonly { key: unknown; value: Node | null }[], at: Place, depth: number): Tree {
    const entries = new Map<string, Tree>()
    let inherited: Tree | undefined
    for (const { key, value } of items) {
      const keyAt = this.#place((key as Node).range?.[0])
      if (!isScalar(key) || key.value === null) fail(keyAt, '', 'expected a plain key')
      const name = String(key.value)
      const tree = this.convert(value, keyAt, depth + 1)
      if (name !== '<<') entries.set(name, tree)
      // The merge key of YAML 1.1, which editors and people still use with anchors: the first of several wins.
      else for (const base of tree.kind === 'list' ? tree.elements : [tree]) inherited = inherited === undefined ? base : merge(base, inherited)
    }
    const own: Tree = { kind: 'map', entries, at }
    if (inherited === undefined) return own
    if (inherited.kind !== 'map') fail(at, '<<', 'expected keys and values')
    return { kind: 'map', entries: new Map([...inherited.entries, ...entries]), at }
  }
}

function scalar(value: unknown, source: string | undefined, at: Place): Scalar {
  // A seed may have 64 bits; a number would lose the last ones without a word.
  if (typeof value === 'number' && Number.isInteger(value) && !Number.isSafeInteger(value) && source !== undefined && /^[-+]?\d+$/.test(source)) return BigInt(source.replace('+', ''))
  if (value === null || typeof value === 'string' || typeof value === 'number' || typeof value === 'bigint' || typeof value === 'boolean') return value
  return fail(at, '', 'is not a text, number, true, false or null')
}
