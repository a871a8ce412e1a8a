import { emptyTensor, type Tensor } from './tensor.js'

/** Rows `start … stop` of axis 0, as a view. */
export function rowsOf(tensor: Tensor, start: number, stop: number): Tensor {
  const [rows, ...shape] = tensor.shape as [number, ...number[]]
  const length = rows === 0 ? 0 : tensor.data.length / rows
  return { dtype: tensor.dtype, shape: [stop - start, ...shape], data: tensor.data.subarray(start * length, stop * length) } as Tensor
}

/** Row `row` of axis 0 without that axis, as a view. */
export function rowOf(tensor: Tensor, row: number): Tensor {
  const { dtype, shape, data } = rowsOf(tensor, row, row + 1)
  return { dtype, shape: shape.slice(1), data } as Tensor
}

/** Tensors of one dtype and shape along a new axis 0, copied. There must be at least one. */
export function stackRows(tensors: readonly Tensor[]): Tensor {
  const { dtype, shape, data } = tensors[0]!
  const stacked = emptyTensor(dtype, [tensors.length, ...shape])
  tensors.forEach((tensor, i) => (stacked.data as Uint8Array).set(tensor.data as Uint8Array, i * data.length))
  return stacked
}
