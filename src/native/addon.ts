import type { TypedArray } from '../core/dtype.js'

/**
 * What the native addon offers, as types only: `load.ts` loads it on first use. TypeScript validates and fills in defaults; native code
 * gets checked, positional arguments. Functions that return a promise work on a thread and keep their arrays alive until they settle.
 */
export interface Addon {
  // --- instruction sets -------------------------------------------------------------------------------------------
  /** Instruction sets compiled in that this processor has, slowest first: `baseline`, `avx2`, `avx512` or `neon`. */
  isaAvailable(): string[]
  isaSelected(): string
  /** Forces an instruction set for programs run from now on (tests); `undefined` returns to the best one. */
  isaForce(name: string | undefined): void

  // --- files --------------------------------------------------------------------------------------------------------
  MappedFile: new(path: string) => MappedFile
  /** Allocates blocks ahead: `offset … offset+length`, without changing the file's size when `keepSize`. Returns 0 or an errno. */
  fallocate(fd: number, offset: number, length: number, keepSize: boolean): number
  /** Bytes of the blocks that a file occupies. */
  allocatedBytes(fd: number): number
  /** Keeps a failed write of LMDB's from breaking the heap; false where there is nothing to mend (native/src/io/lmdb_guard.h). After the lmdb package was loaded. */
  guardLmdb(): boolean
  /** File-system type magic of a path (`statfs.f_type`), to refuse network file systems. */
  fileSystemType(path: string): number
  /** What `stat` says of a file, and how it begins: in one go, where Node takes four. Rejects with an Error whose `code` is the errno name; EISDIR for a folder, ENODEV for a pipe or a device. */
  fileStart(path: string, length: number): Promise<{ readonly stat: FileStat; readonly bytes: Uint8Array }>
  /**
   * Writes the segments one after the other from the file's start, hashing while writing, then fsyncs. `checksums` holds one XXH64
   * (little-endian) per `chunkBytes` of the file. Rejects with an Error whose `code` is the errno name (`ENOSPC`, `EIO`, …).
   */
  writeBlob(fd: number, segments: readonly Uint8Array[], chunkBytes: number): Promise<{ sha256: Uint8Array; checksums: Uint8Array; bytes: number }>
  fsyncPath(path: string): Promise<void>

  // --- hashes -------------------------------------------------------------------------------------------------------
  sha256(data: Uint8Array): Promise<Uint8Array>
  /**
   * One SHA-256 per row over the concatenation of the segments. Rows of a segment are `stride` bytes each, 0 marking a constant that every row shares, or lie
   * between byte offsets, of which there is one more than rows. Returns rows × 32 bytes.
   */
  sha256Rows(rows: number, segments: readonly RowSegment[], threads: number): Promise<Uint8Array>
  Sha256: new() => Sha256
  /** XXH64 (seed 0) of each `chunkBytes` of data, little-endian, 8 bytes each. */
  xxh64Chunks(data: Uint8Array, chunkBytes: number): Promise<Uint8Array>
  xxh64(data: Uint8Array): bigint
  crc32(data: Uint8Array, start?: number): number
  /** The same on a thread. `start` is the CRC of the bytes before, 0 at the beginning. */
  crc32Async(data: Uint8Array, start: number): Promise<number>

