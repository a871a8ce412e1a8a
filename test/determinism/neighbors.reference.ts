import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll } from 'vitest'
import type { Edges } from '../../src/devices/webgpu/edges.js'
import type { Crystals, NeighborSearch } from '../../src/devices/webgpu/neighbors.js'
import { Random } from './values.js'

// native/src/crystal/neighbors.cc as a program of its own, and structures to try it on.

export interface Structure {
  /** Rows a, b, c. */
  readonly lattice: readonly number[]
  readonly frac: readonly number[]
}

const here = fileURLToPath(new URL('.', import.meta.url))
const source = join(here, '../../native/src')
let folder: string | undefined

afterAll(() => {
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
})

function program(): string {
  if (folder === undefined) {
    folder = mkdtempSync(join(tmpdir(), 'tensorcache-neighbors-'))
    const files = ['lattice', 'exact', 'candidates', 'neighbors'].map((name) => join(source, 'crystal', `${name}.cc`)).concat(join(source, 'memory/pool.cc'))
    execFileSync(process.env.CXX ?? 'c++', ['-std=c++20', '-O1', '-ffp-contract=off', `-I${source}`, join(here, 'neighbors.reference.cc'), ...files, '-o', join(folder, 'reference')])
  }
  return join(folder, 'reference')
}

/** Edges of the structures, and those with which something is wrong: they have none. */
export function referenceEdges({ cutoff, maxNeighbors, selfLoops, nearest, keepTies }: NeighborSearch, { offsets, frac, lattice }: Crystals): { edges: Edges; faulty: number[] } {
  const path = program()
  const count = offsets.length - 1
  const numbers = [cutoff, maxNeighbors, Number(selfLoops), nearest, Number(keepTies), count]
  for (let k = 0; k < count; k++) numbers.push(offsets[k + 1]! - offsets[k]!, ...lattice.subarray(9 * k, 9 * k + 9), ...frac.subarray(3 * offsets[k]!, 3 * offsets[k + 1]!))
  writeFileSync(`${path}.in`, new Uint8Array(Float64Array.from(numbers).buffer))
  execFileSync(path, [`${path}.in`, `${path}.out`])
  const file = readFileSync(`${path}.out`)
  const bytes = file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength)
  const counts = new Float64Array(bytes, 0, 3 * count)
  const found = new Float64Array(count + 1)
  const cut = new Int32Array(count)
  const faulty: number[] = []
  for (let k = 0; k < count; k++) {
    found[k + 1] = found[k]! + counts[3 * k]!
    cut[k] = counts[3 * k + 1]!
    if (counts[3 * k + 2]! !== 0) faulty.push(k)
  }
  const size = found[count]!
  const at = 24 * count
  const edges = {
    offsets: found, source: new Int32Array(bytes, at, size), target: new Int32Array(bytes, at + 4 * size, size), distance: new Float32Array(bytes, at + 8 * size, size),
    vector: new Float32Array(bytes, at + 12 * size, 3 * size), image: new Int16Array(bytes, at + 24 * size, 3 * size), cut,
  }
  return { edges, faulty }
}

export function crystalsOf(structures: readonly Structure[]): Crystals {
  const offsets = new Float64Array(structures.length + 1)
  structures.forEach(({ frac }, k) => { offsets[k + 1] = offsets[k]! + frac.length / 3 })
  return { offsets, frac: Float64Array.from(structures.flatMap(({ frac }) => frac)), lattice: Float64Array.from(structures.flatMap(({ lattice }) => lattice)) }
}

export function cubic(edge: number, ...frac: number[]): Structure {
  return { lattice: [edge, 0, 0, 0, edge, 0, 0, 0, edge], frac }
}

/** Adds `times` row `from` to row `to`. */
export function sheared({ lattice, frac }: Structure, to: number, from: number, times: number): Structure {
  return { lattice: lattice.map((x, k) => Math.floor(k / 3) === to ? x + times * lattice[3 * from + k % 3]! : x), frac }
}

/** Atoms at random places, in cells up to 1.5 around the first. */
export function randomStructure(random: Random, atoms: number, edge: number, skews: number): Structure {
  const between = (low: number, high: number): number => low + (high - low) * random.unit()
  let made: Structure = { lattice: Array.from({ length: 9 }, (_, k) => edge * (Number(k % 4 === 0) + between(-0.3, 0.3))), frac: Array.from({ length: 3 * atoms }, () => between(-1.5, 1.5)) }
  for (let s = 0; s < skews; s++) {
    const to = random.below(3)
    made = sheared(made, to, (to + 1 + random.below(2)) % 3, random.below(5) - 2)
  }
  return made
}

/** Two kinds of atoms in turn on a cubic grid of `edge` / 2, `cells`³ cells of 8. */
export function rockSalt(edge: number, cells: number): Structure {
  const frac: number[] = []
  const steps = Array.from({ length: 2 * cells }, (_, n) => n / (2 * cells))
  for (const x of steps) for (const y of steps) for (const z of steps) frac.push(x, y, z)
  return cubic(edge * cells, ...frac)
}
