/** Rows `start … stop` of an item. */
export interface Piece {
  readonly item: number
  readonly start: number
  readonly stop: number
}

export interface PackedRow {
  readonly pieces: readonly Piece[]
}

/** Items one after the other, cut every `length` rows. Empty items are in none. */
export function cutRows(lengths: Float64Array, length: number): PackedRow[] {
  const packed: { pieces: Piece[] }[] = []
  let room = 0
  lengths.forEach((rows, item) => {
    for (let start = 0; start < rows;) {
      if (room === 0) {
        packed.push({ pieces: [] })
        room = length
      }
      const stop = Math.min(rows, start + room)
      packed.at(-1)!.pieces.push({ item, start, stop })
      room -= stop - start
      start = stop
    }
  })
  return packed
}

/**
 * Whole items, longest first, each into the packed row where it leaves least room, or a new one (best fit decreasing: never more than 11/9 of the fewest rows possible, and one; Johnson 1973). Of equally full rows the oldest, of equally
 * long items the first; within a row items are in their order, and rows are in the order of their first items.
 */
export function fittedRows(lengths: Float64Array, length: number, drop: boolean): PackedRow[] {
  const pieces: Piece[] = []
  lengths.forEach((rows, item) => {
    if (rows > length && drop) return
    for (let start = 0; start < rows; start += length) pieces.push({ item, start, stop: Math.min(rows, start + length) })
  })
  const order = Array.from(pieces.keys()).sort((a, b) => sizeOf(pieces[b]!) - sizeOf(pieces[a]!) || a - b)
  const rooms = new Rooms(length)
  const packed: number[][] = []
  const left: number[] = []
  for (const piece of order) {
    const size = sizeOf(pieces[piece]!)
    const row = rooms.take(size) ?? packed.push([]) - 1
    packed[row]!.push(piece)
    rooms.put(row, left[row] = (left[row] ?? length) - size)
  }
  return packed.map((row) => row.sort((a, b) => a - b)).sort((a, b) => a[0]! - b[0]!).map((row) => ({ pieces: row.map((piece) => pieces[piece]!) }))
}

function sizeOf({ start, stop }: Piece): number {
  return stop - start
}

/** Rows by the room that is left in them. The smallest room that is enough is found through a tree of counts: log(length) steps, however many rows there are. */
class Rooms {
  readonly #queues = new Map<number, { rows: number[]; head: number }>()
  /** A complete binary tree: leaf k counts the rows with room k. */
  readonly #counts: Int32Array
  readonly #leaves: number

  constructor(length: number) {
    this.#leaves = 2 ** Math.ceil(Math.log2(length + 1))
    this.#counts = new Int32Array(2 * this.#leaves)
  }

  put(row: number, room: number): void {
    const queue = this.#queues.get(room)
    if (queue === undefined) this.#queues.set(room, { rows: [row], head: 0 })
    else queue.rows.push(row)
    this.#count(room, 1)
  }

  /** The oldest row of the least room from `size` on, taken out. */
  take(size: number): number | undefined {
    const room = this.#leastFrom(size)
    if (room === undefined) return undefined
    this.#count(room, -1)
    const queue = this.#queues.get(room)!
    const row = queue.rows[queue.head++]!
    if (queue.head === queue.rows.length) this.#queues.delete(room)
    return row
  }

  #count(room: number, more: number): void {
    for (let node = this.#leaves + room; node >= 1; node >>= 1) this.#counts[node]! += more
  }

  #leastFrom(size: number): number | undefined {
    let node = this.#leaves + size
    if (this.#counts[node]! > 0) return size
    // Up to the first subtree on the right that has something, then down its left edge.
    while (node > 1 && (node % 2 === 1 || this.#counts[node + 1] === 0)) node >>= 1
    if (node <= 1) return undefined
    node++
    while (node < this.#leaves) node = this.#counts[2 * node]! > 0 ? 2 * node : 2 * node + 1
    return node - this.#leaves
  }
}