  // --- reading source arrays ----------------------------------------------------------------------------------------
  /**
   * Rows `start … stop` of axis 0 of a Fortran-ordered array, written in C order: a blocked transpose with bounded memory.
   * `elementSize` 1, 2, 4, 8 or 16. A source of more than one typed array can hold is given in pieces that follow each other in memory.
   */
  fromFortran(source: Uint8Array | readonly Uint8Array[], shape: readonly number[], elementSize: number, start: number, stop: number, out: Uint8Array): Promise<void>
  /**
   * A box of a Fortran-ordered array, whose elements fill `source` with axis 0 fastest, to its place in `out`: element i goes to offset + Σ i_k · strides_k, in elements. Tile by
   * tile on threads, with bounded memory. Numbers are converted to float32 or float64, or moved as they are; complex ones are only moved.
   */
  placeBox(source: Uint8Array, out: Uint8Array, elements: PlacedElements, extents: readonly number[], strides: readonly number[], offset: number): Promise<void>
  /** `placeBox` of a range of a file, which is read in blocks that stay in a cache and not touched where it is mapped. Rejects with an Error whose `code` is EFAULT when it cannot be read. */
  placeFile(source: MappedFile, at: number, length: number, out: Uint8Array, elements: PlacedElements, extents: readonly number[], strides: readonly number[], offset: number): Promise<void>
  /** Rows of `rowBytes` bytes, the first of which begins at byte `base` of the file, each to its place (in rows) in `out`: copied from where they are mapped if they are `resident`, and otherwise read. Reverses the bytes of every `unit` (2, 4, 8; 1: none). */
  readRows(source: MappedFile, base: number, rowBytes: number, rows: Float64Array, places: Float64Array, out: Uint8Array, unit: number, resident: Uint8Array): Promise<void>
  /** Copies, reversing the bytes of every `unit` (2, 4, 8); unit 1 is a plain copy. Source and out may be the same array. */
  copySwapped(source: Uint8Array, unit: number, out: Uint8Array): Promise<void>
  /**
   * `compressed` may be given in pieces as for `fromFortran`. A resume point is left every `pointEveryBytes` inflated bytes; 0 leaves none. With `gzip` it is a gzip file of
   * one or more members, of which the first `inflatedBytes` are wanted and at most 16 MiB more may follow; each member's CRC-32 and size are compared on the way.
   * With `blockBytes` (of gzip; at least 32 KiB) the CRC-32 of each block of so many inflated bytes is noted when it is first passed, and compared whenever it is passed again: a range is
   * inflated to the end of its last known block. `index` is what another object knew of the same file, with windows deflated or not: with wrong numbers in it, reads reject as of a damaged stream.
   */
  Inflate: new(compressed: Uint8Array | readonly Uint8Array[], inflatedBytes: number, pointEveryBytes: number, gzip?: boolean, blockBytes?: number, index?: InflateIndex) => Inflate

  // --- compressed frames --------------------------------------------------------------------------------------------
  /** What is missing for a codec (0 lz4, 1 zstd, 2 gzip), `undefined` when it can be used. The two functions below throw E_MISSING_DEPENDENCY with it. */
  missingCodec(codec: number): string | undefined
  /** More than any frame of 1 MiB comes to. */
  readonly frameBound: number
  /**
   * Compresses frames of the plain file from byte `offset`, where one begins. The parts follow one another and end where a frame or the file does; none at all are one empty frame.
   * `shuffled`: triples begin, end, element in bytes of the file, ascending. Frame k goes to `out` at k · `frameBound`; resolves to the frames' sizes.
   */
  compressFrames(codec: number, level: number, offset: number, parts: readonly Uint8Array[], shuffled: Float64Array, out: Uint8Array, threads: number): Promise<Float64Array>
  /**
   * Decompresses what bytes `offset …` of the plain file need to fill `out`. Frames `first …` of them lie in `source` between `ends[k]` and `ends[k + 1]`, each having a part in the range. `head` and `tail`
   * take the whole first and last frame (`head` where there is one only). Resolves to the damaged frame with the lowest number, if there is one; then what was written means nothing.
   */
  decompressFrames(
    codec: number, fileBytes: number, first: number, source: Uint8Array, ends: Float64Array, offset: number, out: Uint8Array,
    head: Uint8Array | undefined, tail: Uint8Array | undefined, shuffled: Float64Array, threads: number,
  ): Promise<{ frame: number; reason: string } | undefined>
  /** `out[b · n + i]` is byte b of element i of n (2, 4 or 8 bytes each); bytes after the last whole element keep their place. */
  shuffleBytes(source: Uint8Array, element: number, out: Uint8Array): void
  unshuffleBytes(source: Uint8Array, element: number, out: Uint8Array): void

