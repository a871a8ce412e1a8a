import { relative } from 'node:path'

/** The configuration is wrong; the message begins with the place. Exit code 2. */
export class ConfigError extends Error {
  readonly code = 'E_CONFIG'
  readonly file: string
  readonly line: number | undefined
  /** Keys that lead to the fault, joined by dots; empty for the file as a whole. */
  readonly key: string
  constructor({ file, line, key = '' }: { file: string; line?: number | undefined; key?: string }, message: string, options?: ErrorOptions) {
    super(`${file}${line === undefined ? '' : `:${line}`}: ${key === '' ? '' : `${key}: `}${message}`, options)
    this.name = 'ConfigError'
    this.file = file
    this.line = line
    this.key = key
  }
}

/** What the command line takes from the process it runs in. */
export interface CliEnvironment {
  readonly cwd: string
  readonly env: Readonly<Record<string, string | undefined>>
}

/** Where a value was written. */
export interface Place {
  /** As it is shown to people. */
  readonly file: string
  readonly line: number | undefined
  /** Folder that relative paths written here start from. */
  readonly dir: string
}

/** A configuration value that knows where it was written, so that a fault found after merging and replacing still names its line. */
export type Tree = Branch | List | Leaf
export interface Branch { readonly kind: 'map'; readonly entries: ReadonlyMap<string, Tree>; readonly at: Place }
export interface List { readonly kind: 'list'; readonly elements: readonly Tree[]; readonly at: Place }
export interface Leaf { readonly kind: 'leaf'; readonly value: Scalar; readonly at: Place }
export type Scalar = string | number | bigint | boolean | null

/** Far more than any configuration has; aliases and references could otherwise unfold into billions. */
export const NODES_MAX = 100_000
export const DEPTH_MAX = 64

export function isNull(tree: Tree | undefined): boolean {
  return tree === undefined || (tree.kind === 'leaf' && tree.value === null)
}

export function fail(at: Place, key: string, message: string, cause?: unknown): never {
  throw new ConfigError({ file: at.file, line: at.line, key }, message, cause === undefined ? undefined : { cause })
}

/** `base.a`, `base[0]` */
export function under(base: string, key: string | number): string {
  if (typeof key === 'number') return `${base}[${key}]`
  return base === '' ? key : `${base}.${key}`
}

/** The tree as plain data. */
export function plain(tree: Tree, budget = { left: NODES_MAX }): unknown {
  if (--budget.left < 0) fail(tree.at, '', `unfolds into more than ${NODES_MAX} values`)
  if (tree.kind === 'leaf') return tree.value
  if (tree.kind === 'list') return tree.elements.map((element) => plain(element, budget))
  return Object.fromEntries(Array.from(tree.entries, ([key, value]) => [key, plain(value, budget)]))
}

/** `over` laid over `base`: maps are joined key by key, anything else is replaced. */
export function merge(base: Tree, over: Tree): Tree {
  if (base.kind !== 'map' || over.kind !== 'map') return over
  const entries = new Map(base.entries)
  for (const [key, value] of over.entries) {
    const below = entries.get(key)
    entries.set(key, below === undefined ? value : merge(below, value))
  }
  return { kind: 'map', entries, at: over.at }
}

/** The value that keys lead to; list elements by their number. */
export function find(tree: Tree, keys: readonly string[]): Tree | undefined {
  let at: Tree | undefined = tree
  for (const key of keys) {
    if (at?.kind === 'map') at = at.entries.get(key)
    else if (at?.kind === 'list' && /^\d+$/.test(key)) at = at.elements[Number(key)]
    else return undefined
  }
  return at
}

/** A path as people want to read it: relative when it lies below the current folder. */
export function shownPath(path: string, cwd: string): string {
  const near = relative(cwd, path)
  return near === '' || near.startsWith('..') ? path : near
}
