import { describe, expect, test } from 'vitest'
import { datasetDigest, datasetKey, fieldFrame, identityFrame, itemKey, recipeKey } from '../../src/core/keys.js'
import { canonicalJson } from '../../src/core/canonical.js'
import type { FieldSpecs } from '../../src/core/tensor.js'
import { builtinOps } from '../../src/ops/builtin.js'
import { cast } from '../../src/ops/cast.js'
import { checkRecipe, compile, inputFields, segments } from '../../src/ops/compile.js'
import { crop } from '../../src/ops/crop.js'
import { defineOp } from '../../src/ops/define-op.js'
import { normalize } from '../../src/ops/normalize.js'
import { pad } from '../../src/ops/pad.js'
import { parseRecipe, recipe, recipeKeyData } from '../../src/ops/recipe.js'
import { resample } from '../../src/ops/resample.js'
import { rename, select } from '../../src/ops/select.js'
import { float32, runOps } from './support.js'

const SPECS: FieldSpecs = { x: { dtype: 'float64', shape: [64, 64] }, y: { dtype: 'int32', shape: [] }, z: { dtype: 'float32', shape: [null, 3] } }
const cpu = { kind: 'cpu', name: 'baseline' }
const key = (r: ReturnType<typeof recipe>): string => recipeKey(recipeKeyData(r, undefined)).toString('hex')
const PINNED = 'If this fails, every existing cache becomes unreachable. Raise the version of the op or of the format instead.'

/** The JSON of a frame, whose length stands before it. */
function text(frame: Buffer): string {
  expect(frame.readUInt32LE(0)).toBe(frame.length - 4)
  return frame.subarray(4).toString()
}

describe('keys', () => {
  const fixed = recipe([cast({ dtype: 'float32', fields: ['x'] }), resample({ shape: [32, 32], fields: ['x'] }), normalize({ mode: 'zscore', fields: ['x'] })], { seed: 42 })

  test('of a fixed recipe, item and dataset', () => {
    expect(canonicalJson(recipeKeyData(fixed, undefined)), PINNED).toBe('{"format":1,"ops":[{"name":"cast","params":{"dtype":"float32","fields":["x"],"nonFinite":"error"},"version":1},{"name":"resample","params":{"alignCorners":false,"edges":"clamp","fields":["x"],"geometry":"center","method":"linear","shape":[32,32]},"version":1},{"name":"normalize","params":{"eps":1e-8,"fields":["x"],"mode":"zscore","nonzero":false},"version":1}]}')
    const identity = Buffer.alloc(32, 5)
    expect(key(fixed), PINNED).toBe('4914f58f342eb17c894be13ed80911180175412b943685718880977b9d0c7a8d')
    expect(itemKey(Buffer.from(key(fixed), 'hex'), identity).toString('hex'), PINNED).toBe('1fb2d11cf99a23e3b9f4c81b13d09e347f41756b5100ee8b96970f76446bc11d')
    expect(datasetKey(Buffer.from(key(fixed), 'hex'), Buffer.concat([identity, identity])).toString('hex'), PINNED).toBe('1a4e3cc9f3a56960b029733643f4ede91c951426afe5df71ecd6522571d5477c')
    expect(text(identityFrame({ name: 'npz', version: 1 }, { y: { dtype: 'int32', shape: [] }, x: { dtype: 'uint16', shape: [64, 64] } })), PINNED).toBe('{"fields":[{"dtype":"uint16","name":"x","shape":[64,64]},{"dtype":"int32","name":"y","shape":[]}],"reader":{"name":"npz","version":1}}')
    expect(text(fieldFrame('x', 'float32', [2, 3])), PINNED).toBe('{"dtype":"float32","name":"x","shape":[2,3]}')
    expect(datasetDigest(identity, { probe: { dtype: 'uint8', shape: [2], data: Uint8Array.of(1, 2) } }).toString('hex'), PINNED).toBe('f48e2e9cf0e9cb0fdfabd22ef3459acecd2bdfea98be347c9cd6377cfb838cb6')
  })

  test('do not depend on what changes nothing', () => {
    expect(key(recipe(fixed.ops, { seed: 7 }))).toBe(key(fixed))
    expect(key(recipe([cast({ fields: ['x'], nonFinite: 'error', dtype: 'float32' }), ...fixed.ops.slice(1)]))).toBe(key(fixed))
    expect(key(parseRecipe(JSON.parse(JSON.stringify(fixed)), builtinOps))).toBe(key(fixed))
    expect(key(parseRecipe({ ops: [{ cast: { dtype: 'float32', fields: ['x'] } }, { resample: { shape: [32, 32], fields: ['x'] } }, { normalize: { mode: 'zscore', fields: ['x'] } }] }, builtinOps))).toBe(key(fixed))
  })

  test('do not follow what the caller does to the lists he gave', () => {
    const shape = [32, 32]
    const steps = recipe([resample({ shape })])
    const before = key(steps)
    shape[0] = 9
    expect(key(steps)).toBe(before)
    expect(() => { (steps.ops[0]!.params.shape as number[])[0] = 9 }).toThrow(TypeError)
  })

  test('depend on the seed when an op draws, and on the device when one is not exact', () => {
    const infer = (fields: FieldSpecs): FieldSpecs => fields
    const run = (item: object): never => item as never
    const draws = defineOp({ name: 't.draws', draws: true, infer, run })
    expect(key(recipe([draws()], { seed: 1 }))).not.toBe(key(recipe([draws()], { seed: 2 })))
    const inexact = recipe([defineOp({ name: 't.inexact', exact: false, infer, run })()])
    expect(recipeKey(recipeKeyData(inexact, cpu))).not.toEqual(recipeKey(recipeKeyData(inexact, { kind: 'cpu', name: 'avx2' })))
  })
})

