import { GpuError } from './errors.js'

/** Buffers smaller than this share a size, so that the many small ones are found again. */
const SMALLEST = 1024

/**
 * Buffers that are used again. What is free is kept up to `bytesMax`, the least recently used goes first. Released buffers may be handed out at once: work is
 * queued in order, so whoever releases a buffer does so after submitting what uses it.
 */
export class BufferPool {
  readonly #device: GPUDevice
  readonly #bytesMax: number
  /** Free buffers, oldest first. */
  #free: GPUBuffer[] = []
  #freeBytes = 0

  constructor(device: GPUDevice, bytesMax: number) {
    this.#device = device
    this.#bytesMax = bytesMax
  }

  /** A buffer of at least `bytes` bytes with arbitrary content. */
  acquire(bytes: number, usage: number): GPUBuffer {
    const size = sizeClass(bytes)
    if (size > this.#device.limits.maxBufferSize) throw new GpuError('too-large', `a buffer of ${bytes} bytes is larger than this adapter's ${this.#device.limits.maxBufferSize}`)
    const at = this.#free.findLastIndex((buffer) => buffer.size === size && buffer.usage === usage)
    if (at >= 0) {
      const [buffer] = this.#free.splice(at, 1)
      this.#freeBytes -= size
      return buffer!
    }
    return this.#device.createBuffer({ size, usage })
  }

  release(buffer: GPUBuffer): void {
    this.#free.push(buffer)
    this.#freeBytes += buffer.size
    this.trim(this.#bytesMax)
  }

  /** Lets go of free buffers until at most `bytes` are kept. */
  trim(bytes: number): void {
    while (this.#freeBytes > bytes) {
      const buffer = this.#free.shift()!
      this.#freeBytes -= buffer.size
      buffer.destroy()
    }
  }
}

// Four sizes per power of two: at most a quarter is waste.
function sizeClass(bytes: number): number {
  if (bytes <= SMALLEST) return SMALLEST
  const step = 2 ** (Math.floor(Math.log2(bytes - 1)) - 2)
  return Math.ceil(bytes / step) * step
}
