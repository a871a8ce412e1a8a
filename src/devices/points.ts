import type { PointGrid } from '../native/addon.js'
import { native } from '../native/load.js'
import type { Nearest, PlanePoints } from '../ops/points.js'

/** Points that were sorted, for as long as somebody has them. */
const grids = new WeakMap<PlanePoints, Promise<PointGrid>>()

/** `Device.nearest` of the CPU. */
export async function nearestPoints(points: PlanePoints, at: Int32Array, k: number, threads: number): Promise<Nearest> {
  let sorting = grids.get(points)
  if (sorting === undefined) grids.set(points, sorting = sorted(points))
  const grid = await sorting
  const [x, y] = [points.x, points.y].map((all) => Float64Array.from(at, (point) => all[point]!)) as [Float64Array, Float64Array]
  const found = { index: new Int32Array(at.length * k), squared: new Float64Array(at.length * k) }
  await grid.nearest(x, y, k, found.index, found.squared, threads)
  return found
}

async function sorted({ x, y }: PlanePoints): Promise<PointGrid> {
  const grid = new (native().PointGrid)()
  await grid.build(x, y)
  return grid
}
