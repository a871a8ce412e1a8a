import type { Device } from '../device.js'
import type { Nearest, PlanePoints } from '../../ops/points.js'
import type { Backend } from './backend.js'
import type { FoundPoints } from './points.js'

/** Where nearest points are looked for. */
export interface PointsRoom {
  readonly backend: Backend
  /** Does what the backend cannot, and what is not worth its while. */
  readonly cpu: Device
  /** Whether the backend passes for it. */
  readonly usable: () => Promise<boolean>
  /** Tells of an error of the device; throws any other. */
  readonly warn: (error: unknown) => void
}

/** For less the CPU takes a few milliseconds; with more nearest ones the candidates of a query are tens of kilobytes to read back. */
const QUERIES_MIN = 512
const POINTS_MIN = 4096
const NEAREST_MAX = 4096

/** Numbers of points, the same for the same ones, for as long as somebody has them. Never used again, by no device. */
const numbers = new WeakMap<PlanePoints, number>()
let next = 0

/** `Device.nearest` on the GPU, with the CPU to stand in for it. */
export class GpuPoints {
  readonly #room: PointsRoom
  /** Those that the backend was told of. */
  readonly #told = new WeakSet<PlanePoints>()
  /** Those of which the backend left most to the CPU: it is not asked again. */
  readonly #crowded = new WeakSet<PlanePoints>()

  constructor(room: PointsRoom) {
    this.#room = room
  }

  async nearest(points: PlanePoints, at: Int32Array, k: number): Promise<Nearest> {
    const { backend, cpu, usable, warn } = this.#room
    if (!isWorthwhile(points, at, k) || this.#crowded.has(points) || !fits(points, at, k) || !await usable()) return cpu.nearest(points, at, k)
    let found: FoundPoints
    try {
      found = await backend.nearest({ id: this.#numberOf(points), points, at, k })
    } catch (error) {
      warn(error)
      return cpu.nearest(points, at, k)
    }
    const { index, squared, undone } = found
    if (undone.length === 0) return { index, squared }
    if (undone.length > at.length / 2) this.#crowded.add(points)
    if (undone.length === at.length) return cpu.nearest(points, at, k)
    const rest = await cpu.nearest(points, Int32Array.from(undone, (place) => at[place]!), k)
    undone.forEach((place, row) => {
      index.set(rest.index.subarray(row * k, (row + 1) * k), place * k)
      squared.set(rest.squared.subarray(row * k, (row + 1) * k), place * k)
    })
    return { index, squared }
  }

  #numberOf(points: PlanePoints): number {
    let id = numbers.get(points)
    if (id === undefined) numbers.set(points, id = next++)
    if (!this.#told.has(points)) {
      this.#told.add(points)
      collected.register(points, { backend: new WeakRef(this.#room.backend), id })
    }
    return id
  }
}

function isWorthwhile({ x }: PlanePoints, at: Int32Array, k: number): boolean {
  return at.length >= QUERIES_MIN && x.length >= POINTS_MIN && k <= NEAREST_MAX
}

/** Whether it is what it should be: the CPU refuses what is not, so that it is refused alike everywhere. Arrays that are lent to a thread must have memory of their own. */
function fits({ x, y }: PlanePoints, at: Int32Array, k: number): boolean {
  const own = [x, y].every((values) => values instanceof Float64Array && values.buffer instanceof ArrayBuffer) && at instanceof Int32Array && at.buffer instanceof ArrayBuffer
  return own && x.length === y.length && Number.isInteger(k) && k >= 1 && k <= x.length && at.every((point) => point >= 0 && point < x.length)
}

const collected = new FinalizationRegistry<{ backend: WeakRef<Backend>; id: number }>(({ backend, id }) => backend.deref()?.forgetPoints(id))
