import { bytesOf } from '../../core/tensor.js'
import type { NeighborTables } from '../../native/addon.js'
import { native } from '../../native/load.js'
import { GpuError } from './errors.js'
import { Frame, type Binding, type FrameWork, type Visit } from './frame.js'
import { emptyEdges, joinEdges, type Edges, type Piece } from './edges.js'
import { SCAN_KERNELS, encodeScan } from './scan.js'
import type { Session, Variant } from './session.js'

/** Neighbour lists on the device: frames of structures, each selected, counted, scanned and filled by kernels/neighbors-*.wgsl. */

/** What is looked for: the parameters of the step crystal-graph, methods radius and knn. */
export interface NeighborSearch {
  /** Å; not used where `nearest` is given. */
  readonly cutoff: number
  /** 0 for all. */
  readonly maxNeighbors: number
  readonly selfLoops: boolean
  /** knn: so many; 0 for radius. */
  readonly nearest: number
  /** knn: all as near as the last one. */
  readonly keepTies: boolean
}

/** Structures, one after the other. */
export interface Crystals {
  /** [structures + 1]: where the atoms of each begin. */
  readonly offsets: Float64Array
  /** [atoms, 3] */
  readonly frac: Float64Array
  /** [structures, 3, 3], rows a, b, c in Å. */
  readonly lattice: Float64Array
}

export interface FoundEdges {
  readonly edges: Edges
  /** Structures that only the CPU can do, rising; they have no edges here. */
  readonly undone: Uint32Array
}

/** Where frames are computed. */
export interface NeighborHost {
  readonly session: Session
  /** Bytes that one binding may have. */
  readonly bindingBytes: number
  readonly frameBytes: number
  /** Lets work that holds so many bytes in when there is room. */
  admit<T>(bytes: number, work: () => Promise<T>): Promise<T>
}

const EDGE_BYTES = 36
const CELL_WORDS = 32
const FIRST_ATOM = 30
const ATOM_WORDS = 9
const LIMIT_WORDS = 4
const ROW_WORDS = 4
/** What one invocation may go through, about: drivers end work that takes seconds. */
const REACH_MAX = 2 ** 20
/** And all of a frame. */
const FRAME_REACH_MAX = 2 ** 28
/** Volume of a sphere of radius 1. */
const SPHERE = 4.19

/** Everything that a search needs compiled. */
export function neighborVariants(search: NeighborSearch): Variant[] {
  const { count, fill, select } = variantsFor(search)
  return [...SCAN_KERNELS.map((kernel) => ({ kernel, constants: {} })), count, fill, ...wantedOf(search) > 0 ? [select] : []]
}

/** Finds the edges of all structures. The arrays are only read, and until the promise settles. */
export async function findEdges(host: NeighborHost, search: NeighborSearch, crystals: Crystals): Promise<FoundEdges> {
  const count = crystals.offsets.length - 1
  const pieces: Piece[] = []
  const undone: number[] = []
  let failing = false
  const solve = async (items: Uint32Array, step: number): Promise<void> => {
    const jobs: Promise<void>[] = []
    const { parts, tooLarge } = cut(host, search, crystals, items, step)
    undone.push(...tooLarge)
    for (const part of parts) jobs.push(attempt(part, step))
    // Memory that was lent is read until the last has ended.
    const failed = (await Promise.allSettled(jobs)).find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }
  const attempt = async (part: Part, step: number): Promise<void> => {
    try {
      const { piece, lacking, refused } = await host.admit(part.bytes, async () => {
        // Those that have not begun need not.
        if (failing) throw new GpuError('failed', 'another frame failed')
        return computeFrame(host, search, crystals, part.items, step)
      })
      pieces.push(piece)
      undone.push(...refused)
      if (lacking.length > 0) await solve(Uint32Array.from(lacking), step + 1)
    } catch (error) {
      if (!(error instanceof GpuError) || host.session.lost !== undefined || (error.reason !== 'out-of-memory' && error.reason !== 'too-large')) {
        failing = true
        throw error
      }
      // Fewer at a time may fit.
      host.session.pool.trim(0)
      const half = part.items.length >> 1
      if (half === 0) undone.push(...part.items)
      else for (const items of [part.items.subarray(0, half), part.items.subarray(half)]) await solve(items, step)
    }
  }
  await solve(Uint32Array.from({ length: count }, (_, item) => item), 0)
  return { edges: joinEdges(count, pieces), undone: Uint32Array.from(undone).sort() }
}

