import { availableParallelism } from 'node:os'
import { bytesOf } from '../../core/tensor.js'
import { native } from '../../native/load.js'
import type { Nearest, PlanePoints } from '../../ops/points.js'
import { GpuError } from './errors.js'
import { Frame, type Binding, type FrameWork } from './frame.js'
import type { NeighborHost } from './neighbors.js'
import type { PointCells } from './point-cells.js'
import type { Variant } from './session.js'

/** Nearest points on the device: frames of queries, whose candidates kernels/nearest-points.wgsl lists and the host decides among. */

/** What is asked: of each of the points `at` the `k` nearest. All are points, and k is from 1 to as many as there are. */
export interface PointQuery {
  /** A number of the caller's, the same for the same points, which are not sorted again. */
  readonly id: number
  readonly points: PlanePoints
  readonly at: Int32Array
  readonly k: number
}

export interface FoundPoints extends Nearest {
  /** Places in `at` of what only the CPU can do, rising; what is found of them here says nothing. */
  readonly undone: Uint32Array
}

export const NEAREST_VARIANT: Variant = { kernel: 'nearest-points', constants: {} }

/** Candidates that a list has room for. Where points lie evenly there are k and a few; of many that lie in one place there are more, and the CPU does such queries. */
const roomOf = (k: number): number => 2 * k + 64
/** Points that a query may look at: ten times what it does where they lie evenly. */
const reachOf = (k: number): number => 2 ** 14 + 64 * k
/** Workgroups of a dispatch: with what each may look at that is a second's work for a slow device, about; drivers end work that takes seconds. */
const QUERIES_MAX = 4096

/** Bytes on the device of what stays there from query to query. */
export function cellBytes({ packed, starts }: PointCells): number {
  return packed.byteLength + starts.byteLength
}

/** Throws GpuError for points or lists that no binding holds. */
export function checkFits(bindingBytes: number, points: number, k: number): void {
  // There is a cell for two points at most, and one in any case.
  if (4 * Math.max(points, 2) > bindingBytes || 4 * (roomOf(k) + 1) > bindingBytes) throw new GpuError('too-large', `${points} points with ${k} nearest ones each are more than this adapter's bindings hold`)
}

/** The arrays are only read, and until the promise settles. */
export async function findNearest(host: NeighborHost, cells: PointCells, { points, at, k }: PointQuery): Promise<FoundPoints> {
  const found = { index: new Int32Array(at.length * k), squared: new Float64Array(at.length * k) }
  const undone: number[] = []
  const listBytes = 4 * (roomOf(k) + 1)
  const most = Math.max(1, Math.min(QUERIES_MAX, Math.floor(Math.min(host.frameBytes, host.bindingBytes) / listBytes)))
  let failure: unknown
  const range = async (first: number, stop: number): Promise<void> => {
    try {
      await host.admit((stop - first) * listBytes, async () => {
        // Those that have not begun need not.
        if (failure !== undefined) throw new GpuError('failed', 'another frame failed')
        undone.push(...await computeFrame(host, cells, { points, at, k }, first, stop, found))
      })
    } catch (error) {
      if (!(error instanceof GpuError) || host.session.lost !== undefined || stop - first === 1 || (error.reason !== 'out-of-memory' && error.reason !== 'too-large')) {
        failure ??= error
        throw error
      }
      // Fewer at a time may fit.
      host.session.pool.trim(0)
      const middle = (first + stop) >> 1
      await range(first, middle)
      await range(middle, stop)
    }
  }
  const ranges: Promise<void>[] = []
  for (let first = 0; first < at.length; first += most) ranges.push(range(first, Math.min(at.length, first + most)))
  // Memory that was lent is read until the last has ended.
  await Promise.allSettled(ranges)
  if (failure !== undefined) throw failure
  return { ...found, undone: Uint32Array.from(undone).sort() }
}

/** Queries from `first` to `stop`; gives those that are for the CPU. */
async function computeFrame({ session }: NeighborHost, cells: PointCells, { points, at, k }: Omit<PointQuery, 'id'>, first: number, stop: number, found: Nearest): Promise<number[]> {
  const frame = new Frame(session)
  const count = stop - first
  const room = roomOf(k)
  const { columns, rows, shift, order, packed, starts, lattice } = cells
  let results: GPUBuffer
  let lists = new Uint32Array()
  const resident = (words: Uint32Array): Binding => ({ buffer: frame.resident(words, () => bytesOf(words)), offset: 0, size: Math.max(16, words.byteLength) })
  const own = (bytes: number): Binding => ({ buffer: frame.buffer(bytes), offset: 0, size: Math.max(16, bytes) })
  const work = function * (): FrameWork {
    const queries = own(4 * count)
    frame.upload(queries.buffer, bytesOf(Uint32Array.from(at.subarray(first, stop), (point) => lattice.packed(points.x[point]!, points.y[point]!))))
    const into = own(4 * count * (room + 1))
    results = into.buffer
    // A square of 2 r + 1 cells, with k points where they lie evenly.
    const ring = Math.ceil((Math.sqrt(k * columns * rows / packed.length) - 1) / 2)
    frame.dispatch({
      ...NEAREST_VARIANT, bindings: { points: resident(packed), starts: resident(starts), queries, lists: into },
      params: { queries: count, wanted: k, room, reach: reachOf(k), shift, columns, rows, ring: Math.max(0, ring) }, workgroups: count,
    })
    yield * []
  }
  await frame.run(work(), () => [{ buffer: results, bytes: 4 * count * (room + 1) }], ([bytes]) => { lists = new Uint32Array(bytes!.slice().buffer) })
  const part = { index: found.index.subarray(first * k, stop * k), squared: found.squared.subarray(first * k, stop * k) }
  const done = new Uint8Array(count)
  await native().nearestListed(points.x, points.y, order, lists, at.subarray(first, stop), room, k, part.index, part.squared, done, availableParallelism())
  return Array.from(done, (is, query) => is === 1 ? -1 : first + query).filter((place) => place >= 0)
}
