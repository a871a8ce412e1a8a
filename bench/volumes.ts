// How fast do medical volumes become a cached dataset, from files to shards that are synced? One core: a process that may use no other, beside Python on that same core. All cores: this process, beside as many
// Python processes. nibabel and torch do what a MONAI user's transforms do.
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { nifti, normalize, openCache, orient, recipe, resample, type Dataset, type Tensor } from 'tensorcache'
import { inTurns, named, seconds } from './lib/measure.js'
import { phantom, VOXEL_MM, writeNifti } from './lib/phantom.js'
import { check, timesPeer, type Context, type Finding, type Question } from './lib/question.js'

const STEPS = recipe([orient(), resample({ spacing: 1.5 }), normalize({ mode: 'range', aMin: -175, aMax: 250, clip: true })])
/** The core that is measured alone. */
const CORE = 0
const TASKSET = '/usr/bin/taskset'

type Extents = readonly [number, number, number]

async function run({ dir, pick, peer }: Context): Promise<Finding[]> {
  const extent = pick({ tiny: 16, quick: 192, full: 256 })
  const extents: Extents = [extent, extent, extent]
  const count = pick({ tiny: 2, quick: 2, full: 8 })
  const paths = Array.from({ length: count }, (_, k) => join(dir, `volume-${k}.nii`))
  const volumes = paths.map((path, k) => {
    const voxels = phantom(extents, k)
    writeNifti(path, extents, voxels)
    return voxels
  })
  const torch = await peer('volumes')
  const out = join(dir, 'peer')
  mkdirSync(out)
  await torch?.call('start', { processes: availableParallelism() })

  await built(dir, paths, async (dataset) => {
    for (const [k, voxels] of volumes.entries()) {
      const { data, shape } = (await dataset.get(k)).image as Tensor
      check(agrees(data as Float32Array, shape as Extents, voxels, extents), `volume ${k}`)
      for (const method of ['interpolate', 'grid_sample']) {
        if (torch === undefined || k > 0) continue
        const to = join(dir, `${method}.f32`)
        await torch.call('save', { path: paths[k]!, method, to })
        const bytes = readFileSync(to)
        const theirs = new Float32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 4)
        // The peer's float32 positions are off by some 2^-17 of a voxel where neighbours differ by a thousand units.
        check(theirs.length === data.length && theirs.every((value, i) => Math.abs(value - Number(data[i])) < 0.005), `torch, ${method}`)
      }
    }
  })

  const rate = (took: number): number => count / took
  const ours = async (work: () => Promise<number>): Promise<number> => rate(await work())
  const theirs = (call: string, method: string, args: object = {}) => torch && (async () => rate(await torch.call(call, { paths, out, method, ...args })))
  const repetitions = pick({ tiny: 1, quick: 2, full: 11 })
  const findings: Finding[] = []
  const what = `${count} × ${extent}³ int16 .nii of ${VOXEL_MM.join(' × ')} mm → RAS, 1.5 mm, clipped to 0…1 → cached`
  if (existsSync(TASKSET)) {
    const child = await Pinned.start()
    const one = await inTurns(repetitions, {
      ours: () => ours(() => child.build(dir, paths)),
      'nibabel and torch interpolate, same core': theirs('one_core', 'interpolate', { core: CORE }),
      'nibabel and torch grid_sample, same core': theirs('one_core', 'grid_sample', { core: CORE }),
    })
    child.stop()
    const peers = named(one, 'nibabel and torch interpolate, same core', 'nibabel and torch grid_sample, same core')
    findings.push({ what: `${what}, one core`, unit: 'volumes/s', ours: one.ours, peers, limits: [], target: timesPeer(5, one.ours, peers[0]) })
  }
  const all = await inTurns(repetitions, {
    ours: () => ours(() => built(dir, paths)),
    'nibabel and torch interpolate, a process per core': theirs('all_cores', 'interpolate'),
    'nibabel and torch grid_sample, a process per core': theirs('all_cores', 'grid_sample'),
  })
  const peers = named(all, 'nibabel and torch interpolate, a process per core', 'nibabel and torch grid_sample, a process per core')
  findings.push({ what: `${what}, ${availableParallelism()} cores`, unit: 'volumes/s', ours: all.ours, peers, limits: [], target: timesPeer(5, all.ours, peers[0]) })
  torch?.stop()
  return findings
}

