import { checkOptions, nearest, show } from '../core/options.js'
import { seedData, seedOf } from '../core/seed.js'
import { callOf, type OpCall, type OpDefinition } from './op.js'

/** Version of what a recipe key is made of. */
export const RECIPE_FORMAT = 1

/** An ordered list of ops and a seed: plain data, the same in TypeScript, JSON and YAML. */
export interface Recipe {
  /** The ops, in the order in which they are applied. */
  readonly ops: readonly OpCall[]
  /** Counts only when an op draws random numbers. */
  readonly seed: bigint | undefined
  /** `{ format, ops: [{ name, version, params }], seed? }`; `parseRecipe` reads it back. */
  toJSON(): RecipeData
}

/** A recipe as JSON has it. */
export interface RecipeData {
  /** Version of this form. */
  readonly format: number
  /** The ops in order: name, version, and parameters with all defaults. */
  readonly ops: readonly { readonly name: string; readonly version: number; readonly params: unknown }[]
  /** The seed, as a text beyond 2^53. */
  readonly seed?: number | string
}

/** Puts ops in order: `recipe([cast({ dtype: 'float32' }), normalize({ mode: 'zscore' })], { seed: 42 })`. Throws TypeError. */
export function recipe(ops: readonly OpCall[], options: { readonly seed?: number | bigint } = {}): Recipe {
  checkOptions('recipe', options, ['seed'])
  if (!Array.isArray(ops)) throw new TypeError(`recipe: expected a list of ops, not ${show(ops)}`)
  ops.forEach((op, i) => {
    if ((op as { kind?: unknown } | undefined)?.kind === 'random') throw new TypeError(`recipe: element ${i} (${op.name}) draws anew in every epoch; it belongs to batches({ augment: [${op.name}(…)] })`)
    if (op?.definition === undefined) throw new TypeError(`recipe: element ${i} is not an op but ${show(op)}; call the op: cast({ … })`)
  })
  const seed = options.seed === undefined ? undefined : seedOf('recipe', options.seed)
  const data: RecipeData = {
    format: RECIPE_FORMAT,
    ops: ops.map(({ name, version, params }) => ({ name, version, params })),
    ...(seed === undefined ? {} : { seed: seedData(seed) }),
  }
  return Object.freeze({ ops: Object.freeze([...ops]), seed, toJSON: () => data })
}

/** What the recipe key hashes: format, ops with all parameters, the seed when an op draws, and `device`, which is given when bytes may depend on it. */
export function recipeKeyData({ ops, seed }: Recipe, device: { readonly kind: string; readonly name: string; readonly driver?: string | undefined } | undefined): unknown {
  return {
    format: RECIPE_FORMAT,
    ops: ops.map(({ name, version, params }) => ({ name, version, params })),
    seed: ops.some(({ definition }) => definition.draws) ? seed ?? 0n : undefined,
    device: device === undefined ? undefined : { kind: device.kind, name: device.name, driver: device.driver },
  }
}

/**
 * Reads a recipe from plain data: `{ seed: 42, ops: [{ cast: { dtype: float32 } }, …] }` as in a configuration file, a bare list of ops, or what
 * `toJSON` gives. Throws TypeError for unknown ops, parameters or versions.
 */
export function parseRecipe(data: unknown, definitions: readonly OpDefinition[]): Recipe {
  const body = Array.isArray(data) ? { ops: data as unknown[] } : data
  if (typeof body !== 'object' || body === null) throw new TypeError(`recipe: expected a list of ops or { seed, ops }, not ${show(data)}`)
  checkOptions('recipe', body, ['format', 'ops', 'seed'])
  const { format, ops, seed } = body as { format?: unknown; ops?: unknown; seed?: unknown }
  if (format !== undefined && format !== RECIPE_FORMAT) throw new TypeError(`recipe: format ${show(format)} is not known; this version reads ${RECIPE_FORMAT}`)
  if (!Array.isArray(ops)) throw new TypeError(`recipe: ops must be a list, not ${show(ops)}`)
  return recipe(ops.map((op, i) => parseOp(op, i, definitions)), seed === undefined || seed === null ? {} : { seed: seedOf('recipe', seed) })
}

function parseOp(data: unknown, place: number, definitions: readonly OpDefinition[]): OpCall {
  const where = `recipe: op ${place}`
  if (typeof data === 'string') return callOf(find(where, data, definitions), {})
  if (typeof data !== 'object' || data === null || Array.isArray(data)) throw new TypeError(`${where}: expected { name: { parameters } }, not ${show(data)}`)
  const entries = Object.entries(data)
  if ('name' in data && 'version' in data) {
    const { name, version, params } = data as { name: unknown; version: unknown; params?: unknown }
    const definition = find(where, name, definitions)
    if (definition.version !== version) throw new TypeError(`${where}: ${definition.name} version ${show(version)} is not known; this version has ${definition.version}`)
    return callOf(definition, params ?? {})
  }
  if (entries.length !== 1) throw new TypeError(`${where}: expected one op, found ${entries.map(([name]) => name).join(', ') || 'none'}`)
  const [name, params] = entries[0]!
  return callOf(find(where, name, definitions), params ?? {})
}

function find(where: string, name: unknown, definitions: readonly OpDefinition[]): OpDefinition {
  const found = definitions.find((definition) => definition.name === name)
  if (found !== undefined) return found
  const names = definitions.map((definition) => definition.name)
  const near = typeof name === 'string' ? nearest(name, names) : undefined
  throw new TypeError(`${where}: there is no op ${show(name)}${near === undefined ? `; there are ${names.join(', ')}` : `, did you mean "${near}"?`}`)
}
