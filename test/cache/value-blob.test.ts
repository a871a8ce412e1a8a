import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import fc from 'fast-check'
import { encodeSmall, decodeSmall, digestOfValue } from '../../src/cache/value-small.js'
import { valueFrom, valueTensors } from '../../src/cache/value-blob.js'
import { DEPTH_MAX, RANK_MAX } from '../../src/cache/value.js'
import type { DType } from '../../src/core/dtype.js'
import { IntegrityError } from '../../src/core/errors.js'
import { sha256 } from '../../src/core/hash.js'
import { tensorIn } from '../../src/core/tensor.js'
import { readSafetensorsHeader } from '../../src/sources/safetensors-header.js'
import { blobPath, layoutOf, prepareLayout } from '../../src/store/layout.js'
import { MappedBlob } from '../../src/store/mapped-blob.js'
import { encodeBlob } from '../../src/store/shard-format.js'
import { writeBlobFile } from '../../src/store/write-blob.js'
import { tempDir } from '../support/temp.js'
import { anyValue, difference, leavesOf } from './values.js'

const sample = {
  input_ids: Int32Array.of(1, 2, -3), layers: [{ weight: { dtype: 'float16', shape: [1, 2], data: Uint16Array.of(0x3c00, 0) } }, { 'a b': Float64Array.of(NaN) }], spectrum: { dtype: 'complex64', shape: [1], data: Float32Array.of(1, -1) },
  mask: { dtype: 'bool', shape: [], data: Uint8Array.of(1) }, odd: [undefined, NaN, -0, Infinity, -Infinity, 5n, -(2n ** 70n), '\ud800', null], $ref: { $f: 'nan' },
}

function bytesOf(value: unknown): Buffer {
  const { tensors, metadata } = valueTensors(value)
  return Buffer.concat(encodeBlob(tensors, metadata).parts)
}

type Whole = Parameters<typeof valueFrom>[0]

/** What an open blob is to `valueFrom`, in memory. */
function opened(bytes: Buffer): Whole & { memory: ArrayBuffer } {
  const memory = new Uint8Array(bytes).buffer
  const header = readSafetensorsHeader({ path: 'blob', size: bytes.length, view: (offset, length) => memory.slice(offset, offset + length) })
  const tensors = Object.entries(header.tensors).map(([name, { dtype, shape, offset, bytes }]) => {
    const note = header.metadata[`dtype.${name}`] as DType | undefined
    return [name, { dtype: note ?? dtype!, shape: note === undefined ? shape : shape.slice(0, -1), offset, bytes }] as const
  })
  return { path: 'blob', memory, metadata: header.metadata, tensors: new Map(tensors), view: (dtype, shape, offset) => tensorIn(memory, offset, dtype, shape) }
}