  // --- datasets -----------------------------------------------------------------------------------------------------
  VerifiedBlob: new(file: MappedFile, checksums: Uint8Array, chunkBytes: number) => VerifiedBlob
  /** Rows that are not `resident` are read from their files, so that no page of them is mapped: slower, where they would stay mapped otherwise. */
  RowTable: new(blobs: readonly VerifiedBlob[], fieldOffsets: Float64Array, rowBytes: number, blobOf: Uint32Array, rowOf: Uint32Array, resident: boolean) => RowTable
  /** `rows`: by blob the field's table of offsets, or how many rows each item has. */
  RaggedTable: new(blobs: readonly VerifiedBlob[], fieldOffsets: Float64Array, rowBytes: number, rows: readonly (BigInt64Array | number)[], blobOf: Uint32Array, rowOf: Uint32Array, resident: boolean) => RaggedTable
  /** `batch[node] = graph`, graph k having nodes `nodes[k] … nodes[k + 1]`. */
  numberNodes(nodes: Float64Array, batch: Int32Array): void
  /** `out[edge] = ends[edge] + nodes[graph]`, graph k having edges `edges[k] … edges[k + 1]`. */
  numberEdges(nodes: Float64Array, edges: Float64Array, ends: Int32Array, out: Int32Array): void
  /**
   * Positions `start … start+out.length` of the permutation of 0 … n-1 chosen by (seed, epoch): see core/shuffle.ts, whose
   * TypeScript form is the reference.
   */
  shuffleIndices(n: number, seed: bigint, epoch: number, start: number, out: Float64Array): void
  /** `out[e] = in[e] + (shift + scale · z)`, z being normal: see ops/random/normal.ts, whose TypeScript form is the reference. `words` are the key's two and the counter's last three, `numbers` are scale and shift. */
  addNormal(input: Float32Array, out: Float32Array, words: Uint32Array, numbers: Float32Array): void

  /**
   * A buffer with arbitrary content, from memory that collected buffers of the same size gave back. For whoever fills all of it. Not `pooled`: on large pages as they are, but the memory goes with the buffer.
   */
  pooledBuffer(bytes: number, pooled?: boolean): ArrayBuffer
  /** Gives the memory of such a buffer back at once, rather than when it is collected; the buffer and its views are empty from then on. */
  returnBuffer(buffer: ArrayBuffer): void
  /** How many bytes of intermediate values programs may leave for the next runs, of whichever program; never less than 32 MiB, which it is to begin with. */
  keepScratch(bytes: number): void

  /**
   * The address of an array's bytes, so that another thread of this process can work on them without a copy (an ArrayBuffer over mapped memory
   * cannot be sent to one). Whoever lends keeps the array, reachable and untouched, until the other thread has said that it is done.
   */
  lendMemory(bytes: Uint8Array): bigint
  /** A buffer over lent memory. Not to be kept: it does not keep the memory alive. */
  borrowMemory(address: bigint, bytes: number): ArrayBuffer

  /**
   * Sends what is written to standard error to memory, until `releaseStderr` gives it back as text. For the synchronous call of a library that prints. False when
   * it cannot be done now (another thread is at it): then nothing has changed.
   */
  captureStderr(): boolean
  releaseStderr(): string
  /** Ends the process at once, without tearing down threads and libraries: the last resort of an exit handler. */
  exitNow(code: number): never

