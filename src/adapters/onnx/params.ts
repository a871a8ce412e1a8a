import { availableParallelism } from 'node:os'
import { canonicalJson } from '../../core/canonical.js'
import { badFieldName } from '../../core/names.js'
import { checkOptions, choice, nearest, number, show } from '../../core/options.js'
import { objectParam } from '../../ops/fields.js'
import type { ModelFacts, ModelValue } from './model-facts.js'
import { knownModel, readModelNow, type Model } from './models.js'
import type { SessionSettings } from './protocol.js'
import { runtimeHere, type Runtime } from './runtime.js'

/** Options of `onnx`. */
export interface OnnxOptions {
  /** Path of the .onnx file. Weights in files beside it are found there. */
  readonly model: string | URL
  /** The fields that the model is given, by its inputs' names. Default: fields of the same names. */
  readonly inputs?: Readonly<Record<string, string>>
  /** The model's outputs, by the names of the fields that they become. Default: all, as fields of the same names. */
  readonly outputs?: Readonly<Record<string, string>>
  /** Items of a call, along the first axis of every input and output. Default: what the model has that axis fixed at, or else 32. `false`: the model takes one item as it is, and there is no such axis. */
  readonly batch?: number | false
  /** onnxruntime's execution providers in the order in which they are asked: `cpu`, `cuda`, … Default: `['cpu']`. */
  readonly providers?: readonly string[]
  /** That one call is computed on. Results may depend on it, so it is part of the key. Default: one per core. */
  readonly threads?: number
  /** Default `all`. */
  readonly graphOptimizationLevel?: 'disabled' | 'basic' | 'extended' | 'layout' | 'all'
  /** Further configuration entries of a session, by onnxruntime's names: `{ 'session.intra_op.allow_spinning': '0' }`. Default: none. */
  readonly extra?: Readonly<Record<string, string>>
  /** What computes, in words, instead of what is found out about the processor (and the GPU). Who says the same on two machines promises that they compute the same. */
  readonly hardware?: string
}

/** All of it is part of the key. */
export interface OnnxParams extends SessionSettings {
  /** SHA-256 of the .onnx file, and of those beside it. */
  readonly model: string
  readonly external: Readonly<Record<string, string>>
  readonly inputs: Readonly<Record<string, string>>
  readonly outputs: Readonly<Record<string, string>>
  readonly batch: number | false
  readonly runtime: Runtime
}

const WHERE = 'onnx'
export const OPTIONS = ['model', 'inputs', 'outputs', 'batch', 'providers', 'threads', 'graphOptimizationLevel', 'extra', 'hardware']
/** Those of a recipe that was made before. */
const RECORDED = ['external', 'runtime']
const LEVELS = ['disabled', 'basic', 'extended', 'layout', 'all'] as const
const BATCH = 32
/** Results of these are others each time. */
const RANDOM = ['RandomNormal', 'RandomNormalLike', 'RandomUniform', 'RandomUniformLike', 'Multinomial', 'Bernoulli']
/** These take one scale for all items of a call. */
const MIXING = ['DynamicQuantizeLinear', 'DynamicQuantizeMatMul', 'DynamicQuantizeLSTM']

/** Full parameters: of options, whose model may be a path, or of a recipe that was written down, whose model is a digest that this process has to know. */
export function paramsOf(given: unknown): OnnxParams {
  const options = objectParam(WHERE, given)
  const isRecorded = options.runtime !== undefined
  checkOptions(WHERE, options, isRecorded ? [...OPTIONS, ...RECORDED] : OPTIONS)
  const { hardware } = options
  if (hardware !== undefined && (typeof hardware !== 'string' || hardware === '')) throw new TypeError(`${WHERE}: hardware must be a text, not ${show(hardware)}`)
  const recorded = isRecorded ? objectParam(WHERE, options.runtime) as unknown as Runtime : undefined
  const providers = providersOf(options.providers)
  const runtime = runtimeHere(providers, hardware)
  // Words of the caller's stand for what is here.
  if (recorded !== undefined && canonicalJson(recorded) !== canonicalJson(runtime)) refuseRuntime(recorded, runtime)
  const model = modelOf(options)
  const { facts } = model
  checkOps(facts)
  const batch = batchOf(options.batch, facts)
  return {
    model: model.digest, external: model.external, runtime, providers, batch,
    inputs: inputsOf(options.inputs, facts, batch),
    outputs: outputsOf(options.outputs, facts, batch),
    threads: number(WHERE, 'threads', options.threads, { integer: true, min: 1, max: 1024 }, availableParallelism()),
    graphOptimizationLevel: choice(WHERE, 'graphOptimizationLevel', options.graphOptimizationLevel, LEVELS, 'all'),
    extra: textsOf('extra', options.extra ?? {}),
  }
}

function modelOf({ model, external }: Record<string, unknown>): Model {
  if (typeof model !== 'string' || model === '') throw new TypeError(`${WHERE}: model must be the path of an .onnx file, not ${show(model)}`)
  if (!/^[0-9a-f]{64}$/.test(model)) return readModelNow(model)
  const known = knownModel(model, external as Model['external'] | undefined)
  if (known === undefined) throw new TypeError(`${WHERE}: the model ${model.slice(0, 16)}… has not been read by this process; give its path: await onnx({ model: 'encoder.onnx' })`)
  return known
}

