import type { Program } from '../../ops/program.js'
import type { TypedArray } from '../../core/dtype.js'
import type { Fault } from '../device.js'
import type { Verdicts } from './canary.js'
import type { AdapterFacts } from './dawn.js'
import type { EngineOptions } from './engine.js'
import type { Crystals, FoundEdges, NeighborSearch } from './neighbors.js'
import type { FoundPoints, PointQuery } from './points.js'

export interface BackendOptions extends EngineOptions {
  /** A part of the adapter's name; the best one when left out. */
  readonly adapter: string | undefined
  /** False: nothing is checked, and nothing is promised. */
  readonly canary: boolean
  /** Verdicts of earlier runs. */
  readonly known: Verdicts
}

export interface Preparation {
  /** Kernels of the program that the device fails, or why it cannot run it at all. */
  readonly failed: readonly string[]
  /** Verdicts that were not known before. */
  readonly learned: Verdicts
}

/** An array that stays on the device, by a number of the caller's. */
export interface Place {
  readonly kept: number
}

export function isPlace(array: object): array is Place {
  return 'kept' in array
}

/** The GPU as a device sees it, on whatever thread it lives. Rejects with GpuError, after which the device may be asked again. */
export interface Backend {
  readonly facts: AdapterFacts
  /** Compiles what the program needs and checks the device with it. `id` is how `run` names the program. */
  prepare(id: number, program: Program): Promise<Preparation>
  /** Places are kept for single items only. */
  run(id: number, count: number, inputs: readonly (TypedArray | Place)[], outputs: readonly (TypedArray | Place)[]): Promise<readonly Fault[]>
  /** Fills the array from its place. */
  read(place: Place, out: TypedArray): Promise<void>
  /** Gives the place back. */
  drop(place: Place): void
  /** As `prepare`, for `neighbors`. */
  prepareNeighbors(search: NeighborSearch): Promise<Preparation>
  /** The edges are the caller's. */
  neighbors(search: NeighborSearch, crystals: Crystals): Promise<FoundEdges>
  /** As `prepare`, for `nearest`. */
  prepareNearest(): Promise<Preparation>
  /** The arrays that are found are the caller's. */
  nearest(query: PointQuery): Promise<FoundPoints>
  /** Nobody asks about these points any more. */
  forgetPoints(id: number): void
  /** Forgets a program. */
  release(id: number): void
  close(): Promise<void>
}
