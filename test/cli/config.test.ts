import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { checkConfig } from '../../src/cli/config/datasets.js'
import { loadConfig } from '../../src/cli/config/load.js'
import { tempDir } from '../support/temp.js'

function config(files: Record<string, string>, changes: string[] = [], env: Record<string, string> = {}): { dir: string; tree: Record<string, any> } {
  const dir = tempDir()
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(dir, name, '..'), { recursive: true })
    writeFileSync(join(dir, name), text)
  }
  return { dir, tree: loadConfig(join(dir, 'main.yaml'), changes, env).tree }
}

describe('configuration files', () => {
  test('references keep types, and reach the environment', () => {
    const { tree } = config({ 'main.yaml': 'vars: { n: 32, list: [1, 2], who: "${env:WHO:-nobody}" }\nx: ["${vars.n}", "a-${vars.n}-${vars.who}", "${vars.list}", "${env:HERE}"]' }, [], { HERE: 'yes' })
    expect(tree.x).toEqual([32, 'a-32-nobody', [1, 2], 'yes'])
  })

  test('extends merges mappings, and paths are relative to the file they stand in', () => {
    const { dir, tree } = config({
      'main.yaml': 'extends: sub/base.yaml\ncache: { minFree: 5 }\ndatasets: { a: { source: { path: a.npz } } }',
      'sub/base.yaml': 'cache: { dir: c, minFree: 1 }\ndatasets: { a: { source: { type: npz, path: x.npz } }, b: { source: { paths: [p.npz, /abs.npz] } } }',
    })
    expect(tree.cache).toEqual({ dir: join(dir, 'sub/c'), minFree: 5 })
    expect(tree.datasets).toEqual({ a: { source: { type: 'npz', path: join(dir, 'a.npz') } }, b: { source: { paths: [join(dir, 'sub/p.npz'), '/abs.npz'] } } })
  })

  test('--set changes a value with its YAML type', () => {
    const { tree } = config({ 'main.yaml': 'a: { b: 1, c: x }' }, ['a.b=7', 'a.d.e=[1, two]', 'a.c=true'])
    expect(tree.a).toEqual({ b: 7, c: true, d: { e: [1, 'two'] } })
  })

  test.each([
    ['extends: main.yaml', /extends itself/],
    ['extends: [a, b]', /extends must be one path/],
    ['a: "${b}"\nb: "${a}"', /circle/],
    ['a: "${nothing}"', /no nothing to refer to/],
    ['a: "${env:NOT_SET}"', /NOT_SET is not set/],
    ['a: [1, 2', /main.yaml/],
    ['- 1', /expected a mapping/],
    [`a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: [*c,*c,*c,*c,*c]`, /alias/i],
  ])('%j is refused', (text, message) => {
    expect(() => config({ 'main.yaml': text })).toThrow(message)
  })

  test.each([
    ['cahce: {}', /should be "cache"/],
    ['datasets: { a: { sourc: {} } }', /datasets\.a: here: misspelled option "sourc" should be "source"/],
    ['datasets: { a: { source: { type: npz, path: x, feilds: {} } } }', /should be "fields"/],
    ['datasets: { a: { source: { type: npz } } }', /either path or paths/],
    ['datasets: { a: { source: { type: npz, path: x }, recipe: [{ normalise: { mode: zscore } }] } }', /did you mean "normalize"/],
    ['datasets: { a: { source: { type: npz, path: x }, recipe: [{ cast: { dtype: float3 } }] } }', /did you mean "float32"/],
    ['cache: { minFree: lots }', /cache: openCache: minFree must be a number of bytes or a size/],
  ])('%j names the place and the right word', (text, message) => {
    const { dir } = config({ 'main.yaml': text })
    expect(() => checkConfig(loadConfig(join(dir, 'main.yaml'), [], {}))).toThrow(message)
  })
})