function refuseRuntime(there: Runtime, here: Runtime): never {
  const names = (['onnxruntime', 'platform', 'hardware'] as const).filter((name) => there[name] !== here[name])
  throw new TypeError(`${WHERE}: the recipe is of another machine or version: ${names.map((name) => `${name} is ${show(here[name])} here, ${show(there[name])} there`).join('; ')}`)
}

function providersOf(given: unknown): readonly string[] {
  if (given === undefined) return ['cpu']
  if (!Array.isArray(given) || given.length === 0 || given.some((name) => typeof name !== 'string')) throw new TypeError(`${WHERE}: providers must be a list of names such as cpu and cuda, not ${show(given)}`)
  return given as string[]
}

function checkOps({ ops }: ModelFacts): void {
  const random = RANDOM.find((name) => ops.has(name))
  if (random !== undefined) throw new TypeError(`${WHERE}: the model draws random numbers (${random}), so what it makes could not be made again`)
}

function batchOf(given: unknown, { inputs, outputs, ops }: ModelFacts): number | false {
  if (given === false) return false
  if (given !== undefined) number(WHERE, 'batch', given, { integer: true, min: 1 })
  for (const [what, values] of [['input', inputs], ['output', outputs]] as const) {
    const bare = values.find(({ dims }) => dims?.length === 0)
    if (bare !== undefined) throw new TypeError(`${WHERE}: ${what} ${show(bare.name)} has no axis for items; batch: false if the model takes one item`)
  }
  const fixed = new Set([...inputs, ...outputs].map(({ dims }) => dims?.[0]).filter((extent) => typeof extent === 'number'))
  if (fixed.size > 1) throw new TypeError(`${WHERE}: the first axes of the model's inputs and outputs are fixed at ${[...fixed].join(' and ')}, so they are not items; batch: false if it takes one item`)
  const [size] = fixed
  if (size !== undefined && given !== undefined && given !== size) throw new TypeError(`${WHERE}: batch is ${show(given)}, and the model's first axis is fixed at ${size}; leave it out, or batch: false if the model takes one item`)
  const mixing = MIXING.find((name) => ops.has(name))
  const batch = size ?? given as number | undefined ?? (mixing === undefined ? BATCH : 1)
  if (mixing !== undefined && batch > 1) throw new TypeError(`${WHERE}: the model quantizes all items of a call with one scale (${mixing}), so what it makes of an item depends on the others; batch: 1`)
  return batch
}

function inputsOf(given: unknown, { inputs }: ModelFacts, batch: number | false): Record<string, string> {
  const named = textsOf('inputs', given ?? {})
  checkNames('inputs', Object.keys(named), inputs)
  return Object.fromEntries(inputs.map((input) => [checked('input', input, batch).name, named[input.name] ?? input.name]))
}

function outputsOf(given: unknown, { outputs }: ModelFacts, batch: number | false): Record<string, string> {
  const named = given === undefined ? Object.fromEntries(outputs.map(({ name }) => [name, name])) : textsOf('outputs', given)
  checkNames('outputs', Object.values(named), outputs)
  if (Object.keys(named).length === 0) throw new TypeError(`${WHERE}: outputs names none; the model has ${namesOf(outputs)}`)
  for (const [field, name] of Object.entries(named)) {
    const reason = badFieldName(field)
    if (reason !== undefined) throw new TypeError(`${WHERE}: an output cannot become a field ${show(field)}: ${reason}; name it: outputs: { ${field.replace(/\W+/g, '_').toLowerCase() || 'y'}: ${show(name)} }`)
    checked('output', outputs.find((output) => output.name === name)!, batch)
  }
  return named
}

function checkNames(which: string, names: readonly string[], values: readonly ModelValue[]): void {
  const known = values.map(({ name }) => name)
  for (const name of names) {
    if (known.includes(name)) continue
    const near = nearest(name, known)
    throw new TypeError(`${WHERE}: ${which}: the model has no ${which.slice(0, -1)} ${show(name)}${near === undefined ? `; it has ${namesOf(values)}` : `, did you mean ${show(near)}?`}`)
  }
}

/** The value, which must be a tensor that onnxruntime has in JavaScript and whose rank is known. */
function checked(what: string, value: ModelValue, batch: number | false): ModelValue {
  const { name, type, dtype, dims } = value
  if (dtype === undefined) throw new TypeError(`${WHERE}: the model's ${what} ${show(name)} is of ${type}, of which there are no fields`)
  if (dims === undefined) throw new TypeError(`${WHERE}: the model does not say how many axes its ${what} ${show(name)} has; onnx.shape_inference adds that`)
  if (batch !== false && dims.length === 0) throw new TypeError(`${WHERE}: ${what} ${show(name)} has no axis for items`)
  return value
}

function textsOf(name: string, given: unknown): Record<string, string> {
  if (typeof given !== 'object' || given === null || Array.isArray(given) || Object.values(given).some((text) => typeof text !== 'string')) throw new TypeError(`${WHERE}: ${name} must be an object of texts, not ${show(given)}`)
  return given as Record<string, string>
}

function namesOf(values: readonly ModelValue[]): string {
  return values.map(({ name }) => show(name)).join(', ')
}
