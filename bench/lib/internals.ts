// Parts that are not public, from the same build that 'tensorcache' resolves to: a benchmark of a kernel alone needs the device interface.
import { pathToFileURL } from 'node:url'
import { join } from 'node:path'
import { root } from './root.js'

const load = <T>(path: string): Promise<T> => import(pathToFileURL(join(root, 'dist', path)).href) as Promise<T>

export const { createCpuDevice } = await load<typeof import('../../dist/devices/cpu.js')>('devices/cpu.js')
export const { compile, segments } = await load<typeof import('../../dist/ops/compile.js')>('ops/compile.js')
export const { LocalBackend } = await load<typeof import('../../dist/devices/webgpu/local.js')>('devices/webgpu/local.js')
export const { kernel: webgpuKernel, userKernel } = await load<typeof import('../../dist/devices/webgpu/wgsl.js')>('devices/webgpu/wgsl.js')
export const { native } = await load<typeof import('../../dist/native/load.js')>('native/load.js')
export const { encodeBlob } = await load<typeof import('../../dist/store/shard-format.js')>('store/shard-format.js')
export const { checkCompression } = await load<typeof import('../../dist/store/compression.js')>('store/compression.js')
export const { FrameReader } = await load<typeof import('../../dist/store/frame-reader.js')>('store/frame-reader.js')
export const { FrameWriter } = await load<typeof import('../../dist/store/frame-writer.js')>('store/frame-writer.js')
export const { verifyStore } = await load<typeof import('../../dist/store/verify.js')>('store/verify.js')
