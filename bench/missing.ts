// How long does it take to find out what is missing? A folder of a thousand small volumes of which 990 are in the cache: from opening the source to asking for the first voxel, in a process of its own, where nothing is
// known, open or compiled.
import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, rmSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { nifti, normalize, openCache, orient, recipe, resample, type Source } from 'tensorcache'
import { phantom, writeNifti } from './lib/phantom.js'
import { spread } from './lib/measure.js'
import { atMost, check, type Context, type Finding, type Question } from './lib/question.js'

const STEPS = recipe([orient(), resample({ spacing: 1.5 }), normalize({ mode: 'range', aMin: -175, aMax: 250, clip: true })])

interface Planned {
  /** Milliseconds from before the source was opened. */
  readonly open: number
  readonly first: number
  readonly all: number
  /** Items that were asked for. */
  readonly read: number
  readonly computed: number
}

async function run({ dir, pick }: Context): Promise<Finding[]> {
  // Smaller ones are read in vain where they lie between two that are missing.
  const extent = pick({ tiny: 40, quick: 32, full: 32 })
  const count = pick({ tiny: 50, quick: 1000, full: 1000 })
  const missing = count / (count === 1000 ? 100 : 10)
  const files = join(dir, 'files')
  mkdirSync(files)
  const write = (k: number): void => {
    const path = join(files, `volume-${String(k).padStart(4, '0')}.nii`)
    writeNifti(path, [extent, extent, extent], phantom([extent, extent, extent], k))
    // Old enough for its digest to be remembered.
    utimesSync(path, 1e9, 1e9)
  }
  const isLate = (k: number): boolean => k % (count / missing) === 3
  for (let k = 0; k < count; k++) if (!isLate(k)) write(k)
  const before = join(dir, 'before')
  const first = inProcess(before, files)
  check(first.computed === count - missing && first.read === first.computed, 'what was computed at first')
  for (let k = 0; k < count; k++) if (isLate(k)) write(k)

  const plan: number[] = []
  const open: number[] = []
  const all: number[] = []
  for (let round = 0; round <= pick({ tiny: 1, quick: 3, full: 15 }); round++) {
    const cache = join(dir, 'cache')
    cpSync(before, cache, { recursive: true })
    const planned = inProcess(cache, files)
    rmSync(cache, { recursive: true })
    check(planned.read === missing && planned.computed === missing, `only what is missing: ${planned.read} items were read, ${planned.computed} computed`)
    if (round === 0) continue
    plan.push(planned.first)
    open.push(planned.open)
    all.push(planned.all)
  }
  const ours = spread(plan)
  return [{
    what: `${count} × ${extent}³ int16 .nii, ${missing} of them missing: opened, and known which`, unit: 'ms', ours, peers: [], limits: [],
    beside: [{ name: 'of which opening the source', ...spread(open) }, { name: `all of it, the ${missing} made and synced`, ...spread(all) }], target: atMost(200, ours, 'ms'),
  }]
}

function inProcess(cache: string, files: string): Planned {
  const { status, stdout, stderr } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), cache, files], { encoding: 'utf8' })
  if (status !== 0) throw new Error(`a process that plans ended with ${status}: ${stderr}`)
  return JSON.parse(stdout) as Planned
}

async function planned(dir: string, files: string): Promise<Planned> {
  const cache = await openCache({ dir, minFree: 0 })
  const began = performance.now()
  const source = await nifti(files)
  const open = performance.now() - began
  let first = 0
  let read = 0
  const watched: Source = new Proxy(source, {
    get(target, name) {
      const value = Reflect.get(target, name, target) as unknown
      if (typeof value !== 'function') return value
      return (...given: unknown[]): unknown => {
        if (name === 'read') {
          first ||= performance.now() - began
          read += Number(given[1]) - Number(given[0])
        }
        return value.apply(target, given) as unknown
      }
    },
  })
  const { report } = await cache.dataset(watched, STEPS, { device: 'cpu' })
  const all = performance.now() - began
  source.close()
  await cache.close()
  return { open, first, all, read, computed: report.computed }
}

export const missing: Question = { name: 'missing', about: 'a few new volumes among many that are in the cache', run }

const [, script, cache, files] = process.argv
if (script === fileURLToPath(import.meta.url)) console.log(JSON.stringify(await planned(cache!, files!)))