  // --- crystals -----------------------------------------------------------------------------------------------------
  /** Niggli cells, in the orientation of the `crystals` source, and coordinates in them. What is written for an item with a fault means nothing. */
  niggli(structures: NativeStructures, out: { lattices: Float64Array; frac: Float64Array }, threads: number): Promise<{ item: number; message: string }[]>
  /** Lengths in Å and angles in degrees, [structures, 3] each; with `atoms`, how many each has, `scaled` are the lengths per cube root of it. */
  latticeParameters(lattices: Float64Array, out: { lengths: Float64Array; angles: Float64Array; scaled?: Float64Array }, atoms?: Int32Array): Promise<{ item: number; message: string }[]>
  crystalGraph(structures: NativeStructures, method: NativeGraphMethod, threads: number): Promise<NativeGraphs>
  /**
   * What the neighbors kernels are given for the structures `items` of a batch: atoms offsets[i] … offsets[i + 1] with fractional coordinates `frac`, [atoms, 3], in
   * the cell `lattice`, [structures, 3, 3], in Å. Everything within `cutoff` Å is looked at; with `nearest` > 0 instead a sphere that may hold so many neighbours, larger
   * with each `step`. `split` divides the targets of an atom among several rows.
   */
  neighborTables(offsets: Float64Array, frac: Float64Array, lattice: Float64Array, items: Uint32Array, cutoff: number, nearest: number, step: number, split: boolean): Promise<NeighborTables>

  // --- points -------------------------------------------------------------------------------------------------------
  PointGrid: new() => PointGrid
  /**
   * Of each of the points `at` the `k` nearest among the candidates of its list: `lists` is [at, 1 + room], how many there are, and their places in `order`, which says what points they are. `index` and `squared` are [at, k], as of
   * PointGrid; `done` is 1 where they say something: where a list has at least k candidates and at most `room`, all of them points.
   */
  nearestListed(x: Float64Array, y: Float64Array, order: Int32Array, lists: Uint32Array, at: Int32Array, room: number, k: number, index: Int32Array, squared: Float64Array, done: Uint8Array, threads: number): Promise<void>

  // --- programs -----------------------------------------------------------------------------------------------------
  Program: new(description: ProgramDescription) => NativeProgram
}

/** Words as kernels/neighbors-*.wgsl read them; structures that were refused have no part in them. */
export interface NeighborTables {
  /** 4 words per row, then the lists of targets. */
  readonly rows: Uint32Array
  /** 32 words per structure. */
  readonly cells: Uint32Array
  /** 9 words per atom. */
  readonly atoms: Uint32Array
  /** 4 words per atom. */
  readonly limits: Uint32Array
  /** Where each structure's rows begin, and one more. */
  readonly firstRow: Uint32Array
  /** Items that only the CPU computes: what is wrong with them, or that their images could leave int16, is found out there. */
  readonly refused: Uint32Array
}

export type RowSegment = { data: Uint8Array; stride: number } | { data: Uint8Array; offsets: Float64Array }

/**
 * A file mapped copy-on-write and without reserving memory, whole, however large. A write to a view changes this process's
 * memory only. A page that can no longer be read (the file was truncated, the disk failed) reads as zeros and sets `faulted`
 * instead of killing the process; whoever reads a mutable file checks it afterwards.
 */
export interface MappedFile {
  readonly path: string
  readonly size: number
  /** As of opening; `restat` asks again. `dev`, `ino`, `mtimeNs`, `ctimeNs` are exact integers. */
  readonly stat: FileStat
  readonly faulted: boolean
  restat(): FileStat
  /**
   * The bytes `offset … offset+length` as a buffer over the mapping, at most 4 GiB. It keeps the mapping alive by itself. V8 counts its bytes as garbage to
   * come: hundreds of large views cost a collection each (0.4 ms), typed arrays over one view nothing.
   */
  view(offset: number, length: number): ArrayBuffer
  /** Reads pages in on a thread. Rejects with `code` EFAULT where a page cannot be read. */
  populate(offset: number, length: number): Promise<void>
  /** Drops resident pages that lie wholly inside the range (they are read again when touched). */
  drop(offset: number, length: number): void
  /** Announces sequential or random access. */
  advise(offset: number, length: number, advice: 'normal' | 'sequential' | 'random' | 'willneed'): void
  /** Lets go of the mapping; the memory is unmapped when the last view is collected. Further calls throw. */
  close(): void
}

