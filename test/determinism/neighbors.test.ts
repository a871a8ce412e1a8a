// The neighbors kernels against native/src/crystal, to the bit, on every adapter.
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Engine } from '../../src/devices/webgpu/engine.js'
import type { Binding, Frame, FrameWork } from '../../src/devices/webgpu/frame.js'
import { kernel, userKernel } from '../../src/devices/webgpu/wgsl.js'
import { engines } from '../support/gpu.js'

const here = fileURLToPath(new URL('.', import.meta.url))
const source = join(here, '../../native/src')
const MODES = ['radius', 'loops', 'most', 'cut', 'keep'] as const
const WANTED = 12
let dir: string

interface Case {
  readonly targets: number
  readonly edges: number
  readonly rows: Uint32Array
  readonly cells: Uint32Array
  readonly atoms: Uint32Array
  readonly limits: Uint32Array
  readonly ends: Uint32Array
  readonly images: Uint32Array
  readonly geometry: Uint32Array
}

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'tensorcache-neighbors-'))
  const files = ['lattice', 'exact', 'candidates', 'neighbors', 'neighbor_tables'].map((name) => join(source, 'crystal', `${name}.cc`))
  execFileSync(process.env.CXX ?? 'c++', ['-std=c++20', '-O1', '-ffp-contract=off', `-I${source}`, join(here, 'neighbors.cases.cc'), ...files, '-o', join(dir, 'cases')])
}, 120_000)
afterAll(() => rmSync(dir, { recursive: true, force: true }))

function caseOf(mode: string): Case {
  const path = join(dir, mode)
  execFileSync(join(dir, 'cases'), [path, mode])
  const file = readFileSync(path)
  const words = new Uint32Array(file.buffer, file.byteOffset, file.byteLength / 4)
  const arrays: Uint32Array[] = []
  for (let at = 0; at < words.length; at += 1 + words[at]!) arrays.push(words.subarray(at + 1, at + 1 + words[at]!))
  const [numbers, rows, cells, atoms, limits, ends, images, geometry] = arrays as [Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array, Uint32Array]
  return { targets: numbers[0]!, edges: numbers[1]!, rows, cells, atoms, limits, ends, images, geometry }
}

interface Kernels {
  readonly count: string
  readonly fill: string
}

/** Edges as the kernels find them: select where there are limits, count, scan, fill. */
async function run(engine: Engine, mode: string, given: Case, { count, fill }: Kernels = { count: 'neighbors-count', fill: 'neighbors-fill' }): Promise<Uint32Array[]> {
  const constants = { SELF_LOOPS: mode === 'loops' ? 1 : 0 }
  const selecting = { KEEP_TIES: mode === 'keep' ? 1 : 0 }
  const results: Uint32Array[] = []
  await engine.withFrame(['scan-blocks', 'scan-add'], async (frame) => {
    await Promise.all([
      frame.session.compile({ kernel: count, constants }), frame.session.compile({ kernel: fill, constants }),
      frame.session.compile({ kernel: 'neighbors-select', constants: selecting }),
    ])
    let outputs: { buffer: GPUBuffer; bytes: number }[] = []
    const work = function * (): FrameWork {
      const group = frame.session.options.workgroupSize
      const rows = given.targets / 4
      const upload = (words: Uint32Array): Binding => {
        const bound = empty(frame, words.length)
        frame.upload(bound.buffer, new Uint8Array(words.buffer, words.byteOffset, words.byteLength))
        return bound
      }
      const inputs = { rows: upload(given.rows), cells: upload(given.cells), atoms: upload(given.atoms), limits: upload(given.limits) }
      const window = { window: rows, first_row: 0, targets: given.targets }
      if (mode !== 'radius' && mode !== 'loops') {
        frame.dispatch({ kernel: 'neighbors-select', constants: selecting, bindings: { ...inputs, best: empty(frame, rows * WANTED * 2) }, params: { ...window, wanted: WANTED }, workgroups: Math.ceil(rows / group) })
      }
      const counts = empty(frame, rows)
      const faults = upload(new Uint32Array(given.cells.length / 32 * 2))
      frame.dispatch({ kernel: count, constants, bindings: { ...inputs, counts, faults }, params: { ...window, fault_offset: 0 }, workgroups: Math.ceil(rows / group) })
      const total = scan(frame, counts, rows)
      const [edges] = yield { buffer: total.buffer, bytes: 4 }
      results.push(new Uint32Array([edges!]))
      const made = { ends: empty(frame, Math.max(1, 2 * edges!)), images: empty(frame, Math.max(1, 3 * edges!)), geometry: empty(frame, Math.max(1, 4 * edges!)) }
      frame.dispatch({ kernel: fill, constants, bindings: { ...inputs, offsets: counts, ...made }, params: { ...window, edges: edges! }, workgroups: Math.ceil(rows / group) })
      outputs = [{ buffer: made.ends.buffer, bytes: 8 * edges! }, { buffer: made.images.buffer, bytes: 12 * edges! }, { buffer: made.geometry.buffer, bytes: 16 * edges! }, { buffer: faults.buffer, bytes: given.cells.length / 4 }]
    }
    await frame.run(work(), () => outputs, (parts) => { for (const part of parts) results.push(new Uint32Array(part.slice().buffer)) })
  })
  return results
}