describe('a recipe is checked before anything is read', () => {
  test.each([
    [[normalize({ mode: 'zscore', fields: ['w'] })], 0, /no field "w"; there are x, y, z/],
    [[cast({ dtype: 'float32', fields: ['x'] }), resample({ shape: [3, 3, 3], fields: ['x'] })], 1, /op 1 \(resample\): expected for field x .* float32 \[64, 64\]: it has 2 axes/],
    [[cast({ dtype: 'complex64', fields: ['x'] })], 0, /real and complex/],
    [[cast({ dtype: 'float32', nonFinite: 'keep', fields: ['x'] }), normalize({ mode: 'zscore', fields: ['x'] })], 1, /'keep' let NaN and infinity pass/],
    [[normalize({ mode: 'zscore', fields: ['y'] })], 0, /single number has no statistics/],
    [[normalize({ mode: 'zscore', axes: [2], fields: ['x'] })], 0, /axes \[2\] are not all among its 2/],
    [[normalize({ mode: 'zscore', mean: [1, 2], std: [1, 2], axes: [1], fields: ['x'] })], 0, /mean has 2 values, field x has 64 groups/],
    [[crop({ start: [60, 0], shape: [5, 5], fields: ['x'] })], 0, /ends at 65 on axis 0 of field x, which has 64/],
    [[pad({ before: [64], mode: 'reflect', fields: ['x'] })], 0, /reflect can add at most 63/],
    [[pad({ before: [1], value: 0.5, fields: ['z'] }), pad({ before: [1], value: 300, fields: ['x'] }), cast({ dtype: 'uint8' }), pad({ before: [1], value: 300, fields: ['x'] })], 3, /300 is not a value of uint8/],
    [[select({ fields: ['q'] })], 0, /no field "q"/],
    // Names that every object has are not fields.
    [[select({ fields: ['constructor'] })], 0, /no field "constructor"/],
    [[normalize({ mode: 'minmax', fields: ['constructor'] })], 0, /no field "constructor"/],
    [[rename({ constructor: 'q' })], 0, /no field "constructor"/],
    [[rename({ x: 'y' })], 0, /two fields would be called "y"/],
  ])('%# is a RecipeError with its place', (ops, place, message) => {
    const check = (): unknown => checkRecipe(recipe(ops), SPECS)
    expect(check).toThrow(message)
    expect(check).toThrow(expect.objectContaining({ code: 'E_RECIPE', op: place }) as Error)
  })

  test('unknown extents pass through', () => {
    expect(checkRecipe(recipe([pad({ before: [1, 0], after: [1, 0] }), cast({ dtype: 'float16', fields: ['z'] })]), SPECS).z).toEqual({ dtype: 'float16', shape: [null, 3] })
  })

  test('left-out fields mean every field an op can work on, and never labels', () => {
    expect(checkRecipe(recipe([normalize({ mode: 'zscore' })]), SPECS)).toEqual({ x: { dtype: 'float32', shape: [64, 64] }, y: SPECS.y, z: { dtype: 'float32', shape: [null, 3] } })
  })
})