describe('values as blobs', () => {
  test('come back exactly, as views', () => {
    fc.assert(fc.property(anyValue, (value) => {
      const bytes = bytesOf(value)
      const blob = opened(bytes)
      const decoded = valueFrom(blob)
      expect(difference(decoded, value)).toBeUndefined()
      expect(leavesOf(decoded).every((leaf) => leaf.buffer === blob.memory)).toBe(true)
      expect(blob.tensors.size).toBe(leavesOf(value).length)
      expect(Buffer.compare(bytesOf(decoded), bytes)).toBe(0)
      expect(Buffer.compare(digestOfValue(decoded), digestOfValue(decodeSmall(encodeSmall(value, Infinity)!)))).toBe(0)
    }), { numRuns: 300 })
  })

  test('name their tensors so that other programs find them', () => {
    const { tensors, metadata } = valueTensors(sample)
    expect(tensors.map(({ name, dtype, shape }) => [name, dtype, shape])).toEqual([['input_ids', 'int32', [3]], ['layers.0.weight', 'float16', [1, 2]], ['#2', 'float64', [1]], ['spectrum', 'complex64', [1]], ['mask', 'bool', []]])
    expect(tensors[0]!.data[0]).toBe(sample.input_ids)
    expect(metadata).toStrictEqual({
      'tensorcache.format': '1', 'tensorcache.kind': 'value',
      'tensorcache.value': '{"$o":[["input_ids",{"$a":"input_ids"}],["layers",[{"weight":{"$t":"layers.0.weight"}},{"a b":{"$a":"#2"}}]],["spectrum",{"$t":"spectrum"}],["mask",{"$t":"mask"}],["odd",[{"$u":true},{"$f":"nan"},{"$f":"-0"},{"$f":"inf"},{"$f":"-inf"},{"$i":"5"},{"$i":"-1180591620717411303424"},"\\ud800",null]],["$ref",{"$o":[["$f","nan"]]}]]}',
    })
    expect(valueTensors(Int8Array.of(1)).tensors[0]!.name).toBe('value')
  })

  test('no two leaves have one name', () => {
    const leaf = Int8Array.of(1)
    const value = { a: { b: leaf, 0: leaf }, 'a.b': leaf, '#1': leaf, 'a.0': leaf, list: [leaf, [leaf]], value: leaf, tensorcache: { value: leaf }, __metadata__: leaf, ['x'.repeat(201)]: leaf, '\ud800': leaf, ['__proto__']: leaf }
    const names = valueTensors(value).tensors.map(({ name }) => name)
    expect(new Set(names).size).toBe(names.length)
    expect(names.every((name) => /^(#\d+|[A-Za-z0-9_.-]{1,200})$/.test(name) && name !== '__metadata__' && !name.startsWith('tensorcache.'))).toBe(true)
    expect(difference(valueFrom(opened(bytesOf(value))), value)).toBeUndefined()
  })

  test('the bytes of a fixed value', () => {
    expect(sha256(bytesOf(sample)).toString('hex'), 'If this fails, values of every existing cache cannot be read. Raise the format instead.').toBe('d6ba96fb00027130c718e054b0c657577a9da9c836b8636b797140fd9f090729')
  })

  test('the most axes there may be', () => {
    const shape = Array.from({ length: RANK_MAX }, () => 1)
    const value = [{ dtype: 'complex128', shape, data: Float64Array.of(1, 2) }, { dtype: 'int8', shape: [2 ** 40, 0], data: new Int8Array(0) }]
    expect(difference(valueFrom(opened(bytesOf(value))), value)).toBeUndefined()
  })

  test('a long tree is a tensor of its own', () => {
    const value = { rows: Array.from({ length: 5000 }, (_, i) => ({ i, text: `ß${i}` })), x: Float32Array.of(1) }
    const blob = opened(bytesOf(value))
    expect(blob.metadata['tensorcache.value']).toBeUndefined()
    expect(blob.tensors.get('tensorcache.value')!.dtype).toBe('uint8')
    expect(difference(valueFrom(blob), value)).toBeUndefined()
  })

  test('through the store: views of the mapped file', async () => {
    const layout = layoutOf(join(tempDir(), 'cache'))
    mkdirSync(layout.dir)
    prepareLayout(layout)
    for (const value of [sample, Float32Array.from({ length: 50_000 }, (_, i) => i), { empty: new Float64Array(0), text: 'x'.repeat(40_000) }]) {
      const { tensors, metadata } = valueTensors(value)
      const written = await writeBlobFile(layout, 'a', encodeBlob(tensors, metadata), { chunkBytes: 65536, admit: () => undefined })
      const blob = await MappedBlob.open(blobPath(layout, written.digest), written.digest, written, written.checksums)
      const decoded = valueFrom(await blob.whole())
      expect(difference(decoded, value)).toBeUndefined()
      expect(new Set(leavesOf(decoded).map((leaf) => leaf.buffer)).size).toBe(1)
      expect(leavesOf(decoded)[0]!.buffer.byteLength).toBe(written.bytes)
      blob.close()
    }
  })
})

describe('a blob that is sound and holds no sound value', () => {
  const deep = (levels: number): string => '['.repeat(levels) + ']'.repeat(levels)
  const tree = (value: string, more: Record<string, string> = {}): Whole => opened(Buffer.concat(encodeBlob(
    [{ name: 'x', dtype: 'float16', shape: [1], data: [Uint16Array.of(0)] }, { name: 'm', dtype: 'int8', shape: [1, 1], data: [Int8Array.of(0)] }],
    { 'tensorcache.format': '1', 'tensorcache.kind': 'value', 'tensorcache.value': value, ...more }).parts))
  const cases: [string, Whole, string][] = [
    ['a shard', tree('1', { 'tensorcache.kind': 'shard' }), 'holds no value of format 1'],
    ['another format', tree('1', { 'tensorcache.format': '2' }), 'holds no value of format 1'],
    ['no JSON', tree('{'), 'the tree is no JSON'],
    ['a missing tensor', tree('{"$a":"y"}'), 'there is no tensor y'],
    ['half floats as an array', tree('{"$a":"x"}'), 'tensor x is no plain array'],
    ['a matrix as an array', tree('{"$a":"m"}'), 'tensor m is no plain array'],
    ['an unknown tag', tree('[{"$z":1}]'), 'an unknown tag ($z)'],
    ['a tag with company', tree('{"$f":"nan","b":1}'), 'an unknown tag ($f, b)'],
    ['an unknown float', tree('{"$f":"toString"}'), 'an unknown tag'],
    ['an integer that is none', tree('{"$i":"0x10"}'), 'an unknown tag'],
    ['an entry that is no pair', tree('{"$o":[["a"]]}'), 'an entry that is no pair'],
    ['too many levels', tree(deep(DEPTH_MAX + 2)), `more than ${DEPTH_MAX} levels`],
    ['no tree', (() => { const blob = tree('1'); return { ...blob, metadata: { 'tensorcache.format': '1', 'tensorcache.kind': 'value' } } })(), 'there is no tensor tensorcache.value'],
  ]
  test.each(cases)('%s', (_, blob, message) => {
    expect(() => valueFrom(blob)).toThrow(IntegrityError)
    expect(() => valueFrom(blob)).toThrow(message)
    expect(() => valueFrom(blob)).toThrow(expect.objectContaining({ file: 'blob' }))
  })

  test('any changed byte of the tree gives some value or an IntegrityError', () => {
    const { metadata } = valueTensors(sample)
    const text = metadata['tensorcache.value']!
    const blob = opened(bytesOf(sample))
    for (let at = 0; at < text.length; at++) {
      for (const replacement of ['', '"', '{', ']', '$', '0', ',', '\ud800']) {
        try {
          const value = valueFrom({ ...blob, metadata: { ...metadata, 'tensorcache.value': text.slice(0, at) + replacement + text.slice(at + 1) } })
          expect(leavesOf(value).every((leaf) => leaf.buffer === blob.memory)).toBe(true)
        } catch (error) {
          expect(error).toBeInstanceOf(IntegrityError)
        }
      }
    }
  })
})
