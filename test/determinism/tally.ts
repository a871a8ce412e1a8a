import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll } from 'vitest'
import { dawnVersion } from '../../src/devices/webgpu/local.js'
import { readsOf, writesOf, type Program } from '../../src/ops/program.js'
import { variantsOf } from '../../src/devices/webgpu/steps.js'
import { engines } from '../support/gpu.js'

/**
 * What was compared, for the records of `npm run test:determinism` (scripts/determinism.mjs): each test file leaves its own part in this folder.
 */
const FOLDER = process.env.TENSORCACHE_TALLY

interface Count { values: number; differingBits: number }
const counts = new Map<string, Map<string, Count>>()

/** Counts `values` elements, which these kernels had a part in, as compared on an adapter. */
export function tally(adapter: string, kernels: Iterable<string>, values: number, differingBits: number): void {
  if (FOLDER === undefined) return
  let byKernel = counts.get(adapter)
  if (byKernel === undefined) counts.set(adapter, byKernel = new Map())
  for (const kernel of new Set(kernels)) {
    const count = byKernel.get(kernel) ?? { values: 0, differingBits: 0 }
    byKernel.set(kernel, { values: count.values + values, differingBits: count.differingBits + differingBits })
  }
}

/** For each output the kernels it went through. */
export function kernelsBehind(program: Program): string[][] {
  const behind = new Map<number, string[]>()
  for (const step of program.steps) {
    const before = readsOf(step).flatMap((value) => behind.get(value) ?? [])
    for (const value of writesOf(step)) behind.set(value, [...before, ...variantsOf(step, program).map(({ kernel }) => kernel)])
  }
  return program.outputs.map(({ value }) => behind.get(value) ?? [])
}

export function bitsApart(a: Uint8Array, b: Uint8Array): number {
  let bits = 0
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    for (let rest = (a[i] ?? 0) ^ (b[i] ?? 0); rest !== 0; rest &= rest - 1) bits++
  }
  return bits
}

if (FOLDER !== undefined) {
  afterAll(async () => {
    mkdirSync(FOLDER, { recursive: true })
    const parts = (await engines()).map(({ facts }) => ({ facts, dawn: dawnVersion(), kernels: Object.fromEntries(counts.get(facts.name) ?? []) }))
    writeFileSync(join(FOLDER, `${process.pid}-${Date.now()}.json`), JSON.stringify(parts))
  })
}
