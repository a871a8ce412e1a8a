import { describe, expect, test } from 'vitest'
import fc from 'fast-check'
import { checkMetadata, decodeMetadata, encodeMetadata, isValidFor, type Metadata } from '../../src/cache/metadata.js'

const full: Metadata = { version: '2', sourceHash: 'a1', tokenizerHash: 'b2', transformHash: 'c3', configHash: 'd4', numItems: 10, extra: { lr: 0.1, layers: [1, { n: 2 }], opt: { name: 'adam', eps: 1e-8 } } }

describe('metadata', () => {
  test('comes back as it went in', () => {
    expect(decodeMetadata(encodeMetadata(checkMetadata('put', full)))).toStrictEqual(full)
    fc.assert(fc.property(fc.dictionary(fc.string(), fc.jsonValue()), (extra) => {
      const checked = checkMetadata('put', { extra })
      expect(decodeMetadata(encodeMetadata(checked))).toStrictEqual(checked)
      expect(isValidFor(checked, { extra } as Metadata).valid).toBe(true)
    }), { numRuns: 100 })
  })

  test('is a copy without what is undefined', () => {
    const extra = { list: [1], gone: undefined, zero: -0 }
    const checked = checkMetadata('put', { version: undefined, extra })
    extra.list.push(2)
    expect(checked).toStrictEqual({ extra: { list: [1], zero: 0 } })
  })

  const refused: [unknown, string][] = [
    [null, 'put: metadata must be an object, not null'],
    [[], 'put: metadata must be an object, not an array'],
    [new Map(), 'put: metadata must be an object, not an instance of Map'],
    [{ tokeniserHash: 'x' }, 'put: metadata: misspelled option "tokeniserHash" should be "tokenizerHash"'],
    [{ version: '' }, 'put: metadata.version must be a text or a number'],
    [{ version: NaN }, 'put: metadata.version must be a text or a number, not NaN'],
    [{ sourceHash: 5 }, 'put: metadata.sourceHash must be a text that is not empty, not 5'],
    [{ numItems: -1 }, 'put: metadata.numItems must be an integer'],
    [{ numItems: 1.5 }, 'put: metadata.numItems must be an integer'],
    [{ extra: [] }, 'put: metadata.extra must be an object, not an array'],
    [{ extra: { a: [1, NaN] } }, 'put: metadata.extra.a[1] is NaN, which JSON cannot say'],
    [{ extra: { a: 1n } }, 'put: metadata.extra.a is a bigint, which JSON cannot say; pass a string'],
    [{ extra: { a: [undefined] } }, 'put: metadata.extra.a[0] is undefined'],
    [{ extra: { when: new Date() } }, 'put: metadata.extra.when is an instance of Date, which JSON cannot say; pass date.toISOString()'],
    [{ extra: { w: new Float32Array(1) } }, 'put: metadata.extra.w is an instance of Float32Array'],
  ]
  test.each(refused)('refuses %#', (given, message) => {
    expect(() => checkMetadata('put', given)).toThrow(TypeError)
    expect(() => checkMetadata('put', given)).toThrow(message)
  })

  test('refuses an object within itself', () => {
    const extra: Record<string, unknown> = {}
    extra.extra = extra
    expect(() => checkMetadata('put', { extra })).toThrow('or within itself')
  })

  test.each(['', '[]', '{"version":true}', '{"other":1}', '{'])('damaged metadata %j is an IntegrityError', (text) => {
    expect(() => decodeMetadata(text, 'the/index')).toThrow(expect.objectContaining({ code: 'E_INTEGRITY', file: 'the/index' }))
  })
})

describe('isValidFor', () => {
  test('compares what is expected, and nothing else', () => {
    expect(isValidFor(full, {})).toStrictEqual({ valid: true, reasons: [] })
    expect(isValidFor(full, full).valid).toBe(true)
    expect(isValidFor(full, { tokenizerHash: 'b2', extra: { opt: { name: 'adam' } } }).valid).toBe(true)
    expect(isValidFor(undefined, {}).valid).toBe(true)
  })

  test('names the differences', () => {
    expect(isValidFor(full, { version: 2, tokenizerHash: 'b3', extra: { lr: 0.2, opt: { eps: 1e-9, 'a b': 1 }, layers: [1, { n: 2, m: 3 }] } }).reasons).toEqual([
      'version: expected 2, found "2"', 'tokenizerHash: expected "b3", found "b2"', 'extra.lr: expected 0.2, found 0.1', 'extra.opt.eps: expected 1e-9, found 1e-8',
      'extra.opt["a b"]: expected 1, found nothing', 'extra.layers: expected [1,{"n":2,"m":3}], found [1,{"n":2}]',
    ])
    expect(isValidFor(undefined, { numItems: 3 })).toStrictEqual({ valid: false, reasons: ['numItems: expected 3, found nothing'] })
    expect(isValidFor({ extra: { a: [1] } }, { extra: { a: { 0: 1 } } }).valid).toBe(false)
    expect(isValidFor({}, { extra: { toString: 'x' } }).valid).toBe(false)
    expect(isValidFor({ extra: {} }, { extra: { constructor: {} } }).valid).toBe(false)
  })

  test('names eight at most, and shortens long ones', () => {
    const extra = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`k${i}`, 'x'.repeat(200)]))
    const { reasons } = isValidFor({}, { extra: { ...extra } })
    expect(reasons).toHaveLength(1)
    expect(isValidFor({ extra: {} }, { extra }).reasons).toHaveLength(8)
    expect(reasons[0]!.length).toBeLessThan(150)
  })

  test('refuses expectations that are no metadata', () => {
    expect(() => isValidFor({}, { sourceHsh: 'x' } as Metadata)).toThrow(TypeError)
  })
})
