import { GpuError } from './errors.js'
import type { Binding, Frame } from './frame.js'

/** What `encodeScan` needs compiled. */
export const SCAN_KERNELS: readonly string[] = ['scan-blocks', 'scan-add']

/** Values that one workgroup of scan-blocks sums; the kernels have the same number. */
const BLOCK = 2048

/**
 * Exclusive prefix sums of `elements` u32, modulo 2^32, in place: each value becomes the sum of those before it. Returns a buffer whose first word is the
 * sum of all; the caller frees it.
 */
export function encodeScan(frame: Frame, values: GPUBuffer, elements: number): GPUBuffer {
  const { device, options } = frame.session
  if (elements * 4 > device.limits.maxStorageBufferBindingSize) throw new GpuError('too-large', `prefix sums over ${elements} values do not fit this adapter's bindings`)
  const blocks = Math.ceil(elements / BLOCK)
  const totals = frame.buffer(Math.max(1, blocks) * 4)
  if (blocks === 0) {
    frame.fill(totals, 4)
    return totals
  }
  const bindings = { values: words(values, elements), totals: words(totals, blocks) }
  frame.dispatch({ kernel: 'scan-blocks', constants: {}, bindings, params: { elements }, workgroups: blocks })
  if (blocks === 1) return totals
  const sum = encodeScan(frame, totals, blocks)
  frame.dispatch({ kernel: 'scan-add', constants: {}, bindings, params: { elements }, workgroups: Math.ceil(elements / options.workgroupSize) })
  frame.free(totals)
  return sum
}

function words(buffer: GPUBuffer, count: number): Binding {
  return { buffer, offset: 0, size: count * 4 }
}
