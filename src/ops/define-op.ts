import { DTYPES, isDType, isFloating } from '../core/dtype.js'
import { badFieldName } from '../core/names.js'
import { boolean, checkOptions, choice, number, show } from '../core/options.js'
import { canonicalJson } from '../core/canonical.js'
import type { FieldSpec, FieldSpecs, Tensor } from '../core/tensor.js'
import { describe, objectParam } from './fields.js'
import { callOf, type ArrangeContext, type DatasetOp, type DeviceOp, type Fail, type FieldState, type FieldStates, type HostOp, type ItemSequence, type ManyContext, type ManyOp, type OpCall, type OpDefinition, type OpParams, type RunContext } from './op.js'
import { checkWgslFields, checkWgslRun, lowerWgsl, type WgslRun } from './wgsl-op.js'

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
  /**
   * Fields after the op, from those before it; extents may be null where they differ between items. What it throws becomes a RecipeError. `run` is
   * held to it: it is called again with the extents of each item.
   */
  readonly infer: (fields: FieldSpecs, params: P) => FieldSpecs
  /**
   * The same input gives the same bytes on every machine. Default true for functions; a false is honest for anything that calls `Math.exp` or a model. Default
   * false for WGSL: true is a promise that the shader and its `cpu` function agree to the bit, on every adapter.
   */
  readonly exact?: boolean
  /** Results depend on the recipe's seed. Default false. */
  readonly draws?: boolean
  /**
   * Makes the new item (scope `item`): a function, on the main thread, or a compute shader. Input tensors are views: do not write to them. The URL of a module is
   * not possible yet.
   */
  readonly run?: WgslRun<P> | ((item: Readonly<Record<string, Tensor>>, params: P, context: RunContext) => Readonly<Record<string, Tensor>> | Promise<Readonly<Record<string, Tensor>>>)
  /**
   * Instead of `run`, for work that costs less for many items at once: makes up to `batch` items, which have equal shapes and are stacked: a field is [items, …item shape]. What it makes is stacked as well. What an item
   * becomes must not depend on which others are in the call, nor on how many: that differs from build to build.
   */
  readonly runMany?: (items: Readonly<Record<string, Tensor>>, params: P, context: ManyContext) => Readonly<Record<string, Tensor>> | Promise<Readonly<Record<string, Tensor>>>
  /** Items of a call of `runMany`, or how to tell from the parameters. Default 32. */
  readonly batch?: number | ((params: P) => number)
  /**
   * Calls of `runMany` have exactly `batch` items: the last one is repeated, and what is made of the copies is dropped. For kernels whose last bits depend on how many rows there are; `batch` should
   * then come from a parameter, so that it is part of the key. Default false.
   */
  readonly full?: boolean
  /** Makes the new sequence (scope `dataset`), reading only what it needs. It and its items are held to `infer` as well. */
  readonly arrange?: (items: ItemSequence, params: P, context: ArrangeContext) => Promise<ItemSequence>
}

/** An op of one's own: called with its parameters it is an element of a recipe. */
export interface DefinedOp {
  /** A call of the op, for `recipe([…])`. */
  (params?: Record<string, unknown>): OpCall
  /** For `parseRecipe` and the command line. */
  readonly definition: OpDefinition
}

const OPTIONS = ['name', 'version', 'params', 'scope', 'infer', 'exact', 'draws', 'run', 'runMany', 'batch', 'full', 'arrange']
/** Large enough that calls cost little, small enough that padding the last one does. */
const BATCH = 32

