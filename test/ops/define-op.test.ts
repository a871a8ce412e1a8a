import { describe, expect, test } from 'vitest'
import type { FieldSpecs, Tensor } from '../../src/core/tensor.js'
import { checkRecipe } from '../../src/ops/compile.js'
import { defineOp, type OpOptions } from '../../src/ops/define-op.js'
import type { DatasetOp, FieldStates, HostOp, ItemSequence, OpParams } from '../../src/ops/op.js'
import { recipe } from '../../src/ops/recipe.js'

const SPECS: FieldSpecs = { x: { dtype: 'float32', shape: [3] } }
const X: Tensor = { dtype: 'float32', shape: [3], data: Float32Array.of(1, 2, 3) }
const same = (fields: FieldSpecs): FieldSpecs => fields

describe('infer', () => {
  const check = (infer: unknown): unknown => checkRecipe(recipe([defineOp({ name: 'lab.op', infer: infer as OpOptions<OpParams>['infer'], run: (item) => item })()]), SPECS)

  test.each<[string, unknown, RegExp]>([
    ['throws', () => { throw new Error('x must be an image') }, /op 0 \(lab\.op\): infer failed: x must be an image/],
    ['returns nothing', () => undefined, /must return the fields/],
    ['returns a dtype that is none', () => ({ x: { dtype: 'flat32', shape: [3] } }), /field x has dtype "flat32"/],
    ['returns a shape that is none', () => ({ x: { dtype: 'int8', shape: [1.5] } }), /field x has shape \[1\.5\]/],
    ['returns no spec', () => ({ x: undefined }), /field x has dtype undefined/],
    ['takes a reserved name', ({ x }: FieldSpecs) => ({ id: x }), /a field cannot be called "id"/],
    ['takes a name that is not snake_case', ({ x }: FieldSpecs) => ({ 'x.offsets': x }), /a field cannot be called "x\.offsets".*snake_case/],
    ['leaves nothing', () => ({}), /leaves no field/],
  ])('%s: a RecipeError', (_what, infer, message) => {
    expect(() => check(infer)).toThrow(message)
    expect(() => check(infer)).toThrow(expect.objectContaining({ code: 'E_RECIPE', op: 0, opName: 'lab.op' }) as Error)
  })

  test('the cause is kept', () => {
    const cause = new Error('x must be an image')
    expect(() => check(() => { throw cause })).toThrow(expect.objectContaining({ cause }) as Error)
  })
})

describe('run is held to what infer promised', () => {
  const run = async (infer: (fields: FieldSpecs) => FieldSpecs, result: unknown): Promise<unknown> => {
    const { definition, params } = defineOp({ name: 'lab.op', infer, run: () => result as never })()
    return (definition as HostOp).run({ x: X }, params, { id: '0', signal: undefined })
  }

  test.each<[string, unknown, RegExp]>([
    ['nothing', undefined, /run must return the fields/],
    ['a field less', {}, /did not make the field "x"/],
    ['a field more', { x: X, y: X }, /made a field "y", which infer did not promise; it promised x/],
    ['another dtype', { x: { dtype: 'float64', shape: [3], data: Float64Array.of(1, 2, 3) } }, /promised for field x float32 \[3\], run made "float64" \[3\]/],
    ['another shape', { x: { ...X, shape: [2], data: Float32Array.of(1, 2) } }, /promised for field x float32 \[3\], run made "float32" \[2\]/],
    ['no shape', { x: { dtype: 'float32', data: X.data } }, /run made "float32" undefined/],
    ['data in another array', { x: { ...X, data: new Uint8Array(12) } }, /float32 must have its data in a Float32Array, not a Uint8Array/],
  ])('%s is refused', async (_what, result, message) => {
    await expect(run(same, result)).rejects.toThrow(message)
  })

  test('extents that only the item knows may be left open', async () => {
    await expect(run(() => ({ x: { dtype: 'float32', shape: [null] } }), { x: X })).resolves.toEqual({ x: X })
    await expect(run(() => ({ x: { dtype: 'float32', shape: [null, null] } }), { x: X })).rejects.toThrow(/float32 \[\?, \?\]/)
  })
})

describe('arrange is held to what infer promised', () => {
  const items: ItemSequence = { length: 1, fields: { x: { dtype: 'float32', shape: [3], finiteness: 'unchecked' } }, id: () => 'a', read: async () => ({ x: X }) }
  const arrange = async (made: Partial<ItemSequence>): Promise<ItemSequence> => {
    const { definition, params } = defineOp({ name: 'lab.op', scope: 'dataset', infer: same, arrange: async (given) => ({ ...given, ...made }) })()
    return (definition as DatasetOp).arrange(items, params, { seed: 0n, signal: undefined, nearest: async () => { throw new Error('not asked for') } })
  }

  test('what keeps it passes', async () => {
    const sequence = await arrange({ length: 5, id: (index) => `item ${index}` })
    expect([sequence.length, sequence.id(4), await sequence.read(4, ['x'], undefined)]).toEqual([5, 'item 4', { x: X }])
  })

  test.each<[string, FieldStates, RegExp]>([
    ['other fields', {}, /infer promised the fields x, arrange made $/],
    ['another dtype', { x: { dtype: 'float64', shape: [3], finiteness: 'unchecked' } }, /promised for field x float32 \[3\], arrange made float64 \[3\]/],
    ['an extent left open', { x: { dtype: 'float32', shape: [null], finiteness: 'unchecked' } }, /arrange made float32 \[\?\]/],
  ])('%s is refused', async (_what, fields, message) => {
    await expect(arrange({ fields })).rejects.toThrow(message)
  })

  test('an item that is something else is refused when it is read', async () => {
    const read = async (): Promise<Record<string, Tensor>> => ({ x: { dtype: 'float64', shape: [1], data: Float64Array.of(1) } })
    await expect((await arrange({ read })).read(0, ['x'], undefined)).rejects.toThrow(/promised for field x float32 \[3\], read made "float64" \[1\]/)
    await expect((await arrange({ read: async () => ({}) })).read(0, ['x'], undefined)).rejects.toThrow(/read did not make the field "x"/)
  })
})

describe('forms of run that are not possible yet say so', () => {
  test.each([['fn main() {}'], [new URL('file:///op.mjs')]])('%s', (form) => {
    expect(() => defineOp({ name: 'lab.op', infer: same, run: form as never })).toThrow(/run as the URL of a module is not possible in this version; give a function, or \{ wgsl: text \}/)
  })
})

test('parameters are the op\'s own', () => {
  const given = { bins: [1, 2, 3], table: Uint8Array.of(1, 2), more: { deep: [1] } }
  const call = defineOp({ name: 'lab.op', infer: same, run: (item) => item })(given)
  given.bins[0] = 9
  given.table[0] = 9
  given.more.deep.push(2)
  expect(call.params).toEqual({ bins: [1, 2, 3], table: Uint8Array.of(1, 2), more: { deep: [1] } })
  expect(() => { (call.params.more as { deep: number[] }).deep.push(2) }).toThrow(TypeError)
})
