import { describe, expect, test } from 'vitest'
import { UnsupportedError } from '../../src/core/errors.js'
import { random } from '../sources/random.js'
import { file, pattern, safetensorsBytes, safetensorsRaw } from '../sources/write.js'
import { expectRefused, use } from './refuse.js'

const DATA = Buffer.alloc(24)
const raw = (header: string | Uint8Array, data: Uint8Array = DATA, length?: bigint): string => file('x.safetensors', safetensorsRaw(header, data, 1, length))
const tensor = (facts: object = {}): string => JSON.stringify({ x: { dtype: 'F32', shape: [2, 3], data_offsets: [0, 24], ...facts } })

test('the file these attacks start from is sound', () => use(raw(tensor())))

describe('.safetensors: the header', () => {
  test('cut in its length', () => expectRefused(file('x.safetensors', Buffer.from([1, 2, 3])), /length/))
  test('longer than the file', () => expectRefused(raw(tensor(), DATA, 1000n), /length/))
  test('over the limit', () => expectRefused(raw(tensor(), DATA, 100_000_001n), /length/))
  test('of 2^64 - 1 bytes', () => expectRefused(raw(tensor(), DATA, 2n ** 64n - 1n), /length/))
  test('of no bytes', () => expectRefused(raw('', DATA), /header/))
  test('shorter than its text', () => expectRefused(raw(tensor(), DATA, 20n), /JSON/))
  test('that begins with a space', () => expectRefused(raw(` ${tensor()}`), /header/))
  test('that begins with a byte order mark', () => expectRefused(raw(`\ufeff${tensor()}`), /header/))
  test('that is no object', () => expectRefused(raw('[1]'), /header/))
  test('that is no JSON', () => expectRefused(raw('{"x": }'), /JSON/))
  test('with text after it', () => expectRefused(raw(`${tensor()}x`), /JSON/))
  test('that is no UTF-8', () => expectRefused(raw(Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d])), /UTF-8/))
  test('nested 100,000 deep', () => expectRefused(raw(`{"x":${'['.repeat(100_000)}${']'.repeat(100_000)}}`), /tensor|JSON/))
  test('a name twice', () => expectRefused(raw('{"x":{"dtype":"U8","shape":[12],"data_offsets":[0,12]},"x":{"dtype":"U8","shape":[12],"data_offsets":[12,24]}}'), /twice/))
  test('a name twice, once escaped', () => expectRefused(raw('{"x":{"dtype":"U8","shape":[12],"data_offsets":[0,12]},"\\u0078":{"dtype":"U8","shape":[12],"data_offsets":[12,24]}}'), /twice/))
  test('a key of a tensor twice', () => expectRefused(raw('{"x":{"dtype":"U8","dtype":"F32","shape":[2,3],"data_offsets":[0,24]}}'), /twice/))
  test('the same key in two tensors is sound', () => use(file('x.safetensors', safetensorsBytes({ a: pattern('int8', [3]), b: pattern('int8', [3]) }, { 'a"{': '}' }))))
})

describe('.safetensors: metadata', () => {
  test('with a number', () => expectRefused(raw('{"__metadata__":{"a":1}}', Buffer.alloc(0)), /__metadata__/))
  test('with an object', () => expectRefused(raw('{"__metadata__":{"a":{}}}', Buffer.alloc(0)), /__metadata__/))
  test('null', () => expectRefused(raw('{"__metadata__":null}', Buffer.alloc(0)), /__metadata__/))
  test('of twelve megabytes of quotes and escapes is sound, and names behind it are still looked at', async () => {
    const long = JSON.stringify(`${'"\\'.repeat(3 * 2 ** 20)}{"a":`)
    await use(raw(`{"__metadata__":{"a":${long}},"x":{"dtype":"U8","shape":[24],"data_offsets":[0,24]}}`))
    await expectRefused(raw(`{"__metadata__":{"a":${long},"b":"\\\\","a":""}}`, Buffer.alloc(0)), /twice/, undefined, use)
  })
  test('a list', () => expectRefused(raw('{"__metadata__":["a"]}', Buffer.alloc(0)), /__metadata__/))
})

