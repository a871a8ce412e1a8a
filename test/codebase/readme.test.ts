import { spawnSync } from 'node:child_process'
import { copyFileSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { niftiGz } from '../sources/nifti-write.js'
import { pattern } from '../sources/write.js'
import { npzBytes } from '../support/npy.js'
import { writeScene } from '../sources/scene-write.js'

const root = resolve(import.meta.dirname, '../..')
// Inside the project, so that 'tensorcache' resolves to it as it would for a user.
const dir = join(root, 'build', `readme-${process.pid}`)

export function codeBlocks(markdown: string): string[] {
  return [...markdown.matchAll(/```ts\n([\s\S]*?)```/g)].map((match) => match[1]!)
}

beforeAll(() => {
  mkdirSync(dir, { recursive: true })
  const counts = Uint16Array.from({ length: 200 * 64 * 64 }, (_, i) => (i * 7919) % 1000)
  copyFileSync(join(root, 'examples/crystals/structures.csv'), join(dir, 'structures.csv'))
  cpSync(join(root, 'examples/volumes/scans'), join(dir, 'scans'), { recursive: true })
  writeFileSync(join(dir, 'docs.jsonl'), Array.from({ length: 5 }, (_, k) => `${JSON.stringify({ doc_id: `d${k}`, text: `document ${k}`, meta: { label: k }, ...(k > 2 && { score: k / 2 }) })}\n`).join(''))
  copyFileSync(join(root, 'test/fixtures/parquet/snappy.parquet'), join(dir, 'rows.parquet'))
  for (const [folder, dtype] of [['imagesTr', 'int16'], ['labelsTr', 'uint8']] as const) {
    mkdirSync(join(dir, 'Task09_Spleen', folder), { recursive: true })
    for (const name of ['spleen_2', 'spleen_3']) writeFileSync(join(dir, 'Task09_Spleen', folder, `${name}.nii.gz`), niftiGz(pattern(dtype, [6, 5, 4])))
  }
  const points = Float64Array.from({ length: 200 }, (_, k) => k)
  writeFileSync(join(dir, 'scan.npz'), npzBytes({
    diffraction: { dtype: 'uint16', shape: [200, 64, 64], data: counts },
    xcoords: { dtype: 'float64', shape: [200], data: points.map((k) => k % 20) },
    ycoords: { dtype: 'float64', shape: [200], data: points.map((k) => Math.floor(k / 20)) },
    probeGuess: { dtype: 'complex64', shape: [64, 64], data: new Float32Array(2 * 64 * 64) },
    objectGuess: { dtype: 'complex64', shape: [90, 90], data: new Float32Array(2 * 90 * 90) },
  }))
  for (const k of [0, 1]) writeScene(join(dir, 'burgers', `sim_00000${k}`), { velocity: Array.from({ length: 12 }, (_, frame) => pattern('float32', [32, 1], 12 * k + frame + 1)) }, { labels: { names: ['x', 'vector'] }, description: { viscosity: 0.01 * (k + 1) } })
  writeFileSync(join(dir, 'train.npz'), npzBytes({
    diffraction: { dtype: 'uint16', shape: [200, 64, 64], data: counts },
    label: { dtype: 'int32', shape: [200], data: new Int32Array(200) },
  }))
})
afterAll(() => rmSync(dir, { recursive: true, force: true }))

describe.each(['README.md', 'docs/ops.md', 'docs/crystals.md', 'docs/volumes.md', 'docs/ptychography.md', 'docs/sources.md', 'docs/values.md', 'docs/trust.md', 'docs/observability.md', 'docs/training.md'])('%s', (page) => {
  // On the page of sources others are lines to look at.
  const blocks = codeBlocks(readFileSync(join(root, page), 'utf8')).filter((block) => page !== 'docs/sources.md' || block.startsWith('import'))

  test('has code to run', () => expect(blocks.length).toBeGreaterThanOrEqual(1))

  test.each(blocks.map((block, i) => [i, block] as const))('block %i runs as it stands', (i, block) => {
    const file = join(dir, `${page.replaceAll('/', '-')}-${i}.mjs`)
    writeFileSync(file, block)
    const { status, stderr, stdout } = spawnSync(process.execPath, [file], { cwd: dir, encoding: 'utf8' })
    expect(status, stderr).toBe(0)
    expect(stdout).not.toBe('')
  })
})

describe('links', () => {
  test.each(['README.md', 'CONTRIBUTING.md', 'docs/ops.md', 'docs/architecture.md', 'docs/determinism.md', 'docs/cli.md', 'docs/sources.md', 'docs/crystals.md', 'docs/volumes.md', 'docs/ptychography.md', 'docs/values.md', 'docs/trust.md', 'docs/observability.md', 'docs/training.md', 'docs/configuration.md', 'docs/formats/store.md', 'docs/formats/gzip-index.md'])('of %s lead somewhere', (page) => {
    const links = [...readFileSync(join(root, page), 'utf8').matchAll(/\]\((?!https?:)([^)#]+)/g)].map((match) => match[1]!)
    expect(links.filter((link) => !existsSync(join(root, page, '..', link)))).toEqual([])
  })
})
