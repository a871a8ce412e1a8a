// Uses a GPU in a process of its own, which then ends as it is told: see test/stress/gpu.ts.
import { createHash } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { createCpuDevice } from '../../dist/devices/cpu.js'
import { createWebgpuDevice } from '../../dist/devices/webgpu.js'

const { adapter, thread, how, wait, milliseconds } = JSON.parse(process.argv[2])
const n = how === 'gc' ? 5000 : 1 << 20
const value = { dtype: 'float32', shape: [n] }
const step = { kernel: 'normalize', in: 0, out: 1, origin: { op: 0, opName: 'test', field: 'x' }, groups: 1, members: n, statistics: 'moments', nonzero: false, eps: 1e-8, toLow: 0, toHigh: 1, quantileLow: 0, quantileHigh: 1, clip: false, affine: null }
const program = { values: [value, value], inputs: [{ field: 'x', value: 0 }], outputs: [{ field: 'x', value: 1 }], steps: [step] }
const x = new Float32Array(3 * n).map((_, i) => i % 97)
const digest = (bytes) => createHash('sha256').update(bytes).digest('hex')

if (how === 'gc') {
  const y = new Float32Array(3 * n)
  const cpu = createCpuDevice()
  await (await cpu.prepare(program)).run({ count: 3, inputs: [x], outputs: [y] })
  const right = digest(y)
  const devices = await Promise.all(['worker', 'main'].map((on) => createWebgpuDevice({ adapter, thread: on, idleMs: 20 })))
  const collecting = setInterval(() => globalThis.gc(), 50)
  const until = performance.now() + milliseconds
  let runs = 0
  await Promise.all(devices.map(async (device) => {
    while (performance.now() < until) {
      const prepared = await device.prepare(program)
      // Arrays that only the device knows while it works on them.
      const outs = [0, 1].map(() => new Float32Array(3 * n))
      await Promise.all(outs.map((out) => prepared.run({ count: 3, inputs: [x.slice()], outputs: [out] })))
      if (outs.some((out) => digest(out) !== right)) throw new Error('wrong bytes')
      runs++
      if (runs % 10 === 0) await setTimeout(30)
    }
  }))
  clearInterval(collecting)
  for (const device of devices) await device.close()
  console.log(`runs ${runs}`)
} else {
  const device = await createWebgpuDevice({ adapter, thread, canary: 'skip', idleMs: 200 })
  const prepared = await device.prepare(program)
  const runs = [0, 1].map(() => prepared.run({ count: 3, inputs: [x], outputs: [new Float32Array(3 * n)] }))
  for (const run of runs) run.catch(() => undefined)
  if (how === 'natural') await Promise.all(runs)
  else if (how === 'idle') {
    await Promise.all(runs)
    await setTimeout(500)
    const before = process.cpuUsage()
    await setTimeout(1000)
    const { user, system } = process.cpuUsage(before)
    // In microseconds: a binding that keeps an event loop turning would use all of the second.
    if (user + system > 200_000) throw new Error(`${user + system} µs of processor time while idle`)
  } else {
    await setTimeout(wait)
    if (how === 'exit') process.exit(3)
    if (how === 'throw') throw new Error('on purpose')
    process.kill(process.pid, how)
    await setTimeout(10_000)
  }
}
