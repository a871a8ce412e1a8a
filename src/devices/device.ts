import type { TypedArray } from '../core/dtype.js'
import type { Batch, BatchResult, BatchStep } from '../ops/batch.js'
import type { NearestSearch } from '../ops/points.js'
import type { Program } from '../ops/program.js'

/**
 * Where programs run. A device knows nothing of files, recipes or stores: it gets arrays and fills arrays. All devices give the
 * same bytes. `prepare` compiles and may be slow; `run` dispatches.
 */
export interface Device {
  /** What kind of device. */
  readonly kind: 'cpu' | 'webgpu'
  /** What computed a result, for provenance; never part of a key unless an op is inexact. */
  readonly identity: DeviceIdentity
  /** False when nobody checked that it gives the same bytes; then its identity is part of every key. */
  readonly exact: boolean
  /** @internal Compiles. */
  prepare(program: Program): Promise<PreparedProgram>
  /** @internal A place for a result that is to stay where it is computed; left out by devices whose memory is everybody's. */
  keep?(): KeptArray
  /** Nearest points. The same numbers on every device. */
  nearest: NearestSearch
  /** @internal Runs a batch step. The given arrays are only read. */
  batch(step: BatchStep, batch: Batch): Promise<BatchResult>
  /** Ends it; work under way is finished first. To be called by whoever made the device. */
  close(): Promise<void>
}

/** A device that is opened when something has to be computed, and not before. */
export interface DeviceSource {
  /** As of the device; known before it is opened. */
  readonly exact: boolean
  open(): Promise<Device>
}

/** What computed something. */
export interface DeviceIdentity {
  /** What kind of device. */
  readonly kind: 'cpu' | 'webgpu'
  /** Instruction set or adapter name. */
  readonly name: string
  /** Driver and its version, of a GPU. */
  readonly driver?: string
}

export interface PreparedProgram {
  readonly program: Program
  /** Intermediate bytes one item needs beyond its inputs and outputs. */
  readonly scratchBytes: number
  /**
   * Runs `count` items, which lie one after the other in every array; `inputs` and `outputs` are in the order of the program's. Input arrays are
   * only read, output arrays are written and belong to the device until the promise settles. Runs may overlap.
   * Resolves to the faults found, in item order; an item with a fault has no valid output.
   */
  run(batch: ProgramBatch): Promise<readonly Fault[]>
  /** One item, of which some arrays stay on the device: what one program made the next one reads there. Where `keep` is. */
  runKept?(item: KeptItem): Promise<readonly Fault[]>
}

export interface ProgramBatch {
  readonly count: number
  readonly inputs: readonly TypedArray[]
  readonly outputs: readonly TypedArray[]
}

/** Arrays of one item. An output that is kept is made by that run and no other, or is one of its inputs that was not kept before. */
export interface KeptItem {
  readonly inputs: readonly (TypedArray | KeptArray)[]
  readonly outputs: readonly (TypedArray | KeptArray)[]
}

/** An array that stays on a device until it is released. What the device loses is computed again. */
export interface KeptArray {
  /** Copies it. `out` has its dtype and length, and belongs to the device until the promise settles. */
  read(out: TypedArray): Promise<void>
  /** Nothing needs it any more. */
  release(): void
}

/** NaN or infinity where the step does not allow it. */
export interface Fault {
  /** Index into `program.steps`. */
  readonly step: number
  /** Position in the batch. */
  readonly item: number
  readonly count: number
  /** C-order index of the first such value in the step's tensor. */
  readonly index: number
}
