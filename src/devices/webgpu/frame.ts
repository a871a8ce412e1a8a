import { isProfiled, tellStage } from '../../core/stages.js'
import { GpuError } from './errors.js'
import type { Session, Variant } from './session.js'
import { packParams } from './wgsl.js'

/** Bytes of a buffer that a kernel sees. */
export interface Binding {
  readonly buffer: GPUBuffer
  readonly offset: number
  readonly size: number
}

export interface Dispatch extends Variant {
  /** By the names in the kernel's text. */
  readonly bindings: Readonly<Record<string, Binding>>
  readonly params: Readonly<Record<string, number | readonly number[]>>
  readonly workgroups: number
}

/** A stop of a frame: the host needs the first `bytes` bytes of a buffer before it goes on. */
export interface Visit {
  readonly buffer: GPUBuffer
  readonly bytes: number
}

/** What computes a frame: runs until the host has to look at something, and is given it. Between two visits nothing else touches the device. */
export type FrameWork = Generator<Visit, void, Uint32Array>

const PARAMS_BYTES = 16 * 1024
const PARAMS_ALIGNMENT = 256

/**
 * Some items on their way through the device: one queue of work, its buffers, and what is read back. Several frames are under way at a time, so that
 * uploading one, computing another and reading back a third overlap.
 */
export class Frame {
  readonly session: Session
  #encoder: GPUCommandEncoder | undefined
  #pass: GPUComputePassEncoder | undefined
  readonly #held = new Set<GPUBuffer>()
  /** Those that nothing needs after what is being encoded. */
  #spent: GPUBuffer[] = []
  /** Owners of tables that were made while encoding, which may have failed. */
  #made: object[] = []
  #params: { buffer: GPUBuffer; bytes: ArrayBuffer; used: number } | undefined

  constructor(session: Session) {
    this.session = session
  }

  /** Does the work and then reads back: the outputs are given to `take` as mapped memory, to be copied before it returns. */
  async run(work: FrameWork, outputs: () => readonly Visit[], take: (parts: readonly Uint8Array[]) => void): Promise<void> {
    try {
      let answer = new Uint32Array()
      for (;;) {
        const { staging, views, done } = await this.#section(() => {
          const { value, done } = work.next(answer)
          return this.#encodeReading(done === true ? outputs() : [value as Visit], done === true)
        })
        if (done) readBack(views, take)
        else answer = new Uint32Array(views[0]!.slice().buffer)
        staging.unmap()
        this.#release(staging)
        if (done) break
      }
      for (const buffer of this.#held) this.#release(buffer)
    } finally {
      // After an error it is not known which buffers are sound.
      for (const buffer of this.#held) buffer.destroy()
      this.#held.clear()
    }
  }

  /** A buffer with arbitrary content for the rest of the frame. */
  buffer(bytes: number): GPUBuffer {
    return this.#acquire(Math.ceil(bytes / 4) * 4, GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST)
  }

  /** The buffer outlives the frame; whoever has it gives it back to the pool. */
  keep(buffer: GPUBuffer): void {
    this.#held.delete(buffer)
  }

  /** Says that what comes next does not need the buffer. */
  free(buffer: GPUBuffer): void {
    this.#spent.push(buffer)
  }

  upload(buffer: GPUBuffer, bytes: Uint8Array): void {
    const { queue } = this.session.device
    const start = isProfiled() ? performance.now() : undefined
    const whole = bytes.byteLength & ~3
    if (whole > 0) queue.writeBuffer(buffer, 0, bytes.buffer as ArrayBuffer, bytes.byteOffset, whole)
    if (whole < bytes.byteLength) {
      const rest = new Uint8Array(4)
      rest.set(bytes.subarray(whole))
      queue.writeBuffer(buffer, whole, rest)
    }
    if (start !== undefined) tellStage({ stage: 'upload', start, seconds: (performance.now() - start) / 1000, bytes: bytes.byteLength })
  }

  /** A buffer of a program's tables: made once per session, then shared by all frames. `owner` is the table it is made from. */
  resident(owner: object, make: () => Uint8Array): GPUBuffer {
    let buffer = this.session.resident.get(owner)
    if (buffer === undefined) {
      const bytes = make()
      buffer = this.session.device.createBuffer({ size: Math.max(16, Math.ceil(bytes.byteLength / 4) * 4), usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST })
      this.upload(buffer, bytes)
      this.session.resident.set(owner, buffer)
      this.#made.push(owner)
    }
    return buffer
  }

  fill(buffer: GPUBuffer, bytes: number): void {
    this.#endPass()
    this.#encoding().clearBuffer(buffer, 0, Math.ceil(bytes / 4) * 4)
  }

