import { isFloating } from '../core/dtype.js'
import { boolean, checkOptions, choice, number, show } from '../core/options.js'
import { canonicalJson } from '../core/canonical.js'
import type { FieldSpecs, Tensor } from '../core/tensor.js'
import { objectParam } from './fields.js'
import { callOf, type DatasetOp, type FieldStates, type HostOp, type ItemSequence, type OpCall, type OpDefinition, type OpParams, type RunContext } from './op.js'

/** What the maker of an op says of it. `P` are its full parameters: plain data, all of them part of every key. */
export interface OpOptions<P extends OpParams> {
  /** Of its own, such as `my_lab.denoise`. */
  readonly name: string
  /** Raise it whenever the same parameters give other results. Default 1. */
  readonly version?: number
  /** Checks what the caller gave and fills in defaults. Default: takes any plain data as it is. */
  readonly params?: (given: Record<string, unknown>) => P
  /** `item` (default): one item to another. `dataset`: one sequence of items to another. */
  readonly scope?: 'item' | 'dataset'
  /** Fields after the op, from those before it; extents may be null where they differ between items. */
  readonly infer: (fields: FieldSpecs, params: P) => FieldSpecs
  /** The same input gives the same bytes on every machine. Default true; a false is honest for anything that calls `Math.exp` or a model. */
  readonly exact?: boolean
  /** Results depend on the recipe's seed. Default false. */
  readonly draws?: boolean
  /** Makes the new item (scope `item`), on the main thread. Input tensors are views: do not write to them. */
  readonly run?: (item: Readonly<Record<string, Tensor>>, params: P, context: RunContext) => Readonly<Record<string, Tensor>> | Promise<Readonly<Record<string, Tensor>>>
  /** Makes the new sequence (scope `dataset`), reading only what it needs. */
  readonly arrange?: (items: ItemSequence, params: P, context: { readonly seed: bigint; readonly signal: AbortSignal | undefined }) => Promise<ItemSequence>
}

export interface DefinedOp {
  /** A call of the op, for `recipe([…])`. */
  (params?: Record<string, unknown>): OpCall
  /** For `parseRecipe` and the command line. */
  readonly definition: OpDefinition
}

const OPTIONS = ['name', 'version', 'params', 'scope', 'infer', 'exact', 'draws', 'run', 'arrange']

/** Makes an op of a function. Throws TypeError. */
export function defineOp<P extends OpParams = OpParams>(options: OpOptions<P>): DefinedOp {
  const where = `defineOp ${show(options?.name)}`
  checkOptions(where, options, OPTIONS)
  if (typeof options.name !== 'string' || !/^[A-Za-z][A-Za-z0-9_.-]*$/.test(options.name)) throw new TypeError(`${where}: name must begin with a letter and have letters, digits, _, . and - only`)
  const scope = choice(where, 'scope', options.scope, ['item', 'dataset'] as const, 'item')
  for (const [name, needed] of [['infer', true], ['run', scope === 'item'], ['arrange', scope === 'dataset']] as const) {
    if (needed !== (typeof options[name] === 'function')) throw new TypeError(`${where}: ${name} must ${needed ? 'be a function' : `be left out with scope ${scope}`}`)
  }
  const base = {
    name: options.name,
    version: number(where, 'version', options.version, { integer: true, min: 1 }, 1),
    draws: boolean(where, 'draws', options.draws, false),
    exact: boolean(where, 'exact', options.exact, true),
    params(given: unknown): OpParams {
      const plain = objectParam(options.name, given ?? {})
      const params = options.params === undefined ? plain : options.params(plain)
      // Refuses by name what could not be part of a key.
      canonicalJson(params)
      return params
    },
    infer(fields: FieldStates, params: OpParams): FieldStates {
      const after = options.infer(fields, params as P)
      return Object.fromEntries(Object.entries(after).map(([name, { dtype, shape }]) => [name, { dtype, shape, finiteness: isFloating(dtype) ? 'unchecked' as const : 'finite' as const }]))
    },
    // A function may look at everything it is given.
    needs: (fields: FieldStates) => new Set(Object.keys(fields)),
  }
  const definition: OpDefinition = scope === 'item'
    ? { ...base, kind: 'host', scope, run: options.run as unknown as HostOp['run'] }
    : { ...base, kind: 'dataset', scope, arrange: options.arrange as unknown as DatasetOp['arrange'] }
  return Object.assign((params: Record<string, unknown> = {}) => callOf(definition, params), { definition })
}