// --- what fits ----------------------------------------------------------------------------------------------------------------------

interface Part {
  readonly items: Uint32Array
  /** Of memory on the device, about. */
  readonly bytes: number
}

/** Parts of the items that fit a frame, and items that fit none. */
function cut({ bindingBytes, frameBytes }: NeighborHost, search: NeighborSearch, { offsets, lattice }: Crystals, items: Uint32Array, step: number): { parts: Part[]; tooLarge: number[] } {
  const parts: Part[] = []
  const tooLarge: number[] = []
  const wanted = wantedOf(search)
  const most = { rows: bindingBytes, cells: bindingBytes, atoms: bindingBytes, bytes: frameBytes, reach: FRAME_REACH_MAX }
  const keys = ['rows', 'cells', 'atoms', 'bytes', 'reach'] as const
  let first = 0
  const sum = { rows: 0, cells: 0, atoms: 0, bytes: 0, reach: 0 }
  const end = (at: number): void => {
    if (at > first) parts.push({ items: items.subarray(first, at), bytes: sum.bytes })
    first = at
    for (const key of keys) sum[key] = 0
  }
  items.forEach((item, at) => {
    const atoms = offsets[item + 1]! - offsets[item]!
    // At most, as native/src/bind_neighbors.cc makes them.
    const perAtom = wanted > 0 ? 1 : Math.min(16, Math.ceil(atoms / 4))
    const density = atoms / volumeOf(lattice, 9 * item)
    // Neighbours within the sphere; of a cell without volume nothing is known, and it will be refused.
    const within = (search.nearest > 0 ? 2.1 * (search.nearest + 1) * 2.2 ** step : density * SPHERE * search.cutoff ** 3) || 0
    const kept = wanted > 0 ? Math.min(within, 1.25 * wanted) : within
    const rows = 16 * atoms * perAtom + 4 * (atoms > 48 ? 27 : 1) * atoms
    // Pairs that are looked at, and neighbours, each of which may be moved past many of the list.
    const reach = Math.min(atoms, 16 * within + 27) + within * (1 + Math.min(wanted, within) / 8)
    const bytes = 4 * CELL_WORDS + rows + atoms * (36 + 20 * perAtom + 8 * wanted + 2 * EDGE_BYTES * kept)
    const one = { rows, cells: 4 * CELL_WORDS, atoms: 36 * atoms, bytes, reach: atoms * reach }
    if (one.atoms > bindingBytes || 8 * wanted > bindingBytes || reach > REACH_MAX || one.reach > FRAME_REACH_MAX) {
      end(at)
      first = at + 1
      tooLarge.push(item)
      return
    }
    if (keys.some((key) => sum[key] + one[key] > most[key])) end(at)
    for (const key of keys) sum[key] += one[key]
  })
  end(items.length)
  return { parts, tooLarge }
}

function volumeOf(rows: Float64Array, at: number): number {
  const product = (i: number, j: number, k: number): number => rows[at + i]! * (rows[at + 3 + j]! * rows[at + 6 + k]! - rows[at + 3 + k]! * rows[at + 6 + j]!)
  return Math.abs(product(0, 1, 2) + product(1, 2, 0) + product(2, 0, 1))
}

// --- one frame ----------------------------------------------------------------------------------------------------------------------

interface FrameResult {
  readonly piece: Piece
  /** Items for which the sphere was too small. */
  readonly lacking: readonly number[]
  /** Items that only the CPU can do. */
  readonly refused: readonly number[]
}

/** Rows [first, stop) and the edges they have. */
interface Window {
  readonly first: number
  readonly stop: number
  readonly firstEdge: number
  readonly edges: number
}

