import type { PlanePoints } from '../../ops/points.js'
import type { Gate } from './gate.js'
import { cellsOf, type PointCells } from './point-cells.js'
import { cellBytes } from './points.js'
import type { Session } from './session.js'

interface Held {
  readonly cells: Promise<PointCells | undefined>
  /** Work under way. */
  users: number
  /** Where they lie on a device. */
  there: { readonly session: Session; readonly cells: PointCells } | undefined
}

/** Points that were asked about: sorted here for as long as their owner has them (8 bytes each, and their cells), and on the device for as long as it is open. */
export class HeldPoints {
  readonly #gate: Gate
  readonly #held = new Map<number, Held>()

  constructor(gate: Gate) {
    this.#gate = gate
  }

  /** Does it with the points; undefined when only the CPU can. */
  async use<T>(id: number, points: PlanePoints, session: Session, work: (cells: PointCells) => Promise<T>): Promise<T | undefined> {
    let held = this.#held.get(id)
    if (held === undefined) {
      held = { cells: cellsOf(points), users: 0, there: undefined }
      this.#held.set(id, held)
      held.cells.catch(() => this.#held.delete(id))
    }
    held.users++
    try {
      const cells = await held.cells
      if (cells === undefined) return undefined
      if (held.there?.session !== session) {
        this.#leave(held)
        held.there = { session, cells }
        this.#gate.hold(cellBytes(cells))
      }
      return await work(cells)
    } finally {
      held.users--
      if (this.#held.get(id) !== held) this.#end(held)
    }
  }

  /** Nobody asks about the points any more. */
  drop(id: number): void {
    const held = this.#held.get(id)
    if (held === undefined) return
    this.#held.delete(id)
    this.#end(held)
  }

  /** The device goes, and with it what lies there. */
  leave(): void {
    for (const held of this.#held.values()) this.#leave(held)
  }

  /** On a device, for tests. */
  get bytes(): number {
    return [...this.#held.values()].reduce((sum, { there }) => sum + (there === undefined ? 0 : cellBytes(there.cells)), 0)
  }

  #end(held: Held): void {
    if (held.users === 0) this.#leave(held)
  }

  #leave(held: Held): void {
    if (held.there === undefined) return
    const { session, cells } = held.there
    held.there = undefined
    this.#gate.hold(-cellBytes(cells))
    for (const words of [cells.packed, cells.starts]) session.forget(words)
  }
}
