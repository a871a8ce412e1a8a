import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { DTYPES, type TypedArray } from '../../src/core/dtype.js'
import type { FieldSpec, FieldSpecs } from '../../src/core/tensor.js'
import { cast } from '../../src/ops/cast.js'
import { checkRecipe, compile, inputFields } from '../../src/ops/compile.js'
import { crop } from '../../src/ops/crop.js'
import { normalize } from '../../src/ops/normalize.js'
import type { OpCall } from '../../src/ops/op.js'
import { pad } from '../../src/ops/pad.js'
import { recipe } from '../../src/ops/recipe.js'
import { resample } from '../../src/ops/resample.js'
import { rename, select } from '../../src/ops/select.js'
import { interpret } from '../reference/interpret.js'
import { float32, type Field } from './support.js'

type Fields = Readonly<Record<string, Field>>

/** What a build makes of one item when only `names` of its fields are read: name → dtype, shape and bytes. */
function made(ops: readonly OpCall[], fields: Fields, names: readonly string[]): Record<string, string> {
  const read = Object.fromEntries(names.map((name) => [name, fields[name]!]))
  const { program, passThrough } = compile({ ops, first: 0 }, read, new Set())
  const { outputs, faults } = interpret(program, 1, program.inputs.map(({ field }) => read[field]!.data))
  expect(faults).toEqual([])
  const text = (field: FieldSpec, data: TypedArray): string => `${field.dtype} [${field.shape}] ${Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex')}`
  return Object.fromEntries([
    ...program.outputs.map(({ field, value }, k) => [field, text(program.values[value]!, outputs[k]!)]),
    ...passThrough.map(({ from, to }) => [to, text(fields[from]!, fields[from]!.data)]),
  ]) as Record<string, string>
}

const FIELDS: Fields = { x: float32([2, 3], [1, 2, 3, 4, 5, 7]), y: float32([4], [4, 5, 6, 9]), label: { dtype: 'int32', shape: [], data: Int32Array.of(3) } }

describe('fields that are dropped later are not read, and nothing else changes', () => {
  test.each<[string, OpCall[], string[], string[]]>([
    ['a named field', [cast({ dtype: 'float64', fields: ['x'] }), select({ fields: ['y'] })], ['y'], ['y']],
    ['one of two named fields', [normalize({ mode: 'minmax', fields: ['x', 'y'] }), select({ fields: ['y'] })], ['y'], ['y']],
    ['the only field that was fit', [normalize({ mode: 'zscore' }), select({ fields: ['label'] })], ['label'], ['label']],
    ['a renamed field', [rename({ x: 'image' }), select({ fields: ['y'] })], ['y'], ['y']],
    ['a field that was selected first', [select({ fields: ['x', 'y'] }), select({ fields: ['y'] })], ['y'], ['y']],
    ['fields that changed places', [rename({ x: 'y', y: 'x' }), crop({ shape: [1], fields: ['y'] }), select({ fields: ['x'] })], ['y'], ['x']],
  ])('%s', (_what, ops, read, outputs) => {
    expect(inputFields(recipe(ops), FIELDS)).toEqual(read)
    const few = made(ops, FIELDS, read)
    expect(Object.keys(few)).toEqual(outputs)
    expect(few).toEqual(made(ops, FIELDS, Object.keys(FIELDS)))
  })

  test('in any recipe', () => {
    const someNames = fc.option(fc.subarray(['x', 'y'], { minLength: 1 }), { nil: undefined })
    const op = fc.oneof(
      someNames.map((fields) => cast({ dtype: 'float64', fields })), someNames.map((fields) => normalize({ mode: 'minmax', fields })),
      someNames.map((fields) => resample({ shape: [3], fields })), someNames.map((fields) => pad({ before: [1], fields })),
      someNames.map((fields) => crop({ shape: [1], fields })), fc.constantFrom(rename({ x: 'z' }), rename({ z: 'x' }), rename({ x: 'y', y: 'x' })),
    )
    const last = fc.subarray(['x', 'y', 'z', 'label'], { minLength: 1, maxLength: 2 }).map((fields) => select({ fields }))
    let dropped = 0
    fc.assert(fc.property(fc.array(op, { minLength: 1, maxLength: 4 }), last, (some, end) => {
      const ops = [...some, end]
      try {
        checkRecipe(recipe(ops), FIELDS)
      } catch {
        return
      }
      const read = inputFields(recipe(ops), FIELDS)
      if (read.length < 3) dropped++
      expect(made(ops, FIELDS, read)).toEqual(made(ops, FIELDS, Object.keys(FIELDS)))
    }), { numRuns: 2000, seed: 11 })
    expect(dropped).toBeGreaterThan(200)
  })
})

describe('extents that differ between items', () => {
  test('an empty axis is refused, not passed on as it is', () => {
    const ops = [resample({ shape: [2] })]
    const ragged: FieldSpecs = { x: { dtype: 'int16', shape: [null] }, y: { dtype: 'float32', shape: [4] } }
    expect(checkRecipe(recipe(ops), ragged).x).toEqual({ dtype: 'float32', shape: [2] })
    const empty: Fields = { x: { dtype: 'int16', shape: [0], data: new Int16Array(0) }, y: FIELDS.y! }
    expect(() => compile({ ops, first: 0 }, empty, new Set())).toThrow(expect.objectContaining({ code: 'E_RECIPE', op: 0, message: expect.stringContaining('axis 0 of field x has extent 0') as string }) as Error)
  })

  test('every item is what was promised for all, or refused', () => {
    const shape = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 })
    const field = fc.record({ dtype: fc.constantFrom('float32' as const, 'int16' as const, 'float64' as const, 'bool' as const), shape, hidden: fc.array(fc.boolean(), { minLength: 3, maxLength: 3 }) })
    const ops = fc.constantFrom(
      cast({ dtype: 'float16' }), normalize({ mode: 'zscore' }), normalize({ mode: 'minmax', axes: [-1] }), normalize({ mode: 'scale', factor: 2 }), resample({ shape: [2] }),
      resample({ shape: [3, 2], method: 'nearest' }), crop({ shape: [1] }), pad({ before: [1], mode: 'edge' }), pad({ shape: [5] }), pad({ after: [1], mode: 'reflect' }),
    )
    let judged = 0
    fc.assert(fc.property(fc.array(ops, { minLength: 1, maxLength: 3 }), field, field, (list, a, b) => {
      const specs = Object.fromEntries([a, b].map(({ dtype, shape, hidden }, k) => ['ab'[k]!, { dtype, shape: shape.map((extent, axis) => hidden[axis]! ? null : extent) }]))
      const item = Object.fromEntries([a, b].map(({ dtype, shape }, k) => {
        const count = shape.reduce((product, extent) => product * extent, 1)
        return ['ab'[k]!, { dtype, shape, data: new DTYPES[dtype].array(new ArrayBuffer(count * DTYPES[dtype].size)) }]
      }))
      let promised: FieldSpecs
      let outputs: Record<string, string>
      try {
        promised = checkRecipe(recipe(list), specs)
        outputs = made(list, item, ['a', 'b'])
      } catch (error) {
        expect((error as { code?: string }).code, String(error)).toBe('E_RECIPE')
        return
      }
      judged++
      for (const [name, { dtype, shape }] of Object.entries(promised)) expect(outputs[name]).toMatch(new RegExp(`^${dtype} \\[${shape.map((extent) => extent ?? '\\d+').join(',')}\\] `))
    }), { numRuns: 2000, seed: 12 })
    expect(judged).toBeGreaterThan(300)
  })
})