async function computeFrame({ session, bindingBytes }: NeighborHost, search: NeighborSearch, crystals: Crystals, given: Uint32Array, step: number): Promise<FrameResult> {
  const { count, fill, select } = variantsFor(search)
  const wanted = wantedOf(search)
  const knn = search.nearest > 0
  const tables = await native().neighborTables(crystals.offsets, crystals.frac, crystals.lattice, given, knn ? 1 : search.cutoff, search.nearest, step, wanted === 0)
  const refused = new Set(tables.refused)
  const items = Int32Array.from(given.filter((item) => !refused.has(item)))
  const rows = tables.firstRow.at(-1)!
  const targets = ROW_WORDS * rows
  const groups = (invocations: number): number => Math.ceil(invocations / session.options.workgroupSize)
  const frame = new Frame(session)
  const bound = (bytes: number): Binding => {
    if (bytes > bindingBytes) throw new GpuError('too-large', `neighbour lists of ${items.length} structures do not fit this adapter's bindings`)
    const size = Math.max(16, bytes)
    return { buffer: frame.buffer(size), offset: 0, size }
  }
  const upload = (words: Uint32Array): Binding => {
    const binding = bound(words.byteLength)
    frame.upload(binding.buffer, bytesOf(words))
    return binding
  }

  const lacking: number[] = []
  const offsets = new Float64Array(items.length + 1)
  const made: { window: Window; ends: Binding; images: Binding; geometry: Binding }[] = []
  let limits: Binding
  let faults: Binding
  const work = function * (): FrameWork {
    const none = new Uint32Array(2 * items.length).map((_, k) => k % 2 === 0 ? 0 : 0xffffffff)
    faults = upload(none)
    limits = upload(tables.limits)
    const inputs = { rows: upload(tables.rows), cells: upload(tables.cells), atoms: upload(tables.atoms), limits }
    if (wanted > 0) {
      const most = Math.min(rows, Math.floor(bindingBytes / (8 * wanted)), SELECTED_AT_ONCE)
      const best = bound(8 * wanted * Math.max(1, most))
      for (let first = 0; first < rows; first += most) {
        const window = Math.min(most, rows - first)
        frame.dispatch({ ...select, bindings: { ...inputs, best }, params: { window, first_row: first, targets, wanted }, workgroups: groups(window) })
      }
      frame.free(best.buffer)
    }
    if (knn) {
      const missing = tooFew(tables, yield { buffer: limits.buffer, bytes: tables.limits.byteLength }, wanted)
      if (missing.length > 0) {
        lacking.push(...missing.map((at) => items[at]!))
        // Rows without targets have no edges.
        for (const at of missing) {
          items[at] = -1
          for (let row = tables.firstRow[at]!; row < tables.firstRow[at + 1]!; row++) tables.rows.fill(0, ROW_WORDS * row + 2, ROW_WORDS * row + 4)
        }
        frame.upload(inputs.rows.buffer, bytesOf(tables.rows.subarray(0, targets)))
      }
    }
    // One value more than there are rows: what the scan leaves there is the number of all edges.
    const counts = bound(4 * (rows + 1))
    frame.fill(counts.buffer, 4 * (rows + 1))
    frame.dispatch({ ...count, bindings: { ...inputs, counts, faults }, params: { window: rows, first_row: 0, targets, fault_offset: 0 }, workgroups: groups(rows) })
    frame.free(encodeScan(frame, counts.buffer, rows + 1))
    const starts = yield { buffer: counts.buffer, bytes: 4 * (rows + 1) }
    tables.firstRow.forEach((row, at) => { offsets[at] = starts[row]! })
    for (const window of windows(starts, Math.floor(bindingBytes / 16))) {
      const { first, stop, firstEdge, edges } = window
      const results = { ends: bound(8 * edges), images: bound(12 * edges), geometry: bound(16 * edges) }
      frame.dispatch({ ...fill, bindings: { ...inputs, offsets: counts, ...results }, params: { window: stop - first, first_row: first, targets, edges, first_edge: firstEdge }, workgroups: groups(stop - first) })
      made.push({ window, ...results })
    }
  }
  let found: Edges | undefined
  const visits = (): Visit[] => [
    { buffer: faults.buffer, bytes: 8 * items.length },
    { buffer: limits.buffer, bytes: search.maxNeighbors > 0 && !knn ? tables.limits.byteLength : 0 },
    ...made.flatMap(({ window, ends, images, geometry }) => [{ buffer: ends.buffer, bytes: 8 * window.edges }, { buffer: images.buffer, bytes: 12 * window.edges }, { buffer: geometry.buffer, bytes: 16 * window.edges }]),
  ]
  await frame.run(work(), visits, ([wrong, kept, ...parts]) => {
    found = emptyEdges(offsets)
    const { source, target, image, distance, vector, cut: left } = found
    made.forEach(({ window: { firstEdge: at, edges: size } }, k) => {
      const ends = int32(parts[3 * k]!)
      const geometry = float32(parts[3 * k + 2]!)
      source.set(ends.subarray(0, size), at)
      target.set(ends.subarray(size, 2 * size), at)
      image.set(int32(parts[3 * k + 1]!).subarray(0, 3 * size), 3 * at)
      distance.set(geometry.subarray(0, size), at)
      vector.set(geometry.subarray(size, 4 * size), 3 * at)
    })
    const words = int32(kept!)
    if (words.length > 0) {
      for (let at = 0; at < items.length; at++) for (const atom of atomsOf(tables, at)) left[at]! += Math.max(0, words[LIMIT_WORDS * atom + 3]! - wanted)
    }
    const coincident = int32(wrong!)
    for (let at = 0; at < items.length; at++) {
      if (coincident[2 * at] === 0) continue
      refused.add(items[at]!)
      items[at] = -1
    }
  })
  return { piece: { items, edges: found! }, lacking, refused: [...refused] }
}

