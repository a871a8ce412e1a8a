import { createHash } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { loadConfig } from '../../src/cli/config/load.js'
import { parseYaml } from '../../src/cli/config/read.js'
import { References } from '../../src/cli/config/references.js'
import type { Config } from '../../src/cli/config/schema.js'
import { plain } from '../../src/cli/config/tree.js'
import { onnxModel } from '../../bench/lib/onnx-model.js'
import { niftiBytes } from '../sources/nifti-write.js'
import { writeScene } from '../sources/scene-write.js'
import { serve } from '../sources/remote.js'
import { pattern } from '../sources/write.js'
import { dense } from '../support/models.js'
import { npzBytes } from '../support/npy.js'
import { tempDir } from '../support/temp.js'

function config(files: Record<string, string>, set: string[] = [], env: Record<string, string> = {}): { dir: string; config: Config } {
  const dir = tempDir()
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(dir, name, '..'), { recursive: true })
    writeFileSync(join(dir, name), text)
  }
  return { dir, config: loadConfig({ file: 'main.yaml', set, cwd: dir, env }) }
}

/** The file with its references replaced, as plain data. */
function resolved(text: string, env: Record<string, string> = {}): any {
  const tree = parseYaml(text, { file: 'main.yaml', dir: '/base' })
  return plain(new References(tree, env).resolve(tree, ''))
}

/** Asks for everything, as `build` does. */
function check(text: string, set: string[] = [], env: Record<string, string> = {}): void {
  const { config: loaded } = config({ 'main.yaml': text }, set, env)
  loaded.cache()
  for (const name of loaded.datasetNames) loaded.dataset(name)
}

describe('references', () => {
  test('keep types, and reach the environment', () => {
    const text = 'vars: { n: 32, list: [1, 2], who: "${env:WHO:-nobody}" }\nx: ["${vars.n}", "a-${vars.n}-${vars.who}", "${vars.list}", "${env:HERE}", "${env:N}", "$${vars.n}"]'
    expect(resolved(text, { HERE: 'yes', N: '7' }).x).toEqual([32, 'a-32-nobody', [1, 2], 'yes', 7, '${vars.n}'])
  })

  test('what lies under paths is absolute before it is used', () => {
    expect(resolved('paths: { root: data, deep: "${paths.root}/deep" }\nx: "${paths.deep}/a.npz"').x).toBe('/base/data/deep/a.npz')
  })

  test('a chain of doublings ends at once', () => {
    const bomb = `v0: xxxxxxxxxx\n${Array.from({ length: 60 }, (_, i) => `v${i + 1}: "${`\${v${i}}`.repeat(10)}"`).join('\n')}`
    expect(() => resolved(bomb)).toThrow(/more than 65536 characters/)
    const lists = `v0: [x, x]\n${Array.from({ length: 60 }, (_, i) => `v${i + 1}: ["\${v${i}}", "\${v${i}}"]`).join('\n')}`
    expect(() => resolved(lists)).toThrow(/more than 100000 values|deep/)
  })
})

