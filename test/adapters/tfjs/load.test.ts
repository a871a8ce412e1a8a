import * as tf from '@tensorflow/tfjs'
import { describe, expect, expectTypeOf, test } from 'vitest'
import { loadTf } from '../../../src/adapters/tfjs.js'
import { loadWith } from '../../../src/adapters/tfjs/load.js'
import { MissingDependencyError } from '../../../src/index.js'

type Module = Record<string, unknown>
/** `import` where only these are installed; an error is what loading one ends with. */
const installed = (packages: Readonly<Record<string, Module | Error>>) => async (name: string): Promise<unknown> => {
  const found = packages[name]
  if (found === undefined) throw Object.assign(new Error(`Cannot find package '${name}' imported from /app/node_modules/tensorcache/dist/adapters/tfjs/load.js`), { code: 'ERR_MODULE_NOT_FOUND' })
  if (found instanceof Error) throw found
  return found
}

/** A namespace with a backend of its own. */
function fake(version: Record<string, string>, more: Module = {}): Module & { readonly log: string[] } {
  const log: string[] = []
  const tensor = (values: ArrayLike<number>): unknown => ({ dataSync: () => values, dispose: () => log.push('dispose') })
  return {
    log, version, tensor,
    complex: () => undefined,
    ready: async () => { log.push('ready') },
    getBackend: () => 'tensorflow',
    removeBackend: (name: string) => { log.push(`remove ${name}`) },
    add: (one: { dataSync(): ArrayLike<number> }) => tensor(Array.from(one.dataSync(), (value) => 2 * value)),
    ...more,
  }
}

describe('loadTf', () => {
  test('takes what is installed here', async () => {
    const before = tf.memory().numTensors
    const found = await loadTf<typeof tf>({ packages: ['@tensorflow/tfjs'] })
    expectTypeOf(found.tf).toEqualTypeOf<typeof tf>()
    expect(found).toMatchObject({ name: '@tensorflow/tfjs', version: tf.version.tfjs, backend: 'cpu', skipped: [] })
    expect(found.tf.sequential).toBe(tf.sequential)
    expect(found.tf.memory().numTensors).toBe(before)
  })

  test('the native ones first, whatever is there of them', async () => {
    const found = await loadTf()
    expect(['@tensorflow/tfjs-node-gpu', '@tensorflow/tfjs-node', '@tensorflow/tfjs']).toContain(found.name)
    const gpu = fake({ 'tfjs-node': '4.22.0', 'tfjs-core': '4.21.0' })
    const node = fake({ 'tfjs-node': '4.20.0' })
    const plain = fake({ tfjs: '4.19.0' })
    const all = { '@tensorflow/tfjs-node-gpu': { default: gpu }, '@tensorflow/tfjs-node': { default: node }, '@tensorflow/tfjs': plain }
    expect(await loadWith(installed(all))).toMatchObject({ tf: gpu, name: '@tensorflow/tfjs-node-gpu', version: '4.22.0', backend: 'tensorflow', skipped: [] })
    expect(gpu.log).toEqual(['ready', 'dispose', 'dispose'])
    expect(node.log).toEqual([])
    expect(await loadWith(installed({ ...all, '@tensorflow/tfjs-node-gpu': undefined as never }))).toMatchObject({ tf: node, name: '@tensorflow/tfjs-node', version: '4.20.0' })
    expect(await loadWith(installed({ '@tensorflow/tfjs': plain }))).toMatchObject({ tf: plain, version: '4.19.0', skipped: [] })
    expect(await loadWith(installed(all), { packages: ['@tensorflow/tfjs'] })).toMatchObject({ tf: plain })
  })

  test('one that is there and does not load, or does not calculate, is passed over with the reason', async () => {
    const failing = fake({}, { add: () => { throw new TypeError('(0 , util_1.isNullOrUndefined) is not a function') } })
    const plain = fake({ tfjs: '4.22.0' })
    const found = await loadWith(installed({
      '@tensorflow/tfjs-node-gpu': Object.assign(new Error("Cannot find module '@mapbox/node-pre-gyp'"), { code: 'MODULE_NOT_FOUND' }),
      '@tensorflow/tfjs-node': { default: failing },
      '@tensorflow/tfjs': plain,
    }))
    expect(found.name).toBe('@tensorflow/tfjs')
    expect(found.skipped).toEqual([
      { name: '@tensorflow/tfjs-node-gpu', reason: "Cannot find module '@mapbox/node-pre-gyp'" },
      { name: '@tensorflow/tfjs-node', reason: '(0 , util_1.isNullOrUndefined) is not a function' },
    ])
    // They share an engine: its backend must not stay for the next one.
    expect(failing.log).toEqual(['ready', 'dispose', 'remove tensorflow'])
  })

  test('one that calculates wrongly', async () => {
    const wrong = fake({}, { add: () => ({ dataSync: () => [2, 5], dispose() {} }) })
    await expect(loadWith(installed({ '@tensorflow/tfjs': wrong }))).rejects.toThrow('@tensorflow/tfjs is there, but: [1, 2] + [1, 2] is [2, 5]')
    expect(wrong.log.at(-1)).toBe('remove tensorflow')
  })

  test('none is a MissingDependencyError that says what to install', async () => {
    await expect(loadWith(installed({}))).rejects.toThrow(MissingDependencyError)
    await expect(loadWith(installed({}))).rejects.toThrow('loadTf needs TensorFlow.js: npm install @tensorflow/tfjs-node (native), or @tensorflow/tfjs (JavaScript)')
    await expect(loadWith(installed({}), { packages: ['@tensorflow/tfjs'] })).rejects.toThrow('npm install @tensorflow/tfjs')
    const broken = new Error('Could not initialize TensorFlow backend.')
    await expect(loadWith(installed({ '@tensorflow/tfjs-node': broken }))).rejects.toMatchObject({ code: 'E_MISSING_DEPENDENCY', message: expect.stringContaining('; @tensorflow/tfjs-node is there, but: Could not initialize TensorFlow backend.'), cause: { errors: expect.arrayContaining([broken]) } })
  })

  test('misuse is a TypeError', async () => {
    await expect(loadTf({ packages: [] })).rejects.toThrow('packages must be a list of')
    await expect(loadTf({ packages: ['tfjs' as never] })).rejects.toThrow('packages must be one of @tensorflow/tfjs-node-gpu, @tensorflow/tfjs-node, @tensorflow/tfjs, not "tfjs"')
    await expect(loadTf({ package: [] } as never)).rejects.toThrow('misspelled option "package" should be "packages"')
  })
})
