import type { TypedArray } from '../../core/dtype.js'
import { bytesOf } from '../../core/tensor.js'
import type { KeptArray } from '../device.js'
import type { Backend, Place } from './backend.js'
import { GpuError } from './errors.js'

/** An array on the device, or here, where the CPU had to make it. */
export class Kept implements KeptArray {
  readonly place: Place
  /** Where it lies when it is not on the device. */
  array: TypedArray | undefined
  /** Computes it from what it was made from, when the device has lost it. */
  remake: (() => Promise<TypedArray>) | undefined
  readonly #backend: Backend

  constructor(backend: Backend, kept: number) {
    this.#backend = backend
    this.place = { kept }
  }

  /** It, brought here; `make` gives an array for it. */
  async fetch(make: () => TypedArray): Promise<TypedArray> {
    if (this.array !== undefined) return this.array
    const array = make()
    try {
      await this.#backend.read(this.place, array)
    } catch (error) {
      if (!(error instanceof GpuError) || this.remake === undefined) throw error
      return this.array = await this.remake()
    }
    return this.array = array
  }

  async read(out: TypedArray): Promise<void> {
    const array = await this.fetch(() => out)
    if (array !== out) bytesOf(out).set(bytesOf(array))
  }

  release(): void {
    this.array = undefined
    this.#backend.drop(this.place)
  }
}
