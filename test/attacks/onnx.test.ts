import { describe, expect, test } from 'vitest'
import { floats, onnxModel, type Graph } from '../../bench/lib/onnx-model.js'
import { factsOf } from '../../src/adapters/onnx/model-facts.js'
import { TensorCacheError } from '../../src/core/errors.js'
import { blurred, dense, single } from '../support/models.js'

/** What it says of a file: facts, or one of the library's errors. Anything else is a fault of the reader. */
function read(bytes: Uint8Array): string {
  try {
    return `${factsOf('x.onnx', bytes).inputs.length} inputs`
  } catch (error) {
    if (error instanceof TensorCacheError) return error.code
    throw error
  }
}

/** A varint of ten bytes, 2^64 - 1. */
const HUGE = [255, 255, 255, 255, 255, 255, 255, 255, 255, 1]

describe('a model\'s file', () => {
  test.each<[string, number[], RegExp]>([
    ['a length beyond its end', [0x08, 8, 0x3a, 100, 1], /a field of 100 bytes where 1 are left/],
    ['a length beyond all memory', [0x08, 8, 0x3a, ...HUGE], /a field of 18446744073709552000 bytes where 0 are left/],
    ['a number without an end', [0x08, 255], /ends within a number/],
    ['a number of eleven bytes', [0x08, ...Array.from({ length: 11 }, () => 255)], /a number of more than 10 bytes/],
    ['the field 0', [0x00, 1], /a field with the number 0/],
    ['a group', [0x08, 8, 0x3b], /a field of wire type 3/],
    ['a graph that is a number', [0x08, 8, 0x38, 1], /a number where a message must be/],
    ['no graph', [0x08, 8], /a file without a graph/],
    ['nothing', [], /a file without a graph/],
  ])('with %s is none', (_what, bytes, found) => {
    expect(() => factsOf('x.onnx', Uint8Array.from(bytes))).toThrow(expect.objectContaining({ code: 'E_FORMAT', found: expect.stringMatching(found) as string }) as Error)
  })

  test('graphs in graphs have an end', () => {
    let graph: Graph = dense(2, 2)
    for (let depth = 0; depth < 40; depth++) graph = { inputs: {}, outputs: {}, nodes: [{ op: 'If', inputs: ['c'], outputs: ['y'], attributes: { then_branch: graph } }] }
    expect(() => factsOf('x.onnx', onnxModel(graph))).toThrow(/graphs nested deeper than 32/)
  })

  test('weights elsewhere are found wherever they are', () => {
    const away = { ...floats([2], () => 1), external: { location: 'far.bin' } }
    const inner: Graph = { inputs: {}, outputs: { y: { type: 'float32', dims: [2] } }, nodes: [{ op: 'Constant', inputs: [], outputs: ['y'], attributes: { value: away } }] }
    const outer: Graph = { ...single('If', { c: { type: 'bool', dims: [1] } }, { y: { type: 'float32', dims: [2] } }, { then_branch: inner }) }
    expect(factsOf('x.onnx', onnxModel(outer))).toMatchObject({ external: ['far.bin'], ops: new Set(['If', 'Constant']) })
    expect(factsOf('x.onnx', onnxModel({ ...dense(2, 1), weights: { w: { ...away, external: { location: 'near.bin' } }, b: away } })).external).toEqual(['far.bin', 'near.bin'])
  })

  test('cut anywhere, and with any byte changed, is facts or an error', () => {
    for (const graph of [dense(3, 2), blurred]) {
      const bytes = onnxModel(graph)
      for (let length = 0; length < bytes.length; length++) expect(read(bytes.subarray(0, length))).toMatch(/^(E_FORMAT|\d inputs)$/)
      for (let at = 0; at < bytes.length; at++) {
        for (const flip of [1, 8, 64, 128, 255]) {
          const changed = Uint8Array.from(bytes)
          changed[at]! ^= flip
          expect(read(changed)).toMatch(/^(E_FORMAT|E_UNSUPPORTED|\d inputs)$/)
        }
      }
    }
  })
})
