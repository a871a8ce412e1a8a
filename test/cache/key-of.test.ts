import { describe, expect, test } from 'vitest'
import fc from 'fast-check'
import { keyOf } from '../../src/index.js'
import { canonicalJson } from '../../src/core/canonical.js'

const PINNED = 'If this fails, every key that callers made with keyOf leads nowhere. Raise VERSION in key-of.ts on purpose instead.'
const config = { tokenizer: 'llama-2-7b', maxLength: 2048 }
const ids = Int32Array.of(1, 2, -3)

describe('keyOf', () => {
  test('makes these keys', () => {
    expect(keyOf(config, { prefix: 'tokenized' }), PINNED).toBe('tokenized_c654de0e51867c61')
    expect(keyOf(config, { prefix: 'tokenized', content: 'a text, ß' }), PINNED).toBe('tokenized_c654de0e51867c61_b3704146a27d9cae')
    expect(keyOf({ a: [1, -0, 1e21, Infinity, 2n ** 70n, null, true], weights: Float32Array.of(0.5, 1) }), PINNED).toBe('95ee3a91d206db46')
    expect(keyOf(config, { content: ids }), PINNED).toBe('c654de0e51867c61_c8fb581d2506af90')
  })

  test('have a prefix if wanted, and 16 hex digits per part', () => {
    expect(keyOf(config)).toMatch(/^[0-9a-f]{16}$/)
    expect(keyOf(config, { prefix: 'p' })).toBe(`p_${keyOf(config)}`)
    expect(keyOf(config, { prefix: 'p', content: '' })).toMatch(new RegExp(`^p_${keyOf(config)}_[0-9a-f]{16}$`))
  })

  test('do not depend on the order of names, on names without a value, or on how bytes are held', () => {
    expect(keyOf({ maxLength: 2048, padding: undefined, tokenizer: 'llama-2-7b' })).toBe(keyOf(config))
    expect(keyOf(Object.assign(Object.create(null) as object, config))).toBe(keyOf(config))
    expect(keyOf({ n: 2n })).toBe(keyOf({ n: 2 }))
    expect(keyOf({ w: new Float32Array(Float32Array.of(9, 1, 2).buffer, 4) })).toBe(keyOf({ w: Float32Array.of(1, 2) }))
    const text = 'ß and more'
    const bytes = Buffer.from(text)
    for (const content of [bytes, new Uint8Array(bytes), new Uint8Array(bytes).buffer]) expect(keyOf(config, { content })).toBe(keyOf(config, { content: text }))
    expect(keyOf(config, { content: { dtype: 'int32', shape: [3], data: ids } })).toBe(keyOf(config, { content: ids }))
  })

  test('differ where the configurations or contents differ', () => {
    const configs: unknown[] = [
      {}, [], null, '', 0, -0, true, 'true', 1, '1', [1], [[1]], [1, 1], { a: 1 }, { a: '1' }, { a: { a: 1 } }, { A: 1 }, { a: null }, { a: Infinity }, { a: 'inf' }, 2n ** 53n + 1n, 2n ** 53n + 2n,
      { a: Int8Array.of(1) }, { a: Uint8Array.of(1) }, { a: Int16Array.of(1) }, { a: Uint16Array.of(1) }, { a: Uint16Array.of(256) }, { a: { dtype: 'float16', shape: [1], data: Uint16Array.of(1) } },
      { a: { dtype: 'bfloat16', shape: [1], data: Uint16Array.of(1) } }, { a: { dtype: 'float16', shape: [1, 1], data: Uint16Array.of(1) } }, config,
    ]
    expect(new Set(configs.map((each) => keyOf(each))).size).toBe(configs.length)
    const contents = ['', 'a', Int8Array.of(97), Uint16Array.of(97), { dtype: 'uint8', shape: [1], data: Uint8Array.of(97) }, { dtype: 'bool', shape: [1], data: Uint8Array.of(97) }, { dtype: 'uint8', shape: [1, 1], data: Uint8Array.of(97) }] as const
    expect(new Set(contents.map((content) => keyOf(config, { content }))).size).toBe(contents.length)
  })

  test('shuffled names give the same canonical form', () => {
    fc.assert(fc.property(fc.jsonValue(), (value) => {
      const reversed = (each: unknown): unknown => Array.isArray(each) ? each.map(reversed)
        : typeof each === 'object' && each !== null ? Object.fromEntries(Object.entries(each).reverse().map(([name, member]) => [name, reversed(member)])) : each
      let key: string
      try {
        key = keyOf(value)
      } catch {
        expect(() => keyOf(reversed(value))).toThrow(TypeError)
        return
      }
      expect(keyOf(reversed(value))).toBe(key)
    }), { numRuns: 200 })
  })

  test('a large array counts whole', () => {
    const large = new Uint8Array(2 ** 20)
    const before = keyOf({ large })
    large[2 ** 20 - 1] = 1
    expect(keyOf({ large })).not.toBe(before)
  })

  class Schedule { steps = 1 }
  const loop: unknown[] = []
  loop.push({ loop })
  const deep = (levels: number): unknown => levels === 0 ? 1 : [deep(levels - 1)]
  const unstable: [unknown, string][] = [
    [{ schedule: { steps: [1, 2, 3, () => 4] } }, 'keyOf: config.schedule.steps[3] is a function, which has no stable form'],
    [{ a: Symbol('s') }, 'keyOf: config.a is a symbol, which has no stable form'],
    [{ [Symbol('s')]: 1 }, 'keyOf: config is an object with a symbol for a name'],
    [{ when: new Date(0) }, 'keyOf: config.when is an instance of Date, which has no stable form for a key; pass date.toISOString()'],
    [{ 'a b': new Map() }, 'keyOf: config["a b"] is an instance of Map, which has no stable form for a key; pass Object.fromEntries(map)'],
    [{ a: new Set([1]) }, 'keyOf: config.a is an instance of Set, which has no stable form for a key; pass [...set]'],
    [{ a: [new Schedule()] }, 'keyOf: config.a[0] is an instance of Schedule'],
    [{ a: /x/ }, 'keyOf: config.a is an instance of RegExp'],
    [{ a: Promise.resolve() }, 'keyOf: config.a is an instance of Promise'],
    [{ lr: NaN }, 'keyOf: config.lr is NaN'],
    [{ a: [1, undefined] }, 'keyOf: config.a[1] is undefined'],
    [{ a: Object.assign([1], { 2: 3 }) }, 'keyOf: config.a[1] is undefined'],
    [undefined, 'keyOf: config is undefined'],
    [loop, 'keyOf: config[0].loop is a reference to itself'],
    [deep(501), 'is nested deeper than 500 levels'],
    [{ $schema: 'x' }, 'keyOf: config.$schema is a name that begins with $'],
    [{ a: '\ud800' }, 'keyOf: config.a is a string with a lone surrogate'],
    [{ '\ud800': 1 }, 'keyOf: config is a name with a lone surrogate'],
    [{ a: new DataView(new ArrayBuffer(1)) }, 'keyOf: config.a is an instance of DataView'],
    [{ a: new Uint8ClampedArray(1) }, 'keyOf: config.a is an instance of Uint8ClampedArray'],
  ]
  test.each(unstable)('refuses %#', (value, message) => {
    expect(() => keyOf(value)).toThrow(TypeError)
    expect(() => keyOf(value)).toThrow(message)
  })

  const misuse: [Record<string, unknown>, string][] = [
    [{ prefx: 'a' }, 'keyOf: misspelled option "prefx" should be "prefix"'],
    [{ prefix: '' }, 'keyOf: prefix must be a text that is not empty, not ""'],
    [{ prefix: 7 }, 'keyOf: prefix must be a text that is not empty, not 7'],
    [{ content: 7 }, 'keyOf: content must be a text, bytes, a typed array or a tensor, not a number'],
    [{ content: null }, 'not null'],
    [{ content: [1, 2] }, 'not an array'],
    [{ content: { dtype: 'float32', shape: [1] } }, 'not an object'],
    [{ content: new Date() }, 'not an instance of Date'],
    [{ content: '\udc00' }, 'keyOf: content is a string with a lone surrogate'],
    [{ content: { dtype: 'float32', shape: [3], data: new Float32Array(2) } }, 'keyOf: content is a float32 tensor of shape [3], whose data are 3 numbers, not 2'],
    [{ content: { dtype: 'float16', shape: [2], data: new Float32Array(2) } }, 'keyOf: content is a float16 tensor, whose data lies in a Uint16Array, not in a Float32Array'],
    [{ content: { dtype: 'int8', shape: [-1], data: new Int8Array(1) } }, 'keyOf: content has the shape [-1], which is none'],
  ]
  test.each(misuse)('refuses options %#', (options, message) => {
    expect(() => keyOf({}, options)).toThrow(TypeError)
    expect(() => keyOf({}, options)).toThrow(message)
  })
})

test('canonical JSON is what it was', () => {
  expect(canonicalJson({ b: [NaN, Infinity, -Infinity, -0, 2n ** 60n, 5n, Buffer.from('hi')], a: { ä: 'ß', '': null }, u: undefined }))
    .toBe('{"a":{"":null,"ä":"ß"},"b":[{"$f":"nan"},{"$f":"inf"},{"$f":"-inf"},{"$f":"-0"},{"$i":"1152921504606846976"},5,{"$b":"aGk="}]}')
  expect(() => canonicalJson({ a: new Float32Array(1) })).toThrow('$.a is an instance of Float32Array, which has no stable form for a key')
})