export interface FileStat { size: number; dev: bigint; ino: bigint; mtimeNs: bigint; ctimeNs: bigint }

/** One update at a time: a second one before the first has settled throws (`code` ERR_BUSY). After a failed update there is no digest. */
export interface Sha256 {
  update(data: Uint8Array): Promise<void>
  /** Reads the range with pread in bounded pieces. */
  updateFile(file: MappedFile, offset: number, length: number): Promise<void>
  digest(): Uint8Array
}

/** dtypes by code. With `slope`: double(x) · slope + inter in IEEE doubles, rounded once more to `to`; an `inter` of 0 is not added, so that −0 stays. */
export interface PlacedElements {
  readonly from: number
  readonly to: number
  /** Stored in the other byte order. */
  readonly swapped: boolean
  readonly slope?: number
  readonly inter?: number
}

/** A deflate stream (RFC 1951), or a gzip file (RFC 1952), that is read by ranges of its inflated bytes. It remembers resume points as it goes. */
export interface Inflate {
  /**
   * Inflates `offset … offset+out.length` into `out`, from the nearest resume point at or before it. Rejects with `code` E_DEFLATE when the stream
   * is damaged, ends early or holds more than `inflatedBytes`. An empty `out` moves the first pass on to `offset`.
   */
  read(offset: number, out: Uint8Array): Promise<void>
  /** Rows of a Fortran-ordered array that fills the stream from `offset` to its end, in C order: as `fromFortran`, without holding the array. */
  readFortran(offset: number, shape: readonly number[], elementSize: number, start: number, stop: number, out: Uint8Array): Promise<void>
  /** CRC-32 of all inflated bytes once the whole stream has been passed in order, `undefined` until then, and of a gzip file. */
  readonly crc32: number | undefined
  /** Compressed bytes used, once the end has been seen: of a gzip file all. */
  readonly compressedBytes: number | undefined
  readonly points: number
  /** Inflated bytes that the first pass has accounted for. */
  readonly passed: number
  /** Bytes inflated by all reads that have ended. */
  readonly work: number
  /** What is known so far, without the windows of points before `from`. */
  index(from: number): InflateIndex
}

/** Resume points of a gzip file, and what its first pass has seen: src/sources/gzip-index.ts has the names of the numbers. */
export interface InflateIndex {
  /** Five of its own (`INDEX_NUMBERS`), then ten of each point (`POINT_NUMBERS`). */
  readonly numbers: Float64Array
  /** CRC-32 of each block. */
  readonly checks: Uint32Array
  /** Of the points, one behind the other. */
  readonly windows: Uint8Array
}

/** A blob of the store with its chunk checksums: a chunk is checked the first time it is touched. */
export interface VerifiedBlob {
  /** True when every chunk of the range has been checked before; then nothing else is to be done. */
  isVerified(offset: number, length: number): boolean
  /** Checks what is unchecked, on a thread; resolves to the offset of the first damaged chunk, or -1. */
  verify(offset: number, length: number): Promise<number>
}

/** Where the rows of one fixed-shape field lie: row i is row `rowOf[i]` of the field in blob `blobOf[i]`. */
export interface RowTable {
  /**
   * Copies the rows one after the other into `out`, checking chunks that were not checked before. Resolves to -1, or to the position
   * in `indices` of the first row that lies in a damaged chunk.
   */
  gather(indices: Float64Array, out: Uint8Array): Promise<number>
}

/** Structure k has atoms `offsets[k] … offsets[k + 1]`. */
export interface NativeStructures {
  /** One more than there are structures, the first 0. */
  offsets: Float64Array
  /** [atoms, 3] */
  frac: Float64Array
  /** [structures, 3, 3] */
  lattices: Float64Array
  numbers?: Int32Array
  oxidation?: Float64Array
}

