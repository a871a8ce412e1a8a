import type { DType, TypedArray } from '../../core/dtype.js'
import type { Tensor } from '../../core/tensor.js'

/** Numbers as TensorFlow.js keeps them. They are the array that was given, or a view of its memory, where nothing has to be converted. */

export type TfDType = 'float32' | 'int32' | 'bool'

/** What a dtype becomes where nobody asks for another one. */
export const BECOMES: { readonly [D in DType]: TfDType | 'complex64' } = {
  bool: 'bool', int8: 'int32', uint8: 'int32', int16: 'int32', uint16: 'int32', int32: 'int32', uint32: 'int32', int64: 'int32', uint64: 'int32',
  float16: 'float32', bfloat16: 'float32', float32: 'float32', float64: 'float32', complex64: 'complex64', complex128: 'complex64',
}

/** Throws TypeError with value and place where the target cannot hold a value, float32 rounding of floats aside. */
export function converted(where: string, tensor: Tensor, to: TfDType): Float32Array | Int32Array | Uint8Array {
  if (to === 'float32') return toFloat32(where, tensor)
  return to === 'int32' ? toInt32(where, tensor) : toBool(where, tensor)
}

/** Real and imaginary parts; those of complex128 rounded to the nearest float32. */
export function parts({ data }: Tensor<'complex64'> | Tensor<'complex128'>): { real: Float32Array; imag: Float32Array } {
  const real = new Float32Array(data.length / 2)
  const imag = new Float32Array(data.length / 2)
  for (let i = 0; i < real.length; i++) {
    real[i] = data[2 * i]!
    imag[i] = data[2 * i + 1]!
  }
  return { real, imag }
}

function toFloat32(where: string, tensor: Tensor): Float32Array {
  const { dtype, data } = tensor
  switch (dtype) {
    case 'float32': return data as Float32Array
    case 'float16': return float16(data as Uint16Array)
    case 'bfloat16': return bfloat16(data as Uint16Array)
    case 'int64': case 'uint64': {
      const out = new Float32Array(data.length)
      for (let i = 0; i < out.length; i++) {
        out[i] = Number((data as BigInt64Array)[i]!)
        if (BigInt(out[i]!) !== data[i]) throw misfit(where, tensor, i, 'float32')
      }
      return out
    }
    default: {
      const out = new Float32Array(data as Float64Array)
      if (dtype === 'int32' || dtype === 'uint32') for (let i = 0; i < out.length; i++) if (out[i] !== data[i]) throw misfit(where, tensor, i, 'float32')
      return out
    }
  }
}

function toInt32(where: string, tensor: Tensor): Int32Array {
  const { dtype, data } = tensor
  switch (dtype) {
    case 'int32': return data as Int32Array
    case 'bool': case 'int8': case 'uint8': case 'int16': case 'uint16': return new Int32Array(data as Uint8Array)
    case 'uint32': {
      const words = new Int32Array(data.buffer, data.byteOffset, data.length)
      for (let i = 0; i < words.length; i++) if (words[i]! < 0) throw misfit(where, tensor, i, 'int32')
      return words
    }
    case 'int64': case 'uint64': {
      // As words, low ones first: bigints are made one by one, and take thirty times as long.
      const words = new Int32Array(data.buffer, data.byteOffset, 2 * data.length)
      const out = new Int32Array(data.length)
      for (let i = 0; i < out.length; i++) {
        const low = out[i] = words[2 * i]!
        const high = words[2 * i + 1]!
        if (dtype === 'int64' ? high !== low >> 31 : high !== 0 || low < 0) throw misfit(where, tensor, i, 'int32')
      }
      return out
    }
    default: {
      const numbers = valuesOf(data, dtype)
      const out = new Int32Array(numbers.length)
      for (let i = 0; i < out.length; i++) {
        out[i] = numbers[i]!
        // NaN differs from what is left of it, and so does what is too large or no whole number.
        if (out[i] !== numbers[i]) throw misfit(where, tensor, i, 'int32')
      }
      return out
    }
  }
}

function toBool(where: string, tensor: Tensor): Uint8Array {
  const { dtype, data } = tensor
  if (dtype === 'bool') return data as Uint8Array
  const numbers = valuesOf(data, dtype)
  const out = new Uint8Array(numbers.length)
  for (let i = 0; i < out.length; i++) {
    const value = Number(numbers[i]!)
    if (value !== 0 && value !== 1) throw misfit(where, tensor, i, 'bool')
    out[i] = value
  }
  return out
}

/** The values themselves and not their bits; 64-bit integers stay bigints. */
function valuesOf(data: TypedArray, dtype: DType): Float64Array {
  return (dtype === 'float16' ? float16(data as Uint16Array) : dtype === 'bfloat16' ? bfloat16(data as Uint16Array) : data) as Float64Array
}

/** The 65,536 values there are, as float32, made when the first float16 tensor comes. */
let halves: Float32Array | undefined

function float16(bits: Uint16Array): Float32Array {
  halves ??= Float32Array.from({ length: 2 ** 16 }, (_, code) => {
    const exponent = code >> 10 & 31
    const fraction = code & 1023
    const size = exponent === 0 ? fraction * 2 ** -24 : exponent < 31 ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction === 0 ? Infinity : NaN
    return code < 2 ** 15 ? size : -size
  })
  const out = new Float32Array(bits.length)
  for (let i = 0; i < out.length; i++) out[i] = halves[bits[i]!]!
  return out
}

/** The upper half of a float32's bits. */
function bfloat16(bits: Uint16Array): Float32Array {
  const words = new Uint32Array(bits.length)
  for (let i = 0; i < words.length; i++) words[i] = bits[i]! << 16
  return new Float32Array(words.buffer)
}

function misfit(where: string, tensor: Tensor, index: number, to: TfDType): TypeError {
  const place: number[] = []
  for (let rest = index, k = tensor.shape.length - 1; k >= 0; k--) {
    place.unshift(rest % tensor.shape[k]!)
    rest = Math.floor(rest / tensor.shape[k]!)
  }
  const value = valuesOf(tensor.data, tensor.dtype)[index]!
  const expected = to === 'bool' ? 'is neither 0 nor 1' : `is no ${to}`
  return new TypeError(`${where}: ${tensor.dtype} value ${value} at [${place.join(', ')}] ${expected}; ask for another dtype, or cast it in the recipe, where it is said what becomes of such values`)
}
