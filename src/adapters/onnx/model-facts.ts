import { FormatError, UnsupportedError } from '../../core/errors.js'
import type { DType } from '../../core/dtype.js'
import { fieldsOf, messageOf, ProtoFault, textOf } from './protobuf.js'

/** What a model says of an input or an output. */
export interface ModelValue {
  readonly name: string
  /** As the model calls it: `float32`, `string`, `a sequence`. */
  readonly type: string
  readonly dtype: DType | undefined
  /** A text is a symbolic extent, null one that nothing is said of. Undefined: nothing is said of the rank. */
  readonly dims: readonly (number | string | null)[] | undefined
}

/** What a model's file says without its weights. */
export interface ModelFacts {
  /** Those that have to be given: weights that may be given as well are not among them. */
  readonly inputs: readonly ModelValue[]
  readonly outputs: readonly ModelValue[]
  /** Files beside the model that hold weights, by the names that the model has for them. */
  readonly external: readonly string[]
  /** Ops that are used anywhere in it. */
  readonly ops: ReadonlySet<string>
}

/** TensorProto.DataType */
const TYPES: readonly string[] = ['nothing', 'float32', 'uint8', 'int8', 'uint16', 'int16', 'int32', 'int64', 'string', 'bool', 'float16', 'float64', 'uint32', 'uint64', 'complex64', 'complex128', 'bfloat16']
const RUNNABLE = new Set<string>(['float32', 'uint8', 'int8', 'uint16', 'int16', 'int32', 'int64', 'bool', 'float16', 'float64', 'uint32', 'uint64'] satisfies DType[])
/** Graphs within graphs: loops and branches. */
const DEPTH_MAX = 32
/** Where a file begins that `convert_onnx_models_to_ort` made. */
const ORT_MARK = 'ORTM'

/** Reads a model's file, from its beginning to its end but for weights. Throws FormatError, and UnsupportedError for onnxruntime's own format. */
export function factsOf(file: string, bytes: Uint8Array): ModelFacts {
  if (Buffer.from(bytes.subarray(4, 8)).toString('latin1') === ORT_MARK) throw new UnsupportedError({ file, place: 'model', reason: 'is in onnxruntime\'s own format; give the .onnx file that it was made of' })
  try {
    return new Reader().model(bytes)
  } catch (error) {
    if (!(error instanceof ProtoFault)) throw error
    throw new FormatError({ file, place: 'model', expected: 'an ONNX model', found: error.message })
  }
}

class Reader {
  readonly #external = new Set<string>()
  readonly #ops = new Set<string>()

  model(bytes: Uint8Array): ModelFacts {
    let graph: Uint8Array | undefined
    let version = NaN
    for (const field of fieldsOf(bytes)) {
      if (field.number === 1) version = field.value
      else if (field.number === 7) graph = messageOf(field)
      else if (field.number === 25) this.#nodesOf(messageOf(field), 7, 0)
    }
    if (graph === undefined || Number.isNaN(version)) throw new ProtoFault('a file without a graph')
    const weights = new Set<string>()
    const inputs: ModelValue[] = []
    const outputs: ModelValue[] = []
    for (const field of fieldsOf(graph)) {
      if (field.number === 5) weights.add(this.#tensor(messageOf(field)))
      else if (field.number === 11) inputs.push(valueOf(messageOf(field)))
      else if (field.number === 12) outputs.push(valueOf(messageOf(field)))
      else if (field.number === 15) this.#sparse(messageOf(field))
    }
    this.#nodesOf(graph, 1, 0)
    return { inputs: inputs.filter(({ name }) => !weights.has(name)), outputs, external: [...this.#external].sort(), ops: this.#ops }
  }

  /** A graph or a function, whose nodes are the fields `number`. */
  #nodesOf(bytes: Uint8Array, number: number, depth: number): void {
    if (depth > DEPTH_MAX) throw new ProtoFault(`graphs nested deeper than ${DEPTH_MAX}`)
    for (const field of fieldsOf(bytes)) {
      if (field.number === number) this.#node(messageOf(field), depth)
      else if (number === 1 && field.number === 5 && depth > 0) this.#tensor(messageOf(field))
      else if (number === 1 && field.number === 15 && depth > 0) this.#sparse(messageOf(field))
    }
  }

  #node(bytes: Uint8Array, depth: number): void {
    for (const field of fieldsOf(bytes)) {
      if (field.number === 4) this.#ops.add(textOf(field))
      if (field.number !== 5) continue
      for (const attribute of fieldsOf(messageOf(field))) {
        if (attribute.number === 5 || attribute.number === 10) this.#tensor(messageOf(attribute))
        else if (attribute.number === 22 || attribute.number === 23) this.#sparse(messageOf(attribute))
        else if (attribute.number === 6 || attribute.number === 11) this.#nodesOf(messageOf(attribute), 1, depth + 1)
      }
    }
  }

  #sparse(bytes: Uint8Array): void {
    for (const field of fieldsOf(bytes)) if (field.number === 1 || field.number === 2) this.#tensor(messageOf(field))
  }

  /** Notes where its data lies, and gives its name. */
  #tensor(bytes: Uint8Array): string {
    let name = ''
    for (const field of fieldsOf(bytes)) {
      if (field.number === 8) name = textOf(field)
      if (field.number !== 13) continue
      const entry = new Map(Array.from(fieldsOf(messageOf(field)), (part) => [part.number, part]))
      const [key, value] = [entry.get(1), entry.get(2)]
      if (key !== undefined && value !== undefined && textOf(key) === 'location') this.#external.add(textOf(value))
    }
    return name
  }
}

/** ValueInfoProto */
function valueOf(bytes: Uint8Array): ModelValue {
  let name = ''
  let type: Uint8Array | undefined
  for (const field of fieldsOf(bytes)) {
    if (field.number === 1) name = textOf(field)
    else if (field.number === 2) type = messageOf(field)
  }
  for (const field of type === undefined ? [] : fieldsOf(type)) {
    if (field.number !== 1) return { name, type: field.number === 4 ? 'a sequence' : field.number === 5 ? 'a map' : 'no tensor', dtype: undefined, dims: undefined }
    return { name, ...tensorTypeOf(messageOf(field)) }
  }
  return { name, type: 'nothing', dtype: undefined, dims: undefined }
}

function tensorTypeOf(bytes: Uint8Array): Omit<ModelValue, 'name'> {
  let type = TYPES[0]!
  let dims: ModelValue['dims']
  for (const field of fieldsOf(bytes)) {
    if (field.number === 1) type = TYPES[field.value] ?? `element type ${field.value}`
    else if (field.number === 2) dims = Array.from(fieldsOf(messageOf(field))).filter((part) => part.number === 1).map((dim) => dimOf(messageOf(dim)))
  }
  return { type, dtype: RUNNABLE.has(type) ? type as DType : undefined, dims }
}

function dimOf(bytes: Uint8Array): number | string | null {
  for (const field of fieldsOf(bytes)) {
    // Some exporters write -1, which is too large for a number here, where they mean that nothing is known.
    if (field.number === 1) return Number.isSafeInteger(field.value) ? field.value : null
    if (field.number === 2) return textOf(field) === '' ? null : textOf(field)
  }
  return null
}