/** Rows whose lists of nearest ones are held at the same time. */
const SELECTED_AT_ONCE = 2 ** 20

/** Windows of rows whose edges are at most so many; `starts` says where the edges of each row begin, and where the last ones end. */
function windows(starts: Uint32Array, most: number): Window[] {
  const found: Window[] = []
  const rows = starts.length - 1
  for (let first = 0; first < rows;) {
    const firstEdge = starts[first]!
    let stop = first
    while (stop < rows && starts[stop + 1]! - firstEdge <= most) {
      // Sums wrap beyond 2^32.
      if (starts[stop + 1]! < starts[stop]!) break
      stop++
    }
    if (stop === first) throw new GpuError('too-large', `an atom has more than ${most} neighbours, or a frame more than 2^32 edges`)
    if (starts[stop]! > firstEdge) found.push({ first, stop, firstEdge, edges: starts[stop]! - firstEdge })
    first = stop
  }
  return found
}

/** Structures with an atom around which fewer than `wanted` were found. */
function tooFew(tables: NeighborTables, limits: Uint32Array, wanted: number): number[] {
  const found: number[] = []
  for (let at = 0; at < tables.firstRow.length - 1; at++) {
    for (const atom of atomsOf(tables, at)) {
      if (limits[LIMIT_WORDS * atom + 3]! >= wanted) continue
      found.push(at)
      break
    }
  }
  return found
}

function * atomsOf({ cells, atoms }: NeighborTables, at: number): Generator<number> {
  const end = CELL_WORDS * (at + 1) < cells.length ? cells[CELL_WORDS * (at + 1) + FIRST_ATOM]! : atoms.length / ATOM_WORDS
  for (let atom = cells[CELL_WORDS * at + FIRST_ATOM]!; atom < end; atom++) yield atom
}

// --- common -------------------------------------------------------------------------------------------------------------------------

function wantedOf({ nearest, maxNeighbors }: NeighborSearch): number {
  return nearest > 0 ? nearest : maxNeighbors
}

function variantsFor(search: NeighborSearch): { count: Variant; fill: Variant; select: Variant } {
  const constants = { SELF_LOOPS: Number(search.selfLoops) }
  return {
    count: { kernel: 'neighbors-count', constants },
    fill: { kernel: 'neighbors-fill', constants },
    select: { kernel: 'neighbors-select', constants: { KEEP_TIES: Number(search.nearest > 0 && search.keepTies) } },
  }
}

function int32(bytes: Uint8Array): Int32Array {
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2)
}

function float32(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >> 2)
}