function empty(frame: Frame, words: number): Binding {
  const bytes = Math.max(16, 4 * words)
  return { buffer: frame.buffer(bytes), offset: 0, size: bytes }
}

/** Exclusive sums in place; what is returned holds the total. */
function scan(frame: Frame, values: Binding, elements: number): Binding {
  const blocks = Math.ceil(elements / 2048)
  const totals = empty(frame, blocks)
  frame.dispatch({ kernel: 'scan-blocks', constants: {}, bindings: { values, totals }, params: { elements }, workgroups: blocks })
  if (blocks === 1) return totals
  const total = scan(frame, totals, blocks)
  frame.dispatch({ kernel: 'scan-add', constants: {}, bindings: { totals, values }, params: { elements }, workgroups: Math.ceil(elements / frame.session.options.workgroupSize) })
  return total
}

describe('neighbors on every adapter', () => {
  test.each(MODES)('%s gives the edges of the CPU', async (mode) => {
    const given = caseOf(mode)
    expect(given.edges).toBeGreaterThan(3000)
    const found = await engines()
    expect(process.env.TENSORCACHE_REQUIRE_WEBGPU === undefined || found.length > 0).toBe(true)
    for (const { name, engine } of found) {
      const [total, ends, images, geometry, faults] = await run(engine, mode, given)
      expect([name, total![0]]).toEqual([name, given.edges])
      expect([name, same(ends!, given.ends), same(images!, given.images), same(geometry!, given.geometry)]).toEqual([name, true, true, true])
      expect(faults!.every((word) => word === 0)).toBe(true)
    }
  }, 120_000)

  const controls: readonly { what: string; kernel: keyof Kernels; from: string; to: string }[] = [
    { what: 'a root rounded down', kernel: 'fill', from: 'return bits;', to: 'return bits - 1u;' },
    { what: 'ties to odd', kernel: 'fill', from: '(bits & 1u) == 0u', to: '(bits & 1u) == 1u' },
    { what: 'components rounded down', kernel: 'fill', from: 'select(0u, 1u, up)', to: '0u' },
    { what: 'a cutoff in float32', kernel: 'count', from: 'is_less64((*walk).limit, key)', to: 'false' },
    { what: 'intervals that are too narrow', kernel: 'count', from: 'ceil(center - half)', to: 'ceil(center - 0.99 * half)' },
  ]
  test.each(controls)('$what would be noticed', async ({ kernel: which, from, to }) => {
    const given = caseOf('radius')
    const names: Kernels = { count: 'neighbors-count', fill: 'neighbors-fill' }
    const { code } = kernel(names[which])
    expect(code).toContain(from)
    const wrong = { ...names, [which]: userKernel(code.replaceAll(from, to).replaceAll(/^\/\/ import: .*$/gm, '')).name }
    const [first] = await engines()
    if (first === undefined) return
    const { engine } = first
    const [total, , , geometry] = await run(engine, 'radius', given, wrong)
    expect(total![0] === given.edges && same(geometry!, given.geometry)).toBe(false)
  }, 120_000)
})

function same(a: Uint32Array, b: Uint32Array): boolean {
  return a.length === b.length && Buffer.compare(Buffer.from(a.buffer, a.byteOffset, a.byteLength), Buffer.from(b.buffer, b.byteOffset, b.byteLength)) === 0
}