/** Makes an op of a function. Throws TypeError. */
export function defineOp<P extends OpParams = OpParams>(options: OpOptions<P>): DefinedOp {
  const where = `defineOp ${show(options?.name)}`
  checkOptions(where, options, OPTIONS)
  if (typeof options.name !== 'string' || !/^[A-Za-z][A-Za-z0-9_.-]*$/.test(options.name)) throw new TypeError(`${where}: name must begin with a letter and have letters, digits, _, . and - only`)
  const scope = choice(where, 'scope', options.scope, ['item', 'dataset'] as const, 'item')
  const many = scope === 'item' && options.runMany !== undefined
  for (const [name, needed] of [['infer', true], ['run', scope === 'item' && !many], ['runMany', many], ['arrange', scope === 'dataset']] as const) {
    const given: unknown = options[name]
    if (name === 'run' && needed && isWgsl(given)) continue
    if (name === 'run' && (typeof given === 'string' || given instanceof URL)) throw new TypeError(`${where}: run as the URL of a module is not possible in this version; give a function, or { wgsl: text }`)
    if (needed ? typeof given !== 'function' : given !== undefined) throw new TypeError(`${where}: ${name} must ${needed ? 'be a function' : `be left out with ${many ? 'runMany' : `scope ${scope}`}`}`)
  }
  for (const name of ['batch', 'full'] as const) if (!many && options[name] !== undefined) throw new TypeError(`${where}: ${name} goes with runMany`)
  const base = {
    name: options.name,
    version: number(where, 'version', options.version, { integer: true, min: 1 }, 1),
    draws: boolean(where, 'draws', options.draws, false),
    exact: boolean(where, 'exact', options.exact, !isWgsl(options.run)),
    params(given: unknown): OpParams {
      const plain = objectParam(options.name, given ?? {})
      const params = options.params === undefined ? plain : options.params(plain)
      // Refuses by name what could not be part of a key.
      canonicalJson(params)
      return params
    },
    infer(fields: FieldStates, params: OpParams, fail: Fail): FieldStates {
      let after: unknown
      try {
        after = options.infer(fields, params as P)
      } catch (cause) {
        fail(`infer failed: ${(cause as Error).message}`, { cause })
      }
      return checkedStates(after, fail)
    },
    // A function may look at everything it is given.
    needs: (fields: FieldStates) => new Set(Object.keys(fields)),
  }
  const definition: OpDefinition = isWgsl(options.run)
    ? wgslDefinition(where, base, options.run as WgslRun)
    : many
    ? { ...base, kind: 'many', scope: 'item', size: sizeOf(where, options), isFull: boolean(where, 'full', options.full, false), runMany: keepingMany(base.infer, options.runMany as unknown as ManyOp['runMany']) }
    : scope === 'item'
    ? { ...base, kind: 'host', scope, run: keeping(base.infer, options.run as unknown as HostOp['run']) }
    : { ...base, kind: 'dataset', scope, arrange: keepingSequence(base.infer, options.arrange as unknown as DatasetOp['arrange']) }
  return Object.assign((params: Record<string, unknown> = {}) => callOf(definition, params), { definition })
}

function isWgsl(run: unknown): run is WgslRun {
  return typeof run === 'object' && run !== null && typeof (run as Partial<WgslRun>).wgsl === 'string'
}

function wgslDefinition(where: string, base: Omit<DeviceOp, 'kind' | 'scope' | 'narrow' | 'lower'>, run: WgslRun): DeviceOp {
  const bindings = checkWgslRun(where, run)
  if (base.exact && run.cpu === undefined) throw new TypeError(`${where}: exact says that the CPU gives the same bytes, so run needs a cpu function`)
  const infer = (fields: FieldStates, params: OpParams, fail: Fail): FieldStates => {
    const after = base.infer(fields, params, fail)
    checkWgslFields(bindings, fields, after, fail)
    return after
  }
  return {
    ...base, infer, kind: 'device', scope: 'item',
    narrow: (_fields, params) => params,
    lower(builder, params) {
      lowerWgsl(builder, run, bindings, infer(builder.fields(), params, (message, options) => { throw new TypeError(message, options) }), params)
    },
  }
}

/** What a user's `infer` returned, checked. */
function checkedStates(after: unknown, fail: Fail): FieldStates {
  if (typeof after !== 'object' || after === null) fail(`infer must return the fields after the op, not ${show(after)}`)
  return Object.fromEntries(Object.entries(after).map(([name, spec]: [string, Partial<FieldState> | null | undefined]) => {
    const reason = badFieldName(name)
    if (reason !== undefined) fail(`infer: a field cannot be called ${show(name)}: ${reason}`)
    const { dtype, shape } = spec ?? {}
    if (!isDType(dtype)) fail(`infer: field ${name} has dtype ${show(dtype)}, which is none of ${Object.keys(DTYPES).join(', ')}`)
    const whole = (extent: unknown): boolean => extent === null || (Number.isSafeInteger(extent) && (extent as number) >= 0)
    if (!Array.isArray(shape) || !shape.every(whole)) fail(`infer: field ${name} has shape ${show(shape)}, which must be a list of extents, null where they differ between items`)
    return [name, { dtype, shape: [...shape as number[]], finiteness: isFloating(dtype) ? 'unchecked' : 'finite' }]
  }))
}

