import { availableParallelism } from 'node:os'
import { MissingDependencyError } from '../core/errors.js'
import { choice } from '../core/options.js'
import { createCpuDevice } from './cpu.js'
import type { Device } from './device.js'

export type DeviceChoice = 'auto' | 'cpu' | 'webgpu'

/** The device for a name: the only place that knows all of them. `auto` takes the best there is; results do not depend on it. */
export function selectDevice(name: unknown, threads: number = availableParallelism()): Device {
  const chosen = choice('device', 'device', name, ['auto', 'cpu', 'webgpu'], 'auto')
  if (chosen === 'webgpu') throw new MissingDependencyError('device "webgpu" is not part of this version; "cpu" gives the same bytes')
  return createCpuDevice({ threads })
}
