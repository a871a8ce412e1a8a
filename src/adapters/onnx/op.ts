import { isFloating } from '../../core/dtype.js'
import { show } from '../../core/options.js'
import { bytesOf, type Tensor } from '../../core/tensor.js'
import { rowOf } from '../../core/rows.js'
import { describe, fieldOf } from '../../ops/fields.js'
import { type Fail, type FieldState, type FieldStates, type ManyOp, type OpParams } from '../../ops/op.js'
import type { ModelValue } from './model-facts.js'
import { knownModel, type Model } from './models.js'
import { paramsOf, type OnnxParams } from './params.js'
import { sessionFor, type Session } from './session.js'

type Tensors = Readonly<Record<string, Tensor>>

/** A model as an op, for `recipe` by `onnx`, and for configuration files, where `model` is a path. */
export const onnxOp: ManyOp = {
  name: 'onnx', version: 1, scope: 'item', kind: 'many', draws: false,
  // What results depend on besides the device of a build is in the parameters: that device computes none of it.
  exact: true,
  paths: ['model'],
  isFull: true,
  keepsNothing: true,
  params: (given) => paramsOf(given) as unknown as OpParams,
  size: (params) => of(params).batch || 1,
  reads: (params) => [...new Set(Object.values(of(params).inputs))],
  infer(fields, given, fail) {
    const params = of(given)
    const { facts } = modelOf(params)
    const symbols = new Map<string, number | null>()
    for (const input of facts.inputs) bind(input, params, fields, symbols, fail)
    const made = Object.entries(params.outputs).map(([field, name]) => {
      const { dtype, dims } = facts.outputs.find((output) => output.name === name)!
      const shape = itemOf(dims!, params).map((extent) => typeof extent === 'string' ? symbols.get(extent) ?? null : extent)
      return [field, { dtype: dtype!, shape, finiteness: isFloating(dtype!) ? 'unchecked' : 'finite' }] satisfies [string, FieldState]
    })
    return { ...fields, ...Object.fromEntries(made) }
  },
  needs(_fields, params, wanted) {
    const { inputs, outputs } = of(params)
    const others = [...wanted].filter((name) => !Object.hasOwn(outputs, name))
    return new Set(others.length === wanted.size ? wanted : [...others, ...Object.values(inputs)])
  },
  open: (params) => sessionOf(of(params)).open(),
  async runMany(items, given) {
    const params = of(given)
    const { inputs, outputs, batch } = params
    // Extents that differ between items are known now.
    onnxOp.infer(statesOf(items), given, (message) => { throw new TypeError(message) })
    const feeds = Object.fromEntries(Object.entries(inputs).map(([input, field]) => [input, batch === false ? rowOf(items[field]!, 0) : items[field]!]))
    const fetches = [...new Set(Object.values(outputs))]
    const session = sessionOf(params)
    const made = await session.run(feeds, fetches)
    // Where nothing could be seen the next call is looked at.
    if (batch !== false && batch > 1 && (!isDue(session.calls + 1) || await isIndependent(session, feeds, made, batch))) session.calls++
    return Object.fromEntries(Object.entries(outputs).map(([field, name]) => {
      const tensor = made[name]!
      return [field, batch === false ? { ...tensor, shape: [1, ...tensor.shape] } : tensor]
    }))
  },
}

function of(params: OpParams): OnnxParams {
  return params as unknown as OnnxParams
}

function modelOf({ model, external }: OnnxParams): Model {
  return knownModel(model, external)!
}

function sessionOf(params: OnnxParams): Session {
  const { providers, threads, graphOptimizationLevel, extra } = params
  return sessionFor(modelOf(params), { providers, threads, graphOptimizationLevel, extra })
}

function itemOf(dims: NonNullable<ModelValue['dims']>, { batch }: OnnxParams): NonNullable<ModelValue['dims']> {
  return batch === false ? dims : dims.slice(1)
}

