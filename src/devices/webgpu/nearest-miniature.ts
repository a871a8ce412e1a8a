import { Philox } from '../../core/philox.js'
import { bytesOf } from '../../core/tensor.js'
import type { PlanePoints } from '../../ops/points.js'
import type { Engine } from './engine.js'

/** The canary's miniature of kernels/nearest-points.wgsl; its result is pinned in golden.ts. */

/** The kernel, and what its result is called. */
export const NEAREST = 'nearest-points'
const COUNT = 3000
/** No number of anybody's. */
const ID = -1

/**
 * Points that are asked about themselves. One in eight lies evenly; the others crowd into a part of the box that is 1/64 wide and high, where they are a few of the kernel's units from each other, so that rounding
 * decides what is listed; and one in three of all is on a lattice, with ties.
 */
export function nearestMiniature(): { points: PlanePoints; at: Int32Array; ks: readonly number[] } {
  const random = new Philox([0x6e656172, 0x65737421], [0, 0, 0])
  const [x, y] = [new Float64Array(COUNT), new Float64Array(COUNT)]
  for (let k = 0; k < COUNT; k++) {
    const scale = k % 8 === 0 ? 1 : 2 ** -6
    const bits = k % 3 === 0 ? 6 : 30
    for (const axis of [x, y]) axis[k] = 1e6 + scale * random.below(2 ** bits) * 2 ** -bits
  }
  return { points: { x, y }, at: Int32Array.from({ length: 120 }, (_, k) => 17 * k), ks: [1, 7, 40] }
}

/** What the device finds: indices and squared distances by k; nothing where it leaves something to the CPU. */
export async function nearestOnDevice(engine: Engine): Promise<Uint8Array[]> {
  const { points, at, ks } = nearestMiniature()
  const found: Uint8Array[] = []
  try {
    for (const k of ks) {
      const { undone, index, squared } = await engine.nearest({ id: ID, points, at, k })
      if (undone.length > 0) return []
      found.push(bytesOf(index), bytesOf(squared))
    }
    return found
  } finally {
    engine.forgetPoints(ID)
  }
}