describe('what is read', () => {
  test('only the fields that outputs are made from', () => {
    expect(inputFields(recipe([cast({ dtype: 'float32' }), select({ fields: ['y'] })]), SPECS)).toEqual(['y'])
    expect(inputFields(recipe([rename({ x: 'image' }), select({ fields: ['image'] })]), SPECS)).toEqual(['x'])
    expect(inputFields(recipe([]), SPECS)).toEqual(['x', 'y', 'z'])
  })

  test('segments keep the order and the place of ops', () => {
    const host = defineOp({ name: 't.host', infer: (fields) => fields, run: (item) => item })
    expect(segments(recipe([cast({ dtype: 'float32' }), crop({ shape: [1] }), host(), cast({ dtype: 'int8' })])).map(({ kind, first }) => [kind, first])).toEqual([['device', 0], ['host', 2], ['device', 3]])
  })
})

describe('finite numbers', () => {
  test('arithmetic on an unchecked float checks first; a cast that was checked is not checked again', async () => {
    const { faults } = await runOps([normalize({ mode: 'zscore' })], { x: float32([4], [1, NaN, Infinity, 2]) })
    expect(faults).toMatchObject([{ step: 0, item: 0, count: 2, index: 1 }])
    expect((await runOps([cast({ dtype: 'float64', nonFinite: 'zero' }), normalize({ mode: 'scale' })], { x: float32([3], [1, NaN, 2]) })).fields.x!.data).toEqual(Float32Array.of(1, 0, 2))
  })

  test.each([['float32', 'bfloat16'], ['float64', 'float32'], ['float64', 'float16'], ['complex128', 'complex64']] as const)('a finite %s may become infinite as %s, so what was kept is checked again', (from, to) => {
    const { program } = compile({ ops: [cast({ dtype: to, nonFinite: 'keep' }), cast({ dtype: to })], first: 0 }, { x: { dtype: from, shape: [1] } }, new Set(['x']))
    expect(program.steps).toMatchObject([{ kernel: 'cast', nonFinite: 'keep' }, { kernel: 'cast', nonFinite: 'error' }])
  })

  test('the largest float32 is infinite as bfloat16', async () => {
    const { faults } = await runOps([cast({ dtype: 'bfloat16' })], { x: float32([2], [1, 3.4028234663852886e38]) })
    expect(faults).toMatchObject([{ count: 1, index: 1 }])
  })

  test('a float64 beyond float32 counts', async () => {
    expect((await runOps([cast({ dtype: 'float32' })], { x: { dtype: 'float64', shape: [2], data: Float64Array.of(1, 1e300) } })).faults).toMatchObject([{ count: 1, index: 1 }])
  })
})