export type NativeGraphMethod =
  /** `maxNeighbors` 0: all. */
  | { method: 'radius'; cutoff: number; maxNeighbors: number; selfLoops: boolean }
  | { method: 'knn'; nearest: number; ties: 'keep' | 'cut' }
  | { method: 'crystalnn'; weightedCn: boolean; cationAnion: boolean; hasDistanceCutoffs: boolean; cutoffLow: number; cutoffHigh: number; xDiffWeight: number; porousAdjustment: boolean; searchCutoff: number }

/** Edges of structure k are `offsets[k] … offsets[k + 1]`; a structure with a fault has none. */
export interface NativeGraphs {
  offsets: Float64Array
  source: Int32Array
  target: Int32Array
  /** [edges, 3], as is `vector`. */
  image: Int16Array
  distance: Float32Array
  vector: Float32Array
  /** With `weightedCn`. */
  weight?: Float32Array
  /** By structure: edges that `maxNeighbors` cut. */
  cut: Int32Array
  faults: { item: number; message: string }[]
}

/** Where the rows of one field lie whose items differ in length. */
export interface RaggedTable {
  /** `out[k + 1]` is the number of rows of the first k + 1 items; one more than there are indices. */
  offsets(indices: Float64Array, out: Float64Array): void
  /** As of RowTable. */
  gather(indices: Float64Array, out: Uint8Array): Promise<number>
}

/** The nearest of many points of a plane. Coordinates are finite. */
export interface PointGrid {
  /** Once, before anything is asked. */
  build(x: Float64Array, y: Float64Array): Promise<void>
  /** Of each place the `k` nearest points, nearest first, of equally near ones the one with the lower index first: indices and squared distances, [places, k] each. */
  nearest(x: Float64Array, y: Float64Array, k: number, index: Int32Array, squared: Float64Array, threads: number): Promise<void>
}

/** A program of kernel steps: ops/program.ts in the form native code takes. Values are numbered, inputs first. */
export interface ProgramDescription {
  values: { dtype: number; shape: number[] }[]
  inputs: number[]
  outputs: number[]
  steps: StepDescription[]
}

export type StepDescription =
  | { kernel: 'cast'; in: number; out: number; nonFinite: 0 | 1 | 2 }
  | { kernel: 'gather'; in: number; out: number; index: (Int32Array | null)[]; fill: Uint8Array }
  | { kernel: 'permute'; in: number; out: number; order: number[] }
  | { kernel: 'resample'; in: number; out: number; tables: { axis: number; taps: number; index: Int32Array; weight: Float32Array }[] }
  | { kernel: 'affine'; in: number; out: number; axis: number; matrix: BigInt64Array; linear: boolean; clamp: boolean }
  /** `keys`: the first and the last that are in the box, as src/devices/keys.ts has them. */
  | { kernel: 'foreground-box'; in: number; out: number; axes: number[]; keys: BigUint64Array }
  | {
    kernel: 'normalize'; in: number; out: number; groups: number; members: number
    statistics: 'none' | 'moments' | 'extrema' | 'quantiles'
    nonzero: boolean; eps: number; toLow: number; toHigh: number; quantileLow: number; quantileHigh: number
    clip: boolean; affine: Float32Array | null
  }

export interface NativeProgram {
  /**
   * Runs `count` items. Inputs and outputs hold the items' values one after the other. Resolves to the faults found, in item order:
   * values that are NaN or infinite where they may not be. Outputs of an item with a fault are not to be used. `seconds`: filled with what threads spent on casts, and on other steps.
   */
  run(count: number, inputs: readonly TypedArray[], outputs: readonly TypedArray[], threads: number, seconds?: Float64Array): Promise<NativeFault[]>
  /** Bytes of intermediate memory one item needs. */
  readonly scratchBytes: number
}

export interface NativeFault { step: number; item: number; count: number; index: number }