describe('.safetensors: tensors', () => {
  const facts: Record<string, object> = {
    'negative offsets': { data_offsets: [-24, 0] },
    'offsets turned round': { data_offsets: [24, 0] },
    'offsets beyond the data': { data_offsets: [0, 25] },
    'offsets of 2^63': { data_offsets: [0, 2 ** 63] },
    'offsets that are no integers': { data_offsets: [0.5, 24.5] },
    'offsets as text': { data_offsets: ['0', '24'] },
    'one offset': { data_offsets: [24] },
    'three offsets': { data_offsets: [0, 12, 24] },
    'a shape that says more': { shape: [2, 4] },
    'a shape that says less': { shape: [2, 2] },
    'a negative shape': { shape: [-2, -3] },
    'a shape whose product wraps to the right size': { shape: [2 ** 52, 2 ** 52, 6] },
    'a shape that is no array': { shape: 6 },
    'a shape of text': { shape: ['2', '3'] },
    'a shape with null': { shape: [null] },
    '65 axes': { shape: [...Array<number>(64).fill(1), 6] },
    'an element type in small letters': { dtype: 'f32' },
    'no element type': { dtype: null },
    'a key too many': { extra: 1 },
  }
  for (const [name, fact] of Object.entries(facts)) test(name, () => expectRefused(raw(tensor(fact)), /tensor "x"/))
  test('null', () => expectRefused(raw('{"x":null}'), /tensor "x"/))
  test('a key missing', () => expectRefused(raw('{"x":{"dtype":"F32","shape":[2,3]}}'), /tensor "x"/))
  test('of types that are not read', async () => {
    for (const dtype of ['F8_E4M3', 'F8_E5M2', 'F4', 'C64']) await expectRefused(raw(tensor({ dtype })), /tensor "x"/, UnsupportedError)
  })
})

describe('.safetensors: layout', () => {
  const two = (a: [number, number], b: [number, number], data = DATA): string => raw(JSON.stringify({ a: { dtype: 'U8', shape: [a[1] - a[0]], data_offsets: a }, b: { dtype: 'U8', shape: [b[1] - b[0]], data_offsets: b } }), data)
  test('in any order is sound', () => use(two([12, 24], [0, 12])))
  test('empty tensors where others begin or end are sound', async () => {
    await use(two([0, 0], [0, 24]))
    await use(two([24, 24], [0, 24]))
  })
  test('an empty tensor inside another', () => expectRefused(two([12, 12], [0, 24]), /data_offsets/))
  test('a name of a megabyte does not fill the message', async () => {
    const path = raw(JSON.stringify({ ['n'.repeat(2 ** 20)]: 1 }))
    await expect(use(path)).rejects.toSatisfy((error: Error) => error.message.length < 1000)
  })
  test('overlap', () => expectRefused(two([0, 13], [12, 24]), /data_offsets/))
  test('one tensor twice', () => expectRefused(two([0, 24], [0, 24]), /data_offsets/))
  test('a hole', () => expectRefused(two([0, 11], [12, 24]), /data_offsets/))
  test('a hole at the start', () => expectRefused(raw(tensor({ data_offsets: [1, 25] }), Buffer.alloc(25)), /data_offsets/))
  test('bytes behind the last tensor', () => expectRefused(raw(tensor(), Buffer.alloc(25)), /data/))
  test('data cut off', () => expectRefused(raw(tensor(), Buffer.alloc(23)), /data_offsets/))
  test('data without tensors', () => expectRefused(raw('{}'), /data/))
})

test('.safetensors: any bytes changed, or any cut, is read or refused, never worse', async () => {
  const whole = safetensorsBytes({ a: pattern('float32', [2, 3]), b: pattern('int16', [4]) }, { k: 'v' })
  const draw = random(33)
  for (let k = 0; k < 600; k++) {
    let bytes = Buffer.from(whole)
    if (k % 4 === 0) bytes = bytes.subarray(0, draw(bytes.length))
    else for (let times = 1 + draw(3); times > 0; times--) bytes[draw(bytes.length - 30)] = draw(2) === 0 ? draw(256) : 0x20 + draw(96)
    await use(file('x.safetensors', bytes)).catch((error: { code?: string }) => { expect(['E_FORMAT', 'E_UNSUPPORTED'], String(error)).toContain(error.code) })
  }
})