describe('wrong use is a TypeError with the right word', () => {
  test.each<[() => unknown, RegExp]>([
    [() => cast({ dtype: 'flaot32' as never }), /did you mean "float32"/],
    [() => cast({ dtype: 'int8', nonfinite: 'zero' } as never), /misspelled option "nonfinite" should be "nonFinite"/],
    [() => cast({ dtype: 'int8', fields: [] }), /list of different names/],
    [() => normalize({ mode: 'z-score' as never }), /mode must be one of zscore/],
    [() => normalize({ mode: 'minmax', eps: 1 } as never), /normalize \(minmax\): unknown option "eps"/],
    [() => normalize({ mode: 'zscore', mean: 1 } as never), /mean and std must be given together/],
    [() => normalize({ mode: 'zscore', mean: 1, std: 0 }), /std must be a finite number from/],
    [() => normalize({ mode: 'range' }), /either aMin and aMax or the percentiles/],
    [() => normalize({ mode: 'range', aMin: 1, aMax: 1 }), /must differ/],
    [() => normalize({ mode: 'range', pLow: 60, pHigh: 40 }), /pHigh must be a finite number from 60/],
    [() => resample({ shape: [0] }), /shape must be a list of integers from 1/],
    [() => resample({ shape: [2, 2, 2, 2] }), /1 to 3 extents/],
    [() => resample({ shape: [2], axes: [0, 1] }), /axes has 2 entries, shape 1/],
    [() => resample({ spacing: [1] } as never), /spacing must be one number of mm above 0, or one for each of x, y and z, not \[1\]/],
    [() => resample({ spacing: 0 }), /spacing must be one number/],
    [() => resample({ spacing: [1, 1, NaN] }), /spacing must be one number/],
    [() => resample({ shape: [2], geometry: 'monai' } as never), /geometry "monai" goes with spacing/],
    [() => resample({ shape: [2], spacing: 1 } as never), /either shape or spacing/],
    [() => resample({ spacing: 1, alignCorners: true } as never), /alignCorners has no meaning/],
    [() => resample({ spacing: 1, axes: [0, 1] }), /axes must be the three of x, y and z, not 2/],
    [() => resample({ spacing: 1, geometry: 'nibabel', method: 'area' }), /goes with geometry "center"/],
    [() => resample({ spacing: 1, geometry: 'nibable' as never }), /geometry must be one of center, nibabel, monai/],
    [() => pad({ divisible: 0 }), /divisible must be a list of integers from 1/],
    [() => pad({ divisible: 16, shape: [2] }), /either shape, or divisible, or before and after/],
    [() => pad({ divisible: [16, 16], axes: [0] }), /axes has 1 entries, the sizes 2/],
    [() => resample({ shape: [2], method: 'area', alignCorners: true }), /alignCorners has no meaning/],
    [() => pad({ shape: [2], before: [1] }), /either shape, or divisible, or before and after/],
    [() => pad({ shape: [2], mode: 'edge', value: 1 }), /value has no meaning/],
    [() => rename({ x: 'id' }), /"x" cannot be called "id": id, ids, indices/],
    [() => rename({}), /at least one/],
    [() => rename({ x: 'x.offsets' }), /snake_case/],
    [() => rename({ x: '__proto__' }), /snake_case/],
    // Numbers with which every result would be infinite are not the data's fault.
    [() => normalize({ mode: 'scale', factor: 1e300 }), /factor must be a finite number from/],
    [() => normalize({ mode: 'zscore', mean: [0, 1e39], std: 1 }), /mean\[1\] must be a finite number from/],
    [() => normalize({ mode: 'zscore', mean: 0, std: 1e-300 }), /std must be a finite number from/],
    [() => normalize({ mode: 'range', aMin: 0, aMax: 1e-42, bMax: 1000 }), /too close/],
    [() => select({} as never), /fields must be given/],
    [() => recipe([cast] as never), /element 0 is not an op but/],
    [() => recipe([], { sed: 1 } as never), /should be "seed"/],
    [() => recipe([], { seed: -1 }), /seed must be an integer/],
    [() => parseRecipe([{ normalise: {} }], builtinOps), /did you mean "normalize"/],
    [() => parseRecipe([{ cast: { dtype: 'int8' }, pad: {} }], builtinOps), /expected one op, found cast, pad/],
    [() => parseRecipe({ ops: [{ name: 'cast', version: 2, params: {} }] }, builtinOps), /cast version 2 is not known; this version has 1/],
    [() => defineOp({ name: '1x', infer: (f) => f, run: (i) => i }), /name must begin with a letter/],
    [() => defineOp({ name: 'a', infer: (fields: FieldSpecs) => fields } as never), /run must be a function/],
    [() => defineOp({ name: 'a', infer: (f) => f, run: (i) => i })({ when: new Date() }), /\$\.when is an instance of Date/],
  ])('%#', (use, message) => {
    expect(use).toThrow(message)
    expect(use).toThrow(TypeError)
  })
})
