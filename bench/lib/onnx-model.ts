/** Writes ONNX models: the protobuf of onnx.proto3, as far as small models need it. Opset 17, IR version 8. */

export type Dims = readonly (number | string | undefined)[]
export type ElementType = keyof typeof TYPES

export interface Weights {
  readonly type: ElementType
  readonly dims: readonly number[]
  readonly data: NodeJS.ArrayBufferView
  /** The file that holds the data, and where in it, instead of the model. */
  readonly external?: { readonly location: string; readonly offset?: number }
}

export interface Value {
  readonly type: ElementType
  /** A text is a symbolic extent, undefined one that nothing is said of; without dims nothing is said of the rank. */
  readonly dims?: Dims
}

export interface Node {
  readonly op: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  /** Whole numbers are ints, lists of them too; other numbers floats. */
  readonly attributes?: Readonly<Record<string, number | string | readonly number[] | { readonly float: number } | Weights | Graph>>
}

export interface Graph {
  readonly inputs: Readonly<Record<string, Value>>
  readonly outputs: Readonly<Record<string, Value>>
  readonly weights?: Readonly<Record<string, Weights>>
  readonly nodes: readonly Node[]
}

/** TensorProto.DataType */
const TYPES = { float32: 1, uint8: 2, int8: 3, uint16: 4, int16: 5, int32: 6, int64: 7, string: 8, bool: 9, float16: 10, float64: 11, uint32: 12, uint64: 13, complex64: 14, bfloat16: 16 } as const
/** AttributeProto.AttributeType */
const FLOAT = 1, INT = 2, STRING = 3, TENSOR = 4, GRAPH = 5, INTS = 7

/** The bytes of a model file. */
export function onnxModel(graph: Graph): Buffer {
  const opset = message([[1, ''], [2, 17]])
  return message([[1, 8], [2, 'tensorcache'], [7, graphBytes(graph)], [8, opset]])
}

export function floats(dims: readonly number[], value: (index: number) => number): Weights {
  return { type: 'float32', dims, data: Float32Array.from({ length: dims.reduce((product, extent) => product * extent, 1) }, (_, index) => value(index)) }
}

export function ints(...values: readonly number[]): Weights {
  return { type: 'int64', dims: [values.length], data: BigInt64Array.from(values, BigInt) }
}

function graphBytes({ nodes, inputs, outputs, weights = {} }: Graph): Buffer {
  return message([
    ...nodes.map((node): Field => [1, nodeBytes(node)]),
    [2, 'graph'],
    ...Object.entries(weights).map(([name, array]): Field => [5, tensorBytes(array, name)]),
    ...Object.entries(inputs).map(([name, value]): Field => [11, valueBytes(name, value)]),
    ...Object.entries(outputs).map(([name, value]): Field => [12, valueBytes(name, value)]),
  ])
}

function nodeBytes({ op, inputs, outputs, attributes = {} }: Node): Buffer {
  return message([
    ...inputs.map((name): Field => [1, name]),
    ...outputs.map((name): Field => [2, name]),
    [4, op],
    ...Object.entries(attributes).map(([name, value]): Field => [5, message([[1, name], ...attributeFields(value)])]),
  ])
}

function attributeFields(value: NonNullable<Node['attributes']>[string]): Field[] {
  if (typeof value === 'number') return [[3, value], [20, INT]]
  if (typeof value === 'string') return [[4, value], [20, STRING]]
  if ('float' in value) return [[2, float(value.float)], [20, FLOAT]]
  if ('nodes' in value) return [[6, graphBytes(value)], [20, GRAPH]]
  if ('dims' in value) return [[5, tensorBytes(value, '')], [20, TENSOR]]
  return [...value.map((one): Field => [8, one]), [20, INTS]]
}

function tensorBytes({ type, dims, data, external }: Weights, name: string): Buffer {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  const entry = (key: string, value: string): Field => [13, message([[1, key], [2, value]])]
  const content: Field[] = external === undefined ? [[9, bytes]] : [entry('location', external.location), entry('offset', String(external.offset ?? 0)), entry('length', String(bytes.length)), [14, 1]]
  return message([...dims.map((extent): Field => [1, extent]), [2, TYPES[type]], [8, name], ...content])
}

function valueBytes(name: string, { type, dims }: Value): Buffer {
  const shape = dims?.map((extent): Field => [1, message(extent === undefined ? [] : [typeof extent === 'number' ? [1, extent] : [2, extent]])])
  return message([[1, name], [2, message([[1, message([[1, TYPES[type]], ...(shape === undefined ? [] : [[2, message(shape)] as Field])])]])]])
}

// --- protobuf --------------------------------------------------------------------------------------------------------------

/** A number is a varint, a Float32Array one float, everything else has its length before it. */
type Field = readonly [number: number, value: number | string | Uint8Array | Float32Array]

function float(value: number): Float32Array {
  return Float32Array.of(value)
}

function message(fields: readonly Field[]): Buffer {
  return Buffer.concat(fields.flatMap(([number, value]) => {
    if (typeof value === 'number') return [varint(number * 8), varint(value)]
    if (value instanceof Float32Array) return [varint(number * 8 + 5), Buffer.from(value.buffer)]
    const bytes = typeof value === 'string' ? Buffer.from(value) : value
    return [varint(number * 8 + 2), varint(bytes.length), bytes]
  }))
}

/** Of a negative number the 64 bits of its two's complement. */
function varint(value: number): Buffer {
  const bytes: number[] = []
  for (let rest = BigInt.asUintN(64, BigInt(value)); ; rest >>= 7n) {
    if (rest < 128n) return Buffer.from([...bytes, Number(rest)])
    bytes.push(Number(rest & 127n) | 128)
  }
}