describe('files', () => {
  test('extends merges mappings, and a cache folder is relative to the file it stands in', () => {
    const { dir, config: loaded } = config({
      'main.yaml': 'extends: [sub/base.yaml, more.yaml]\ncache: { minFree: 5 }',
      'sub/base.yaml': 'cache: { dir: c, minFree: 1, fingerprint: stat, compression: { codec: gzip, level: 2 }, namespaces: { generated: { dir: scratch } } }',
      'more.yaml': 'cache: { fingerprint: content }',
    })
    expect(loaded.cache()).toEqual({ dir: join(dir, 'sub/c'), minFree: 5, fingerprint: 'content', compression: { codec: 'gzip', level: 2 }, namespaces: { generated: { dir: join(dir, 'sub/scratch') } } })
  })

  test('a path is relative to its file, also when it begins with a reference', async () => {
    const { dir, config: loaded } = config({
      'main.yaml': 'extends: sub/base.yaml\nvars: { part: data }',
      'sub/base.yaml': 'datasets: { a: { source: { type: npz, path: "${vars.part}/x.npz" } } }',
      'sub/data/.keep': '',
    })
    writeFileSync(join(dir, 'sub/data/x.npz'), npzBytes({ x: { dtype: 'int32', shape: [3], data: new Int32Array(3) } }))
    const source = await loaded.dataset('a').open()
    expect(source.length).toBe(3)
    source.close()
  })

  test('--set changes a value with its YAML type, in lists too, and 64-bit seeds stay whole', () => {
    const text = 'datasets: { a: { source: { type: npz, path: x }, recipe: { seed: 18446744073709551615, ops: [cast: { dtype: float32 }] } } }'
    expect(config({ 'main.yaml': text }).config.dataset('a').recipe.seed).toBe(2n ** 64n - 1n)
    const { recipe } = config({ 'main.yaml': text }, ['datasets.a.recipe.seed=7', 'datasets.a.recipe.ops.0={ cast: { dtype: float64 } }']).config.dataset('a')
    expect([recipe.seed, recipe.ops[0]!.params.dtype]).toEqual([7n, 'float64'])
  })

  test('anchors and merge keys work', () => {
    const text = 'vars: { base: &base { type: npz, path: x } }\ndatasets: { a: { source: { <<: *base, path: y } }, b: { source: *base } }'
    expect(config({ 'main.yaml': text }).config.datasetNames).toEqual(['a', 'b'])
    expect(() => check(text)).not.toThrow()
  })

  test('a section is checked when it is asked for', () => {
    const { config: loaded } = config({ 'main.yaml': 'cache: { minFree: 1 }\ndatasets: { a: { source: { type: npz, path: "${env:NOT_SET}" } } }' })
    expect(loaded.cache()).toEqual({ minFree: 1 })
    expect(() => loaded.dataset('a')).toThrow(/NOT_SET is not set/)
  })

  test.each([
    ['extends: main.yaml', /extend each other/],
    ['extends: { a: b }', /the path of a file, or a list of paths/],
    ['extends: none.yaml', /main\.yaml:1: extends: there is no file/],
    ['cache: { dir: "${vars.a}" }\nvars: { a: "${vars.b}", b: "${vars.a}" }', /refers to itself: \$\{vars\.a\} → \$\{vars\.b\} → \$\{vars\.a\}/],
    ['cache: { dir: "${vars.rot}" }\nvars: { root: a }', /names nothing, did you mean \$\{vars\.root\}/],
    ['cache: { dir: "${env:NOT_SET}" }', /NOT_SET is not set/],
    ['cache: [1, 2', /main\.yaml:1/],
    ['- 1', /expected keys and values/],
    ['cache: {}\ncache: {}', /main\.yaml:2: .*unique/],
    ['cache: { dir: !!js/function x }', /main\.yaml:1/],
    ['a: &a [x,x,x,x,x,x,x,x,x]\n'.concat(...'bcdefg'.split('').map((name, i) => `${name}: &${name} [${Array(9).fill(`*${'abcdef'[i]}`).join(',')}]\n`)), /unfolds into more than|aliases/],
    [`a: ${'['.repeat(5000)}`, /main\.yaml/],
    ['a: &a [*a]', /deep|alias/i],
  ])('%#: refused', (text, message) => {
    expect(() => check(text)).toThrow(message)
  })
})

describe('what is wrong is named with file, line and keys', () => {
  const dataset = (rest: string): string => `datasets:\n  a:\n    source: { type: npz, path: x }\n${rest}`
  test.each([
    ['cahce: {}', /^main\.yaml:1: cahce: unknown key; it should be "cache"$/],
    ['cache:\n  dirr: x', /^main\.yaml:2: cache\.dirr: unknown key; it should be "dir"$/],
    ['cache:\n  minFree: lots', /^main\.yaml:2: cache\.minFree: minFree must be a number of bytes or a size/],
    ['cache: { dir: 2024 }', /^main\.yaml:1: cache\.dir: expected a text, not 2024 \(quotes make one\)$/],
    ['datasets:\n  a:\n    sourc: {}', /^main\.yaml:3: datasets\.a\.sourc: unknown key; it should be "source"$/],
    ['datasets:\n  a:\n    source:\n      type: npz\n      path: x\n      feilds: {}', /^main\.yaml:6: datasets\.a\.source\.feilds: unknown key; it should be "fields"$/],
    ['datasets: { a: { source: { type: npz } } }', /source: has no path/],
    ['datasets: { a: { source: { type: npz, path: x, paths: [y] } } }', /has both path and paths/],
    ['datasets: { a: { source: { type: nzp, path: x } } }', /source\.type: there is no source "nzp"; it should be "npz"/],
    ['datasets: { a: {} }', /datasets\.a: has no source/],
    ['datasets: { a: { source: { type: dataset } } }', /^main\.yaml:1: datasets\.a\.source: has no name: which dataset of this file it is$/],
    ['datasets: { train: { source: { type: npz, path: x } }, a: { source: { type: dataset, name: trian } } }', /source\.name: there is no dataset "trian"; it should be "train"$/],
    ['datasets: { train: { source: { type: npz, path: x } }, a: { source: { type: dataset, name: train, path: y } } }', /source\.path: unknown key/],
    ['datasets:\n  a: { source: { type: dataset, name: b } }\n  b: { source: { type: dataset, name: c } }\n  c: { source: { type: dataset, name: b } }', /^main\.yaml:4: datasets\.c\.source\.name: datasets are made from each other: b → c → b$/],
    ['datasets: { a: { source: { type: dataset, name: a } } }', /made from each other: a → a$/],
    ['datasets: { a: { source: { type: npy, path: x, ids: y } } }', /source\.ids: unknown key/],
    [dataset('    device: gpu'), /^main\.yaml:4: datasets\.a\.device: must be one of auto, cpu, webgpu/],
    [dataset('    recipe:\n      - cast: { dtype: float32 }\n      - normalise: { mode: zscore }'), /^main\.yaml:6: datasets\.a\.recipe\[1\]: .*did you mean "normalize"/],
    [dataset('    recipe:\n      seed: -1\n      ops: []'), /^main\.yaml:5: datasets\.a\.recipe\.seed: seed must be an integer/],
    [dataset('    recipe:\n      sed: 1\n      ops: []'), /^main\.yaml:5: datasets\.a\.recipe\.sed: unknown key; it should be "seed"/],
  ])('%j', (text, message) => {
    let found: unknown
    try {
      check(text)
    } catch (error) {
      found = error
    }
    expect((found as Error).message).toMatch(message)
    expect(found).toMatchObject({ code: 'E_CONFIG', file: expect.stringContaining('main.yaml') })
  })

  test('what --set says is named as such', () => {
    expect(() => check('cache: {}', ['cache.dirr=x'])).toThrow(/^--set cache\.dirr=x: cache\.dirr: unknown key/)
    expect(() => check('cache: {}', ['dir'])).toThrow(/needs KEY=VALUE/)
    expect(() => check('cache: { dir: x }', ['cache.dir.a=1'])).toThrow(/not keys/)
  })
})

