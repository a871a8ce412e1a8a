/** Element types. `float16` and `bfloat16` travel as their bits, complex numbers interleaved (re, im). */
export type DType =
  | 'bool' | 'int8' | 'uint8' | 'int16' | 'uint16' | 'int32' | 'uint32' | 'int64' | 'uint64'
  | 'float16' | 'bfloat16' | 'float32' | 'float64' | 'complex64' | 'complex128'

/** Arrays that tensors' elements lie in. */
export type TypedArray =
  | Int8Array | Uint8Array | Int16Array | Uint16Array | Int32Array | Uint32Array
  | BigInt64Array | BigUint64Array | Float32Array | Float64Array

/** The array that holds a dtype's elements, the same on every Node version. */
export interface DTypeArrays {
  /** 0 or 1, a byte each. */
  bool: Uint8Array
  /** -128 to 127. */
  int8: Int8Array
  /** 0 to 255; also bytes and UTF-8. */
  uint8: Uint8Array
  /** -32,768 to 32,767. */
  int16: Int16Array
  /** 0 to 65,535. */
  uint16: Uint16Array
  /** -2^31 to 2^31 - 1. */
  int32: Int32Array
  /** 0 to 2^32 - 1. */
  uint32: Uint32Array
  /** Bigints. */
  int64: BigInt64Array
  /** Bigints. */
  uint64: BigUint64Array
  /** The bits of IEEE half precision: Node 20 has no Float16Array. */
  float16: Uint16Array
  /** The bits: those of float32 without the lower half. */
  bfloat16: Uint16Array
  /** IEEE single precision. */
  float32: Float32Array
  /** IEEE double precision. */
  float64: Float64Array
  /** Pairs of float32: real, imaginary. */
  complex64: Float32Array
  /** Pairs of float64: real, imaginary. */
  complex128: Float64Array
}

type ArrayConstructor = { new(buffer: ArrayBufferLike, byteOffset?: number, length?: number): TypedArray; readonly BYTES_PER_ELEMENT: number; readonly name: string }

export interface DTypeInfo {
  /** Number that stands for the dtype in native code and kernels; never reused. */
  readonly code: number
  /** Bytes per element. */
  readonly size: number
  readonly kind: 'bool' | 'int' | 'uint' | 'float' | 'complex'
  readonly array: ArrayConstructor
}

export const DTYPES: { readonly [D in DType]: DTypeInfo } = {
  bool: { code: 0, size: 1, kind: 'bool', array: Uint8Array },
  int8: { code: 1, size: 1, kind: 'int', array: Int8Array },
  uint8: { code: 2, size: 1, kind: 'uint', array: Uint8Array },
  int16: { code: 3, size: 2, kind: 'int', array: Int16Array },
  uint16: { code: 4, size: 2, kind: 'uint', array: Uint16Array },
  int32: { code: 5, size: 4, kind: 'int', array: Int32Array },
  uint32: { code: 6, size: 4, kind: 'uint', array: Uint32Array },
  int64: { code: 7, size: 8, kind: 'int', array: BigInt64Array },
  uint64: { code: 8, size: 8, kind: 'uint', array: BigUint64Array },
  float16: { code: 9, size: 2, kind: 'float', array: Uint16Array },
  bfloat16: { code: 10, size: 2, kind: 'float', array: Uint16Array },
  float32: { code: 11, size: 4, kind: 'float', array: Float32Array },
  float64: { code: 12, size: 8, kind: 'float', array: Float64Array },
  complex64: { code: 13, size: 8, kind: 'complex', array: Float32Array },
  complex128: { code: 14, size: 16, kind: 'complex', array: Float64Array },
}

const OF_ARRAYS: Readonly<Record<string, DType>> = {
  Int8Array: 'int8', Uint8Array: 'uint8', Int16Array: 'int16', Uint16Array: 'uint16', Int32Array: 'int32', Uint32Array: 'uint32',
  BigInt64Array: 'int64', BigUint64Array: 'uint64', Float32Array: 'float32', Float64Array: 'float64',
}
/** The class of a typed array whatever realm, subclass or `Symbol.toStringTag` it has; undefined for everything else. */
const classOf = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype) as object, Symbol.toStringTag)!.get!

/** The dtype a typed array has by its class (Uint16Array is uint16, not float16); undefined for what holds no dtype's elements. */
export function dtypeOf(value: object): DType | undefined {
  const name = classOf.call(value) as string | undefined
  return name === undefined ? undefined : OF_ARRAYS[name]
}

/** The dtype that `dtypeOf` gives for the arrays of this one. */
export function arrayDType(dtype: DType): DType {
  return OF_ARRAYS[DTYPES[dtype].array.name]!
}

export function isDType(name: unknown): name is DType {
  return typeof name === 'string' && Object.hasOwn(DTYPES, name)
}

/** Bytes per element. */
export function sizeOf(dtype: DType): number {
  return DTYPES[dtype].size
}

/** True for every dtype that is not complex; these can be cast into each other. */
export function isReal(dtype: DType): boolean {
  return DTYPES[dtype].kind !== 'complex'
}

/** True where NaN and infinity exist. */
export function isFloating(dtype: DType): boolean {
  const kind = DTYPES[dtype].kind
  return kind === 'float' || kind === 'complex'
}
