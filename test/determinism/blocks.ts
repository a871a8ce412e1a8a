import type { Engine } from '../../src/devices/webgpu/engine.js'
import type { FrameWork } from '../../src/devices/webgpu/frame.js'
import { add, guard } from '../reference/numbers.js'

const BLOCK = 4096

/** The first pass of float32 moments as kernels/normalize-sums.wgsl leaves it: per block of one group, the bits of its sum and how many are not zero. */
export function plainSums(values: Float32Array): Uint32Array {
  const out = new Uint32Array(2 * Math.ceil(values.length / BLOCK))
  const bits = new Float32Array(out.buffer)
  for (let block = 0; block < out.length / 2; block++) {
    const members = Array.from({ length: BLOCK }, (_, i) => guard(values[block * BLOCK + i] ?? 0))
    out[2 * block + 1] = members.filter((x) => x !== 0).length
    for (let half = BLOCK / 2; half >= 1; half /= 2) for (let i = 0; i < half; i++) members[i] = add(members[i]!, members[i + half]!)
    bits[2 * block] = members[0]!
  }
  return out
}

export async function sumsOnDevice(engine: Engine, values: Float32Array): Promise<Uint32Array> {
  return engine.withFrame(['normalize-sums'], async (frame) => {
    const blocks = Math.ceil(values.length / BLOCK)
    let results: GPUBuffer
    const work = function * (): FrameWork {
      const source = frame.buffer(values.byteLength)
      frame.upload(source, new Uint8Array(values.buffer, values.byteOffset, values.byteLength))
      results = frame.buffer(blocks * 8)
      const bindings = { source: { buffer: source, offset: 0, size: values.byteLength }, results: { buffer: results, offset: 0, size: blocks * 8 } }
      const params = { blocks, first_block: 0, blocks_per_group: blocks, members: values.length, source_start: 0, results_start: 0 }
      frame.dispatch({ kernel: 'normalize-sums', constants: {}, bindings, params, workgroups: blocks })
      yield * []
    }
    let sums = new Uint32Array()
    await frame.run(work(), () => [{ buffer: results, bytes: blocks * 8 }], ([bytes]) => { sums = new Uint32Array(bytes!.slice().buffer) })
    return sums
  })
}