/** Builds the dataset in a cache of its own; seconds from opening the cache to having the dataset. */
async function built(dir: string, paths: readonly string[], use?: (dataset: Dataset) => Promise<void>): Promise<number> {
  const folder = join(dir, `cache-${process.pid}`)
  const cache = await openCache({ dir: folder })
  let dataset: Dataset
  const took = await seconds(async () => {
    const source = await nifti(paths)
    dataset = await cache.dataset(source, STEPS, { device: 'cpu' })
    source.close()
  })
  check(dataset!.report.computed === paths.length, 'what was computed')
  await use?.(dataset!)
  await cache.close()
  rmSync(folder, { recursive: true })
  return took
}

/** Some thousand voxels by the formula, one by one in float64: half-pixel centres, edges repeated, x and y turned about. */
function agrees(found: Float32Array, shape: Extents, voxels: Int16Array, extents: Extents): boolean {
  const step = Math.max(1, Math.floor(found.length / 5000))
  for (let at = 0; at < found.length; at += step) {
    const index = [Math.floor(at / shape[1] / shape[2]), Math.floor(at / shape[2]) % shape[1], at % shape[2]]
    const [low, part] = [[0, 0, 0], [0, 0, 0]]
    index.forEach((i, axis) => {
      const position = Math.min(Math.max((i + 0.5) * extents[axis]! / shape[axis]! - 0.5, 0), extents[axis]! - 1)
      low[axis] = Math.min(Math.floor(position), extents[axis]! - 2)
      part[axis] = position - low[axis]!
    })
    let sum = 0
    for (let corner = 0; corner < 8; corner++) {
      const from = [0, 1, 2].map((axis) => low[axis]! + (corner >> axis & 1))
      const weight = [0, 1, 2].reduce((product, axis) => product * ((corner >> axis & 1) === 1 ? part[axis]! : 1 - part[axis]!), 1)
      sum += weight * voxels[((from[2]! * extents[1]) + extents[1] - 1 - from[1]!) * extents[0] + extents[0] - 1 - from[0]!]!
    }
    if (!(Math.abs(found[at]! - Math.min(Math.max((sum + 175) / 425, 0), 1)) < 1e-4)) return false
  }
  return true
}

/** A process that has one core, so that nothing it does can lie on another. */
class Pinned {
  readonly #child: ChildProcess

  private constructor(child: ChildProcess) {
    this.#child = child
  }

  static async start(): Promise<Pinned> {
    const child = fork(fileURLToPath(import.meta.url), { execPath: TASKSET, execArgv: ['-c', String(CORE), process.execPath] })
    await once(child, 'message')
    return new Pinned(child)
  }

  async build(dir: string, paths: readonly string[]): Promise<number> {
    const settled = new AbortController()
    const ended = once(this.#child, 'exit', { signal: settled.signal }).then(() => { throw new Error('the process that has one core ended') })
    ended.catch(() => undefined)
    this.#child.send({ dir, paths })
    try {
      const [took] = await Promise.race([once(this.#child, 'message', { signal: settled.signal }), ended]) as [number]
      return took
    } finally {
      settled.abort()
    }
  }

  stop(): void {
    this.#child.disconnect()
  }
}

export const volumes: Question = { name: 'volumes', about: 'medical volumes from files to a cached dataset', run }

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.on('message', async ({ dir, paths }: { dir: string; paths: string[] }) => process.send!(await built(dir, paths)))
  process.send!('ready')
}