test('a source of scenes: windows of simulations below the file', async () => {
  const { dir, config: loaded } = config({ 'main.yaml': 'datasets: { w: { source: { type: scenes, path: sims, fields: { u: velocity }, window: 2, stride: 1, frames: { start: 5 }, properties: { nu: viscosity } }, recipe: [] } }' })
  writeScene(join(dir, 'sims/sim_000000'), { velocity: [1, 2, 3, 4].map((k) => pattern('float32', [3, 2], k)) }, { step: 5, description: { viscosity: 0.25 } })
  const source = await loaded.dataset('w').open()
  expect([source.length, source.id(1), source.fields.u, source.description.path]).toEqual([2, 'sim_000000/000010-000015', { dtype: 'float32', shape: [2, 3, 2] }, join(dir, 'sims')])
  source.close()
})

test('a staged source: its folder is relative to the file, and its reader has options of its own', async () => {
  const remote = await serve({ 'a.nii': { bytes: niftiBytes(pattern('int16', [4, 3, 2])), etag: '"a"' } })
  const text = 'datasets: { v: { source: { type: staged, path: l.csv, idColumn: id, open: { type: nifti, dtype: float32 }, dir: raw, diskBudget: 1GB, concurrency: 2 }, recipe: [] } }'
  const { dir, config: loaded } = config({ 'main.yaml': text, 'l.csv': `id,url\na,${remote.url}/a.nii\n` })
  const source = await loaded.dataset('v').open()
  expect([source.length, source.id(0), source.fields.image, source.description.dir]).toEqual([1, 'a', { dtype: 'float32', shape: [null, null, null] }, join(dir, 'raw')])
  source.close()
  await expect(config({ 'main.yaml': text.replace('dtype', 'dtyp'), 'l.csv': `id,url\na,${remote.url}/a.nii\n` }).config.dataset('v').open()).rejects.toThrow(/misspelled option "dtyp"/)
})

describe('models', () => {
  test('are found from the file that names them, and are in the key by what they hold', () => {
    const model = onnxModel(dense(4, 2))
    const dir = tempDir()
    mkdirSync(join(dir, 'models'))
    writeFileSync(join(dir, 'models/encoder.onnx'), model)
    writeFileSync(join(dir, 'main.yaml'), 'datasets:\n  a:\n    source: { type: npy, path: a.npy }\n    recipe:\n      seed: 3\n      ops:\n        - onnx: { model: models/encoder.onnx, outputs: { z: y }, batch: 8, threads: 1 }\n')
    const { recipe } = loadConfig({ file: 'main.yaml', set: [], cwd: dir, env: {} }).dataset('a')
    expect(recipe.seed).toBe(3n)
    expect(recipe.toJSON().ops).toMatchObject([{ name: 'onnx', params: { model: createHash('sha256').update(model).digest('hex'), inputs: { x: 'x' }, outputs: { z: 'y' }, batch: 8, threads: 1, providers: ['cpu'] } }])
  })

  test('that do not fit are errors at their line', () => {
    const dir = tempDir()
    writeFileSync(join(dir, 'encoder.onnx'), onnxModel(dense(4, 2)))
    const recipe = (options: string): unknown => {
      writeFileSync(join(dir, 'main.yaml'), `datasets:\n  a:\n    source: { type: npy, path: a.npy }\n    recipe:\n      - onnx: ${options}\n`)
      return loadConfig({ file: 'main.yaml', set: [], cwd: dir, env: {} }).dataset('a')
    }
    expect(() => recipe('{ model: encoder.onnx, outputs: { z: logits } }')).toThrow(/main\.yaml:5: datasets\.a\.recipe\[0\]: onnx: outputs: the model has no output "logits"; it has "y"/)
    expect(() => recipe('{ model: 7 }')).toThrow(/main\.yaml:5: datasets\.a\.recipe\[0\]\.onnx\.model: expected a text, not 7/)
    expect(() => recipe('{ outputs: { z: y } }')).toThrow(/model must be the path of an \.onnx file/)
    expect(() => recipe('{ model: none.onnx }')).toThrow(/none\.onnx: there is no such file/)
  })
})