/** Checks the field of an input, and learns what the input's symbolic extents are. */
function bind({ name, dtype, dims }: ModelValue, params: OnnxParams, fields: FieldStates, symbols: Map<string, number | null>, fail: Fail): void {
  const field = params.inputs[name]!
  const found = fieldOf(fields, field, fail)
  const expected = itemOf(dims!, params)
  const words = `${dtype} [${expected.map((extent) => extent ?? '?').join(', ')}]`
  const refuse = (hint = ''): never => fail(`expected for the model's input ${show(name)} ${words}, found ${describe(found)} (field ${field})${hint}`)
  if (found.dtype !== dtype) refuse('; a cast before it changes the dtype')
  if (found.shape.length !== expected.length) refuse(found.shape.length === dims!.length && params.batch !== false ? '; the first axis of the model is for items: batch: false if it has none' : '')
  expected.forEach((extent, axis) => {
    const here = found.shape[axis]!
    if (typeof extent === 'number' && here !== null && here !== extent) refuse()
    // Exporters are not strict about names: of two extents for one, none is known.
    if (typeof extent === 'string') symbols.set(extent, !symbols.has(extent) || symbols.get(extent) === here ? here : null)
  })
}

function statesOf(items: Tensors): FieldStates {
  return Object.fromEntries(Object.entries(items).map(([name, { dtype, shape }]): [string, FieldState] => [name, { dtype, shape: shape.slice(1), finiteness: 'unchecked' }]))
}

// --- items do not see each other --------------------------------------------------------------------------------------------

/** The first call, then the 8th, the 64th, …: a model may mix items only where they have certain values. */
function isDue(call: number): boolean {
  return Number.isInteger(Math.log2(call) / 3)
}

/**
 * What a model makes of an item must be the same bytes in every place of a call and beside every other item, or a damaged item could not be made again. That is seen by giving it one item in all places. False where that cannot be
 * seen: all items of the call are the same. Throws Error where they are not independent.
 */
async function isIndependent(session: Session, feeds: Tensors, made: Tensors, batch: number): Promise<boolean> {
  const row = (tensor: Tensor, k: number): Uint8Array => bytesOf(rowOf(tensor, k).data)
  const isSame = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0
  const rows = Array.from({ length: batch }, (_, k) => k)
  const inputs = Object.values(feeds)
  // Numbers that are all the same hide the order in which they are added.
  const pivot = rows.find((k) => inputs.some((input) => !isSame(row(input, k), row(input, (k + 1) % batch)) && new Set(row(input, k)).size > 4)) ?? rows.find((k) => inputs.some((input) => !isSame(row(input, k), row(input, (k + 1) % batch))))
  if (pivot === undefined) return false
  const alone = await session.run(Object.fromEntries(Object.entries(feeds).map(([name, tensor]) => [name, repeated(tensor, pivot, batch)])), Object.keys(made))
  for (const [name, tensor] of Object.entries(made)) {
    const other = rows.find((k) => !isSame(row(alone[name]!, k), row(alone[name]!, pivot)))
    if (other !== undefined) throw new Error(`the model's output ${show(name)} for one item has other bytes in place ${other} of a call of ${batch} than in place ${pivot}: how its kernels add up depends on the place; batch: 1 gives every item the same`)
    if (!isSame(row(tensor, pivot), row(alone[name]!, pivot))) throw new Error(`the model's output ${show(name)} for an item depends on the other ${batch - 1} items of its call, so it could not be made again; batch: 1`)
  }
  return true
}

function repeated(tensor: Tensor, place: number, count: number): Tensor {
  const { data } = rowOf(tensor, place)
  const bytes = Buffer.concat(Array.from({ length: count }, () => bytesOf(data)))
  const memory = new Uint8Array(bytes.length)
  memory.set(bytes)
  const Class = tensor.data.constructor as new (buffer: ArrayBuffer) => typeof tensor.data
  return { dtype: tensor.dtype, shape: tensor.shape, data: new Class(memory.buffer) } as Tensor
}