  dispatch({ kernel, constants, bindings, params, workgroups }: Dispatch): void {
    if (workgroups === 0) return
    const { device } = this.session
    const { kernel: { layout }, pipeline, layout: groupLayout } = this.session.pipeline({ kernel, constants })
    const entries = layout.bindings.map(({ name, type }, binding): GPUBindGroupEntry => {
      if (type === 'uniform') return { binding, resource: this.#uniform(layout.paramsBytes, (view, at) => packParams(layout, params, view, at)) }
      const bound = bindings[name]
      if (bound === undefined) throw new TypeError(`kernel ${kernel}: nothing is bound to ${name}`)
      return { binding, resource: bound }
    })
    this.#pass ??= this.#encoding().beginComputePass()
    this.#pass.setPipeline(pipeline)
    this.#pass.setBindGroup(0, device.createBindGroup({ layout: groupLayout, entries }))
    this.#pass.setBindGroup(1, this.session.exact)
    const widest = device.limits.maxComputeWorkgroupsPerDimension
    const x = Math.min(workgroups, widest)
    const y = Math.ceil(workgroups / x)
    if (y > widest) throw new GpuError('too-large', `${workgroups} workgroups are more than this adapter's ${widest}²`)
    this.#pass.dispatchWorkgroups(x, y)
  }

  #uniform(bytes: number, write: (view: DataView, at: number) => void): Binding {
    let params = this.#params
    if (params === undefined || params.used + bytes > PARAMS_BYTES) {
      this.#flushParams()
      const buffer = this.#acquire(PARAMS_BYTES, GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST)
      params = this.#params = { buffer, bytes: new ArrayBuffer(PARAMS_BYTES), used: 0 }
    }
    const offset = params.used
    params.used += Math.ceil(bytes / PARAMS_ALIGNMENT) * PARAMS_ALIGNMENT
    write(new DataView(params.bytes), offset)
    return { buffer: params.buffer, offset, size: bytes }
  }

  #flushParams(): void {
    if (this.#params === undefined) return
    // Written before what reads it is submitted; the buffer is nobody else's until then.
    this.session.device.queue.writeBuffer(this.#params.buffer, 0, this.#params.bytes, 0, this.#params.used)
    this.#spent.push(this.#params.buffer)
    this.#params = undefined
  }

  #encoding(): GPUCommandEncoder {
    return this.#encoder ??= this.session.device.createCommandEncoder()
  }

  #endPass(): void {
    this.#pass?.end()
    this.#pass = undefined
  }

  #acquire(bytes: number, usage: number): GPUBuffer {
    const buffer = this.session.pool.acquire(bytes, usage)
    this.#held.add(buffer)
    return buffer
  }

  #release(buffer: GPUBuffer): void {
    if (this.#held.delete(buffer)) this.session.pool.release(buffer)
  }

  /** Copies to one staging buffer behind everything encoded so far, and submits. */
  #encodeReading(visits: readonly Visit[], done: boolean): Reading {
    this.#endPass()
    let end = 0
    const ranges = visits.map(({ bytes }) => {
      const offset = end
      end += Math.ceil(bytes / 16) * 16
      return { offset, bytes }
    })
    const staging = this.#acquire(Math.max(16, end), GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST)
    const encoder = this.#encoding()
    visits.forEach(({ buffer, bytes }, k) => {
      if (bytes > 0) encoder.copyBufferToBuffer(buffer, 0, staging, ranges[k]!.offset, Math.ceil(bytes / 4) * 4)
    })
    this.#flushParams()
    this.session.device.queue.submit([encoder.finish()])
    this.#encoder = undefined
    return { staging, ranges, bytes: Math.max(16, end), done }
  }

  /** Runs what touches the device between two looks of the host, notices its errors, and waits for what is to be read. */
  async #section(encode: () => Reading): Promise<{ staging: GPUBuffer; views: Uint8Array[]; done: boolean }> {
    const { session, session: { device } } = this
    if (session.lost !== undefined) throw new GpuError('lost', session.lost)
    const shortages = session.shortages
    for (const scope of SCOPES) device.pushErrorScope(scope)
    let reading: Reading | undefined
    let thrown: unknown
    try {
      reading = encode()
    } catch (error) {
      thrown = error
    }
    const submitted = isProfiled() ? performance.now() : undefined
    const scopes = Promise.all(SCOPES.map(() => device.popErrorScope()))
    // Asked for at once: it waits for the work that was submitted, while the scopes tell of errors before that.
    const mapping = reading?.staging.mapAsync(GPUMapMode.READ, 0, reading.bytes)
    mapping?.catch(() => undefined)
    const [internal, memory, validation] = await scopes
    const error = internal ?? memory ?? validation
    if (memory) session.shortages++
    if (error || reading === undefined) {
      for (const owner of this.#made) session.forget(owner)
      // What is invalid may be a table for which another frame found no memory.
      if (memory || (error && session.shortages > shortages)) throw new GpuError('out-of-memory', error!.message)
      throw thrown ?? new GpuError('failed', error!.message)
    }
    this.#made = []
    // Whatever was submitted after this comes after it on the device too. Not before the scopes have told that these buffers were allocated at all.
    for (const buffer of this.#spent) this.#release(buffer)
    this.#spent = []
    await mapping
    if (submitted !== undefined) tellStage({ stage: 'compute', start: submitted, seconds: (performance.now() - submitted) / 1000, bytes: reading.bytes })
    const mapped = reading.staging.getMappedRange(0, reading.bytes)
    return { staging: reading.staging, views: reading.ranges.map(({ offset, bytes }) => new Uint8Array(mapped, offset, bytes)), done: reading.done }
  }
}

function readBack(views: readonly Uint8Array[], take: (parts: readonly Uint8Array[]) => void): void {
  const start = performance.now()
  take(views)
  if (isProfiled()) tellStage({ stage: 'readback', start, seconds: (performance.now() - start) / 1000, bytes: views.reduce((sum, { byteLength }) => sum + byteLength, 0) })
}

const SCOPES = ['validation', 'out-of-memory', 'internal'] as const

/** What was encoded, and where it leaves what the host wants to see. */
interface Reading {
  readonly staging: GPUBuffer
  readonly ranges: readonly { readonly offset: number; readonly bytes: number }[]
  readonly bytes: number
  readonly done: boolean
}
