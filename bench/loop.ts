// Does a build hold up the event loop? The delay of a timer during a build, beside that of the same process when it does nothing.
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout } from 'node:timers/promises'
import { normalize, npy, openCache, recipe, resample } from 'tensorcache'
import { fillNoise, writeNpy } from './lib/files.js'
import { spread } from './lib/measure.js'
import { atMost, check, type Context, type Finding, type Question } from './lib/question.js'

async function run({ dir, pick }: Context): Promise<Finding[]> {
  const items = pick({ tiny: 64, quick: 16_384, full: 65_536 })
  const path = join(dir, 'items.npy')
  writeNpy(path, 'float32', [items, 64, 64], fillNoise)
  const cacheDir = join(dir, 'cache')
  const steps = recipe([resample({ shape: [32, 32] }), normalize({ mode: 'zscore' })])
  const delays = { build: [] as number[], idle: [] as number[], above: [] as number[], longest: [] as number[] }
  for (let round = 0; round < pick({ tiny: 1, quick: 2, full: 7 }); round++) {
    rmSync(cacheDir, { recursive: true, force: true })
    const began = performance.now()
    const build = await delayDuring(async () => {
      await using cache = await openCache({ dir: cacheDir, minFree: 0 })
      const source = await npy(path, { fields: { x: 'data' } })
      const dataset = await cache.dataset(source, steps)
      check(dataset.report.computed === items && dataset.fields.x!.shape.join() === '32,32', 'the build')
      source.close()
    })
    const took = performance.now() - began
    const idle = await delayDuring(() => setTimeout(took))
    delays.build.push(build.p99)
    delays.longest.push(build.max)
    delays.idle.push(idle.p99)
    delays.above.push(build.p99 - idle.p99)
  }
  const above = spread(delays.above)
  return [
    {
      what: `p99 while ${items} items are built, above idle`, unit: 'ms', ours: above, peers: [], limits: [],
      beside: [{ name: 'p99 during the build', ...spread(delays.build) }, { name: 'p99 idle', ...spread(delays.idle) }, { name: 'longest during the build', ...spread(delays.longest) }],
      target: atMost(10, above, 'ms'),
    },
  ]
}

async function delayDuring(work: () => Promise<unknown>): Promise<{ p99: number; max: number }> {
  const monitor = monitorEventLoopDelay({ resolution: 1 })
  monitor.enable()
  await work()
  monitor.disable()
  return { p99: monitor.percentile(99) / 1e6, max: monitor.max / 1e6 }
}

export const loop: Question = { name: 'loop', about: 'event-loop delay during a build', run }
