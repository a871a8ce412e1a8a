/** Why a batch could not be computed on the GPU. Never reaches a caller: the CPU computes the batch instead. */
export class GpuError extends Error {
  readonly reason: 'lost' | 'out-of-memory' | 'too-large' | 'failed'
  constructor(reason: GpuError['reason'], message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'GpuError'
    this.reason = reason
  }
}
