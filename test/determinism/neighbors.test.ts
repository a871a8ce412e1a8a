// Neighbour lists on every adapter against native/src/crystal, to the bit.
import { describe, expect, test } from 'vitest'
import { bytesOf } from '../../src/core/tensor.js'
import type { Edges } from '../../src/devices/webgpu/edges.js'
import { neighborVariants, type Crystals, type NeighborSearch } from '../../src/devices/webgpu/neighbors.js'
import { kernel, type Kernel } from '../../src/devices/webgpu/wgsl.js'
import type { Engine } from '../../src/devices/webgpu/engine.js'
import { layoutOf } from '../../src/ops/wgsl-layout.js'
import { compilesSlowly, engines, withEngine, type TestEngine } from '../support/gpu.js'
import { crystalsOf, cubic, randomStructure, referenceEdges, rockSalt, sheared, type Structure } from './neighbors.reference.js'
import { tally } from './tally.js'
import { Random } from './values.js'

const found = (await engines()).map((one) => [one.name, one] as const)

const RADIUS: NeighborSearch = { cutoff: 5.64, maxNeighbors: 0, selfLoops: false, nearest: 0, keepTies: false }
const SEARCHES: Readonly<Record<string, NeighborSearch>> = {
  radius: RADIUS,
  'radius with loops': { ...RADIUS, selfLoops: true },
  'radius, the nearest 12': { ...RADIUS, maxNeighbors: 12 },
  'radius, the nearest one, with loops': { ...RADIUS, maxNeighbors: 1, selfLoops: true },
  'the 12 nearest': { ...RADIUS, cutoff: 0, nearest: 12 },
  'the 12 nearest and their equals': { ...RADIUS, cutoff: 0, nearest: 12, keepTies: true },
  'the nearest and its equals': { ...RADIUS, cutoff: 0, nearest: 1, keepTies: true },
}

function structures(): Structure[] {
  const random = new Random(7)
  const list: Structure[] = []
  // Cells of 2 Å have many images.
  for (let at = 0; at < 60; at++) list.push(randomStructure(random, 1 + random.below(6), 2 + 4 * random.unit(), at % 7))
  list.push(cubic(9), rockSalt(5.64, 1), rockSalt(5.64, 4), cubic(50, 0, 0, 0))
  // Distances that lie on one axis and have 25 bits: midpoints of two float32, where ties round to even.
  for (const bits of [16777217, 16777219, 25165825]) list.push(cubic(8, 0, 0, 0, bits * 2 ** -26, 0, 0))
  // Just inside the cutoff, just outside, and where float32 cannot tell.
  for (const edge of [5.64 + 5e-10, 5.64 + 3e-9, 5.64001]) list.push(cubic(edge, 0, 0, 0))
  list.push(sheared(sheared(cubic(3, 0.1, 0.2, 0.3, 0.6, 0.7, 0.8), 1, 0, 60), 2, 1, 1))
  // Far outside of the cell.
  list.push(cubic(4, 120.25, -80.5, 3000.125, 0.5, 0.5, 0.5))
  list.push(randomStructure(random, 300, 14, 0), randomStructure(random, 300, 22, 3))
  return list
}

async function differs(engine: Engine, search: NeighborSearch, crystals: Crystals, { edges, faulty }: { edges: Edges; faulty: readonly number[] }): Promise<string | undefined> {
  const result = await engine.neighbors(search, crystals)
  if (result.undone.join() !== faulty.join()) return `undone: ${result.undone.join()}, not ${faulty.join()}`
  return apart(result.edges, edges)
}

function apart(a: Edges, b: Edges): string | undefined {
  return (['offsets', 'source', 'target', 'image', 'distance', 'vector', 'cut'] as const).find((name) => Buffer.compare(bytesOf(a[name]), bytesOf(b[name])) !== 0)
}

function expectNone(search: NeighborSearch, crystals: Crystals, { name, engine }: Pick<TestEngine, 'name' | 'engine'>, expected = referenceEdges(search, crystals), atLeast = 1): Promise<void> {
  return differs(engine, search, crystals, expected).then((difference) => {
    expect([name, difference]).toEqual([name, undefined])
    const edges = expected.edges.source.length
    expect(edges).toBeGreaterThanOrEqual(atLeast)
    tally(name, neighborVariants(search).map((variant) => variant.kernel), 8 * edges, 0)
  })
}

describe.each(found)('neighbours on %s are those of the CPU', (_name, one) => {
  test.each(Object.entries(SEARCHES))('%s', async (_what, search) => {
    const crystals = crystalsOf(structures())
    await expectNone(search, crystals, one, undefined, 400)
  })
})