function sizeOf<P extends OpParams>(where: string, { batch }: OpOptions<P>): ManyOp['size'] {
  const rule = { integer: true, min: 1 }
  if (typeof batch === 'function') return (params) => number(where, 'batch', batch(params as P), rule)
  const size = number(where, 'batch', batch, rule, BATCH)
  return () => size
}

/** `run`, held to what `infer` promises for the item: a dataset whose items are not what it says could not be read. */
function keeping(infer: OpDefinition['infer'], run: HostOp['run']): HostOp['run'] {
  return async (item, params, context) => checkMade('run', await run(item, params, context), infer(specsOf(item, 0), params, misfit), [])
}

/** `runMany`, held to the same of each of its items. */
function keepingMany(infer: OpDefinition['infer'], runMany: ManyOp['runMany']): ManyOp['runMany'] {
  return async (items, params, context) => {
    const made: unknown = await runMany(items, params, context)
    const count = Object.values(items)[0]?.shape[0] ?? 0
    return checkMade('runMany', made, infer(specsOf(items, 1), params, misfit), [count])
  }
}

function misfit(message: string, options?: ErrorOptions): never {
  throw new TypeError(message, options)
}

/** `axes` before those of an item. */
function specsOf(fields: Readonly<Record<string, Tensor>>, axes: number): FieldStates {
  return Object.fromEntries(Object.entries(fields).map(([name, { dtype, shape }]): [string, FieldState] => [name, { dtype, shape: shape.slice(axes), finiteness: 'unchecked' }]))
}

function checkMade(where: 'run' | 'runMany', made: unknown, promised: FieldStates, before: readonly number[]): Readonly<Record<string, Tensor>> {
  if (typeof made !== 'object' || made === null) throw new TypeError(`${where} must return the fields of the new item${where === 'run' ? '' : 's'}, not ${show(made)}`)
  const fields = made as Readonly<Record<string, Tensor>>
  for (const name of Object.keys(fields)) if (!Object.hasOwn(promised, name)) throw new TypeError(`${where} made a field ${show(name)}, which infer did not promise; it promised ${Object.keys(promised).join(', ')}`)
  for (const [name, spec] of Object.entries(promised)) checkTensor(where, fields, name, { ...spec, shape: [...before, ...spec.shape] })
  return fields
}

/** The same for `arrange`: the sequence it makes has the fields that `infer` promises, and its items are of them. */
function keepingSequence(infer: OpDefinition['infer'], arrange: DatasetOp['arrange']): DatasetOp['arrange'] {
  return async (items, params, context) => {
    const made = await arrange(items, params, context)
    const promised = infer(items.fields, params, (message, options) => { throw new TypeError(message, options) })
    const names = (fields: object): string => Object.keys(fields).sort().join(', ')
    if (names(made.fields) !== names(promised)) throw new TypeError(`infer promised the fields ${names(promised)}, arrange made ${names(made.fields)}`)
    for (const [name, spec] of Object.entries(promised)) {
      if (!fits(made.fields[name]!, spec)) throw new TypeError(`infer promised for field ${name} ${describe(spec)}, arrange made ${describe(made.fields[name]!)}`)
    }
    return {
      length: made.length,
      fields: made.fields,
      id: (index) => made.id(index),
      async read(index, fields, signal) {
        const item = await made.read(index, fields, signal)
        for (const name of fields) checkTensor('read', item, name, made.fields[name]!)
        return item
      },
    }
  }
}

function fits({ dtype, shape }: Partial<FieldSpec>, spec: FieldSpec): boolean {
  return dtype === spec.dtype && Array.isArray(shape) && shape.length === spec.shape.length && spec.shape.every((extent, axis) => extent === null || extent === shape[axis])
}

function checkTensor(where: 'run' | 'runMany' | 'read', fields: Readonly<Record<string, Tensor>>, name: string, spec: FieldState): void {
  const tensor: Partial<Tensor> | undefined = Object.hasOwn(fields, name) ? fields[name] : undefined
  if (tensor === undefined) throw new TypeError(`${where} did not make the field ${show(name)}, which infer promised`)
  if (!fits(tensor, spec)) throw new TypeError(`infer promised for field ${name} ${describe(spec)}, ${where} made ${show(tensor.dtype)} ${show(tensor.shape)}`)
  const { array } = DTYPES[spec.dtype]
  if (!(tensor.data instanceof array)) throw new TypeError(`field ${name} of ${spec.dtype} must have its data in a ${array.name}, not ${show(tensor.data)}`)
}
