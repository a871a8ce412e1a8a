import { DTYPES, type TypedArray } from '../../core/dtype.js'
import { elementCount, emptyTensor } from '../../core/tensor.js'
import type { Program, ProgramPort } from '../../ops/program.js'
import type { Device, Fault, KeptItem, PreparedProgram, ProgramBatch } from '../device.js'
import type { Backend, Place } from './backend.js'
import { Kept } from './kept.js'

/** What a program needs of the device it is on. */
export interface GpuRoom {
  readonly backend: Backend
  /** Computes what the backend cannot. */
  readonly cpu: Device
  /** Prepares the backend: whether it does the program; undefined when that could not be found out now. */
  readonly usable: () => Promise<boolean | undefined>
  /** Does it while the device is open, which then waits for it. */
  readonly work: <T>(work: () => Promise<T>) => Promise<T>
  /** Tells of an error of the device; throws any other. */
  readonly warn: (error: unknown) => void
}

/** A program on the GPU, with the CPU to stand in for it. */
export class GpuProgram implements PreparedProgram {
  readonly program: Program
  readonly scratchBytes = 0
  readonly #id: number
  readonly #room: GpuRoom
  #usable: Promise<boolean | undefined> | undefined
  #onCpu: Promise<PreparedProgram> | undefined

  constructor(program: Program, id: number, room: GpuRoom) {
    this.program = program
    this.#id = id
    this.#room = room
  }

  /** Whether the backend does it. A device that was lost while it prepared may be asked again. */
  async able(): Promise<boolean | undefined> {
    const asked = this.#usable ??= this.#room.usable()
    if (await asked === undefined && this.#usable === asked) this.#usable = this.#room.usable()
    return this.#usable
  }

  run(batch: ProgramBatch): Promise<readonly Fault[]> {
    return this.#room.work(async () => {
      // Arrays that are not what the program says are refused by the CPU, so that they are refused alike everywhere.
      if (!await this.able() || !fits(this.program, batch)) return this.#cpu(batch)
      try {
        return await this.#room.backend.run(this.#id, batch.count, batch.inputs, batch.outputs)
      } catch (error) {
        this.#room.warn(error)
        return this.#cpu(batch)
      }
    })
  }

  runKept(item: KeptItem): Promise<readonly Fault[]> {
    return this.#room.work(async () => {
      if (!await this.able() || !fits(this.program, { count: 1, ...item })) return this.#keptOnCpu(item)
      try {
        const faults = await this.#room.backend.run(this.#id, 1, item.inputs.map(placeOf), item.outputs.map(placeOf))
        item.outputs.forEach((output, k) => {
          if (output instanceof Kept) output.remake = () => this.#again(item, k)
        })
        return faults
      } catch (error) {
        this.#room.warn(error)
        return this.#keptOnCpu(item)
      }
    })
  }

  async #cpu(batch: ProgramBatch): Promise<readonly Fault[]> {
    return (await (this.#onCpu ??= this.#room.cpu.prepare(this.program))).run(batch)
  }

  async #keptOnCpu(item: KeptItem): Promise<readonly Fault[]> {
    const inputs = await this.#here(item)
    const outputs = item.outputs.map((output, k) => output instanceof Kept ? output.array = this.#empty(this.program.outputs[k]!) : output as TypedArray)
    return this.#cpu({ count: 1, inputs, outputs })
  }

  /** An output, from the same inputs as before: they may be gone with the device, too. */
  async #again(item: KeptItem, output: number): Promise<TypedArray> {
    const outputs = this.program.outputs.map((port) => this.#empty(port))
    await this.#cpu({ count: 1, inputs: await this.#here(item), outputs })
    return outputs[output]!
  }

  #here({ inputs }: KeptItem): Promise<TypedArray[]> {
    return Promise.all(inputs.map(async (input, k) => input instanceof Kept ? input.fetch(() => this.#empty(this.program.inputs[k]!)) : input as TypedArray))
  }

  #empty({ value }: ProgramPort): TypedArray {
    const { dtype, shape } = this.program.values[value]!
    return emptyTensor(dtype, shape).data
  }
}

/** Whether the arrays are what the program says: others are not lent to a thread that writes where it is told. Of what is kept the engine knows how long it is. */
function fits(program: Program, { count, inputs, outputs }: { readonly count: number } & KeptItem): boolean {
  const fit = (arrays: KeptItem['inputs'], ports: readonly ProgramPort[]): boolean => arrays.length === ports.length && ports.every(({ value }, k) => {
    const { dtype, shape } = program.values[value]!
    const array = arrays[k]!
    return array instanceof Kept || (array instanceof DTYPES[dtype].array && array.buffer instanceof ArrayBuffer && array.length * array.BYTES_PER_ELEMENT === count * elementCount(shape)! * DTYPES[dtype].size)
  })
  return Number.isSafeInteger(count) && count >= 0 && fit(inputs, program.inputs) && fit(outputs, program.outputs)
}

/** Where the backend finds it: what the CPU made lies here. */
function placeOf(array: KeptItem['inputs'][number]): TypedArray | Place {
  return array instanceof Kept ? array.array ?? array.place : array as TypedArray
}
