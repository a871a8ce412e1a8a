import { existsSync, readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { MissingDependencyError } from '../core/errors.js'
import { show } from '../core/options.js'
import { createCpuDevice } from './cpu.js'
import type { Device, DeviceSource } from './device.js'
import { createWebgpuDevice, type VerdictStore } from './webgpu.js'

/** `auto`: a real GPU if there is one, the CPU otherwise. `webgpu:<name>` takes the adapter whose name contains it. */
export type DeviceChoice = 'auto' | 'cpu' | 'webgpu' | `webgpu:${string}`

export interface SelectOptions {
  /** Threads of the CPU; default: all. */
  readonly threads?: number
  /** Where verdicts on GPUs are remembered. */
  readonly verdicts?: VerdictStore | undefined
}

export const DEVICE_CHOICES = "one of auto, cpu, webgpu, webgpu:<part of an adapter's name>"

export function isDeviceChoice(choice: unknown): choice is DeviceChoice {
  return typeof choice === 'string' && /^(auto|cpu|webgpu(:.+)?)$/.test(choice)
}

export function checkDeviceChoice(where: string, choice: unknown): DeviceChoice {
  if (choice === undefined) return 'auto'
  if (!isDeviceChoice(choice)) throw new TypeError(`${where}: device must be ${DEVICE_CHOICES}, not ${show(choice)}`)
  return choice
}

/** The device for a name: the only place that knows all of them. Results do not depend on it. */
export async function selectDevice(choice: DeviceChoice, { threads = availableParallelism(), verdicts }: SelectOptions = {}): Promise<Device> {
  const gpu = verdicts === undefined ? {} : { verdicts }
  if (choice === 'webgpu') return createWebgpuDevice(gpu)
  if (choice.startsWith('webgpu:')) return createWebgpuDevice({ ...gpu, adapter: choice.slice('webgpu:'.length) })
  if (choice === 'auto' && mayHaveGpu()) {
    try {
      const device = await createWebgpuDevice(gpu)
      // A processor that plays a GPU is slower than the same processor.
      if (!device.adapter.software) return device
      await device.close()
    } catch (error) {
      if (!(error instanceof MissingDependencyError)) throw error
    }
  }
  return createCpuDevice({ threads })
}

/** The device for a name, opened when something has to be computed; closed only if it was. */
export function deviceSource(choice: DeviceChoice, options: SelectOptions = {}): DeviceSource & { close(): Promise<void> } {
  let opening: Promise<Device> | undefined
  return {
    exact: true,
    open: () => opening ??= selectDevice(choice, options).catch((error: unknown) => {
      opening = undefined
      throw error
    }),
    close: async () => (await opening?.catch(() => undefined))?.close(),
  }
}

/** False where a GPU cannot be: looking for one takes a tenth of a second. */
function mayHaveGpu(): boolean {
  if (process.platform !== 'linux') return true
  if (existsSync('/dev/nvidiactl') || existsSync('/dev/dxg')) return true
  return existsSync('/dev/dri') && readdirSync('/dev/dri').some((name) => name.startsWith('renderD'))
}
