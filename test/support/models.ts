import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { floats, ints, onnxModel, type Graph, type Value } from '../../bench/lib/onnx-model.js'

/** Small models, and what they compute, said plainly. */

export const weight = (k: number): number => Math.fround(Math.sin(k + 1) / 3)

export function writeModel(dir: string, graph: Graph, name = 'model.onnx'): string {
  const path = join(dir, name)
  writeFileSync(path, onnxModel(graph))
  return path
}

/** y = relu(x · w + b): x float32 [n, wide], y float32 [n, narrow]. */
export function dense(wide: number, narrow: number, first: number | string = 'n', change = 0): Graph {
  return {
    inputs: { x: { type: 'float32', dims: [first, wide] } },
    outputs: { y: { type: 'float32', dims: [first, narrow] } },
    weights: { w: floats([wide, narrow], (k) => weight(k) + change), b: floats([narrow], (k) => weight(7 * k)) },
    nodes: [{ op: 'MatMul', inputs: ['x', 'w'], outputs: ['m'] }, { op: 'Add', inputs: ['m', 'b'], outputs: ['a'] }, { op: 'Relu', inputs: ['a'], outputs: ['y'] }],
  }
}

export function denseOf(x: ArrayLike<number>, narrow: number, change = 0): number[] {
  const sum = (j: number): number => Array.from(x).reduce((total, value, i) => total + value * (weight(i * narrow + j) + change), weight(7 * j))
  return Array.from({ length: narrow }, (_, j) => Math.max(0, sum(j)))
}

/** Image float32 [n, 1, h, w] to its 3 × 3 means, with the border that zeros make, and the index of the largest. Extents are symbolic. */
export const blurred: Graph = {
  inputs: { image: { type: 'float32', dims: ['n', 1, 'h', 'w'] } },
  outputs: { smooth: { type: 'float32', dims: ['n', 1, 'h', 'w'] }, brightest: { type: 'int64', dims: ['n'] } },
  weights: { k: floats([1, 1, 3, 3], () => 1 / 9), flat: ints(0, -1) },
  nodes: [
    { op: 'Conv', inputs: ['image', 'k'], outputs: ['smooth'], attributes: { kernel_shape: [3, 3], pads: [1, 1, 1, 1] } },
    { op: 'Reshape', inputs: ['smooth', 'flat'], outputs: ['list'] },
    { op: 'ArgMax', inputs: ['list'], outputs: ['brightest'], attributes: { axis: 1, keepdims: 0 } },
  ],
}

export function blurredOf(image: ArrayLike<number>, height: number, width: number): number[] {
  const at = (y: number, x: number): number => y < 0 || x < 0 || y >= height || x >= width ? 0 : image[y * width + x]!
  return Array.from({ length: height * width }, (_, k) => {
    let sum = 0
    for (let dy = -1; dy <= 1; dy++) for (let dx = -1; dx <= 1; dx++) sum += at(Math.floor(k / width) + dy, k % width + dx)
    return sum / 9
  })
}

/** One node from the inputs to the outputs. */
export function single(op: string, inputs: Readonly<Record<string, Value>>, outputs: Readonly<Record<string, Value>>, attributes?: Graph['nodes'][number]['attributes']): Graph {
  return { inputs, outputs, nodes: [{ op, inputs: Object.keys(inputs), outputs: Object.keys(outputs), ...(attributes !== undefined && { attributes }) }] }
}

/** Quantizes all items of a call with one scale, and gives what is left of them. */
export const quantized: Graph = {
  inputs: { x: { type: 'float32', dims: ['n', 4] } },
  outputs: { y: { type: 'float32', dims: ['n', 4] } },
  nodes: [
    { op: 'DynamicQuantizeLinear', inputs: ['x'], outputs: ['q', 'scale', 'zero'] },
    { op: 'DequantizeLinear', inputs: ['q', 'scale', 'zero'], outputs: ['y'] },
  ],
}

/** Its items are divided by the largest number of the call. */
export const normalized: Graph = {
  inputs: { x: { type: 'float32', dims: ['n', 4] } },
  outputs: { y: { type: 'float32', dims: ['n', 4] } },
  nodes: [{ op: 'ReduceMax', inputs: ['x'], outputs: ['top'], attributes: { keepdims: 0 } }, { op: 'Div', inputs: ['x', 'top'], outputs: ['y'] }],
}

/** Sums of an odd number of values: in a call each item begins elsewhere in a register. */
export const summed = (wide: number): Graph => single('ReduceMean', { x: { type: 'float32', dims: ['n', wide] } }, { y: { type: 'float32', dims: ['n', 1] } }, { axes: [1] })
