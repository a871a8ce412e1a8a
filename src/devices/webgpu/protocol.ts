import type { StageFacts } from '../../core/stages.js'
import type { Program } from '../../ops/program.js'
import type { Fault } from '../device.js'
import type { BackendOptions, Place, Preparation } from './backend.js'
import type { AdapterFacts } from './dawn.js'
import type { GpuError } from './errors.js'
import type { Crystals, FoundEdges, NeighborSearch } from './neighbors.js'
import type { FoundPoints } from './points.js'

/** What the thread that holds the device is started with. */
export interface ThreadData {
  readonly options: BackendOptions
  /** Int32: set and notified when nothing is pending on the device any more, for a process that is exiting. */
  readonly gone: SharedArrayBuffer
}

/** Memory of the main thread, lent until the reply. */
export interface Lent {
  readonly address: bigint
  readonly bytes: number
}

/** Asked while somebody listens to stages: the thread tells its own. */
export interface Profiled {
  readonly profiled?: boolean
}

export type Request = Profiled & (
  | { readonly id: number; readonly kind: 'prepare'; readonly program: number; readonly steps: Program }
  | { readonly id: number; readonly kind: 'run'; readonly program: number; readonly count: number; readonly inputs: readonly (Lent | Place)[]; readonly outputs: readonly (Lent | Place)[] }
  | { readonly id: number; readonly kind: 'read'; readonly place: Place; readonly out: Lent }
  | { readonly id: number; readonly kind: 'drop'; readonly place: Place }
  | { readonly id: number; readonly kind: 'prepare-neighbors'; readonly search: NeighborSearch }
  | { readonly id: number; readonly kind: 'neighbors'; readonly search: NeighborSearch; readonly crystals: { readonly [part in keyof Crystals]: Lent } }
  | { readonly id: number; readonly kind: 'prepare-nearest' }
  | { readonly id: number; readonly kind: 'nearest'; readonly points: number; readonly x: Lent; readonly y: Lent; readonly at: Lent; readonly k: number }
  | { readonly id: number; readonly kind: 'forget-points'; readonly points: number }
  | { readonly id: number; readonly kind: 'release'; readonly program: number }
  | { readonly id: number; readonly kind: 'close' }
)

export type Reply =
  | { readonly kind: 'open'; readonly facts: AdapterFacts }
  | { readonly kind: 'refused'; readonly message: string }
  | { readonly kind: 'done'; readonly id: number; readonly result: Preparation | readonly Fault[] | FoundEdges | FoundPoints | undefined }
  | { readonly kind: 'failed'; readonly id: number; readonly reason: GpuError['reason']; readonly message: string }
  /** A piece of work; `start` counts from the epoch. */
  | { readonly kind: 'stage'; readonly facts: StageFacts }
  /** The thread ends; nothing was asked of it. */
  | { readonly kind: 'ending'; readonly message: string }
