import { createCpuDevice } from '../../src/devices/cpu.js'
import { findAdapters } from '../../src/devices/webgpu/dawn.js'
import { createWebgpuDevice } from '../../src/devices/webgpu.js'
import { native } from '../../src/native/load.js'
import { deviceContract } from '../contracts/device.js'

for (const isa of native().isaAvailable()) deviceContract(`cpu, ${isa}`, async () => createCpuDevice({ isa, threads: 2 }))
for (const { facts } of await findAdapters()) {
  deviceContract(`webgpu on a worker, ${facts.name}`, () => createWebgpuDevice({ adapter: facts.name }))
  deviceContract(`webgpu on this thread, ${facts.name}`, () => createWebgpuDevice({ adapter: facts.name, thread: 'main', frameBytes: 4096, workgroupSize: 64 }))
}
