import { spawnSync } from 'node:child_process'
import { cpSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from 'vitest'
import { floats, onnxModel } from '../../../bench/lib/onnx-model.js'
import { npzBytes } from '../../support/npy.js'
import { weight } from '../../support/models.js'
import { tempDir } from '../../support/temp.js'

let dir: string

beforeAll(() => {
  dir = tempDir()
  // 30 products of matrices of 512 × 512: some hundred milliseconds.
  const nodes = Array.from({ length: 30 }, (_, k) => ({ op: 'MatMul', inputs: [k === 0 ? 'x' : `m${k}`, 'w'], outputs: [k === 29 ? 'y' : `m${k + 1}`] }))
  const wide = { type: 'float32', dims: ['n', 1024, 512] } as const
  writeFileSync(join(dir, 'model.onnx'), onnxModel({ inputs: { x: wide }, outputs: { y: wide }, weights: { w: floats([512, 512], weight) }, nodes }))
  writeFileSync(join(dir, 'rows.npz'), npzBytes({ x: { dtype: 'float32', shape: [4, 1024, 512], data: new Float32Array(4 * 1024 * 512) } }))
})

test('without the package it says what to install', () => {
  // Where no package is found.
  const bare = tempDir()
  const root = join(import.meta.dirname, '../../..')
  cpSync(join(root, 'dist'), join(bare, 'dist'), { recursive: true })
  symlinkSync(join(root, 'native'), join(bare, 'native'))
  writeFileSync(join(bare, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(bare, 'asks.js'), `import { onnx } from './dist/adapters/onnx.js'\nawait onnx({ model: ${JSON.stringify(join(dir, 'model.onnx'))} }).catch(({ code, message }) => console.log(code, message))\n`)
  const { stdout, stderr } = spawnSync(process.execPath, [join(bare, 'asks.js')], { encoding: 'utf8' })
  expect(stdout, stderr).toMatch(/^E_MISSING_DEPENDENCY onnx needs the package onnxruntime-node: npm install onnxruntime-node \(ONNXRUNTIME_NODE_INSTALL=skip npm install onnxruntime-node; without skip its install script downloads CUDA\)/)
})

// A thread that ends while a model runs on it takes the process with it.
describe('a process with a model', () => {
  test.each([['ends by itself', 'done'], ['exit', ''], ['exit while it runs', ''], ['exit while it opens', ''], ['does not block', 'free'], ['closes and opens again', 'again']])('%s', (what, says) => {
    const { status, signal, stdout, stderr } = spawnSync(process.execPath, [join(import.meta.dirname, 'life-child.mjs'), what, dir], { encoding: 'utf8', timeout: 60_000 })
    expect([status, signal, stdout.trim()], stderr).toEqual([0, null, says])
  })

  test('throws while it runs', () => {
    const { status, signal, stderr } = spawnSync(process.execPath, [join(import.meta.dirname, 'life-child.mjs'), 'throws while it runs', dir], { encoding: 'utf8', timeout: 60_000 })
    expect([status, signal]).toEqual([1, null])
    expect(stderr).toContain('on purpose')
  })
})
