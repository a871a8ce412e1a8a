import { decodeSmall } from '../cache/value-small.js'
import type { Fingerprint } from '../cache/options.js'
import { StoreError } from '../core/errors.js'
import { boolean, checkOptions, number, show } from '../core/options.js'
import type { Device, DeviceSource } from '../devices/device.js'
import type { DeviceChoice } from '../devices/select.js'
import type { BrokenRecord } from '../store/audit.js'
import type { Store } from '../store/store.js'
import { verifyStore, type DamagedBlob, type VerifyProgress } from '../store/verify.js'
import type { Progress } from './build.js'
import { doubtedBlobs, mend, type Repair } from './mend.js'
import { recompute, type Recomputed } from './recompute.js'

/** Options of `cache.verify`. */
export interface VerifyOptions {
  /** On each drive so many blobs, chosen by the seed, instead of all: a number, or a share such as `5%`. */
  readonly sample?: number | string
  /** Chooses what `sample` and `recompute` take. Default 0. */
  readonly seed?: number | bigint
  /** On each drive so many items, of all datasets, are computed again from their source and compared byte by byte. Default 0. */
  readonly recompute?: number
  /** Moves damage aside and makes again what was in it, where its source and recipe are recorded and still there. Default false. */
  readonly fix?: boolean
  /** With `fix`: says what would be done; changes nothing. Default false. */
  readonly dryRun?: boolean
  /** Where to compute. Default: `auto`; for `recompute` the CPU where a GPU made the items, `auto` else. */
  readonly device?: DeviceChoice | Device
  /** Blobs hashed at the same time. Default: one per core. */
  readonly jobs?: number
  /** Aborted: rejects with its reason; what was mended stays mended. */
  readonly signal?: AbortSignal
  /** Bytes that were hashed, of how many. */
  readonly onProgress?: (progress: VerifyProgress) => void
  /** Items that are being made again. */
  readonly onRebuild?: (progress: Progress) => void
}

/** What `cache.verify` found, and did. */
export interface Verification {
  /** Nothing is wrong, or all that was has been mended. */
  readonly sound: boolean
  /** Blobs that were read again. */
  readonly blobs: number
  /** Blobs there are. */
  readonly of: number
  /** Bytes that were read again. */
  readonly bytes: number
  /** How long it took. */
  readonly seconds: number
  /** The seed that chose the blobs; null when all were read. */
  readonly seed: string | null
  /** Datasets and values of the index that were looked at. */
  readonly records: number
  /** Blobs whose bytes are not those that were written, or that are not there. */
  readonly damaged: readonly DamagedBlob[]
  /** Datasets and values that lead nowhere. */
  readonly broken: readonly BrokenRecord[]
  /** Null when nothing was to be computed again. */
  readonly recomputed: Recomputed | null
  /** What became of the damage; null without `fix`. */
  readonly repairs: readonly Repair[] | null
  /** True: `fix` was asked what it would do, and nothing was changed. */
  readonly dryRun: boolean
}

const OPTIONS = ['sample', 'seed', 'recompute', 'fix', 'dryRun', 'device', 'jobs', 'signal', 'onProgress', 'onRebuild']

export interface CheckedVerifyOptions {
  readonly sample: { readonly count: number } | { readonly share: number } | undefined
  readonly seed: bigint
  readonly recompute: number
  readonly fix: boolean
  readonly dryRun: boolean
  readonly jobs: number | undefined
}

/** Throws TypeError. */
export function checkVerifyOptions(options: VerifyOptions): CheckedVerifyOptions {
  const where = 'verify'
  checkOptions(where, options, OPTIONS)
  const { seed = 0 } = options
  const wide = typeof seed === 'bigint' ? seed : BigInt(number(where, 'seed', seed, { integer: true, min: 0 }))
  if (wide < 0n || wide >= 2n ** 64n) throw new TypeError(`${where}: seed must be an integer from 0 to 2^64 - 1, not ${show(seed)}`)
  const fix = boolean(where, 'fix', options.fix, false)
  const dryRun = boolean(where, 'dryRun', options.dryRun, false)
  if (dryRun && !fix) throw new TypeError(`${where}: dryRun says what fix would do, and goes with it; without fix nothing is changed anyway`)
  return {
    sample: options.sample === undefined ? undefined : sampleOf(where, options.sample), seed: wide, fix, dryRun,
    recompute: number(where, 'recompute', options.recompute, { integer: true, min: 0, max: 2 ** 32 - 1 }, 0),
    jobs: options.jobs === undefined ? undefined : number(where, 'jobs', options.jobs, { integer: true, min: 1, max: 256 }),
  }
}

function sampleOf(where: string, given: unknown): { count: number } | { share: number } {
  const percent = typeof given === 'string' ? /^(\d+(?:\.\d+)?)%$/.exec(given) : null
  const share = percent === null ? undefined : Number(percent[1]) / 100
  const count = typeof given === 'number' ? given : typeof given === 'string' && /^\d+$/.test(given) ? Number(given) : undefined
  if (share !== undefined && share > 0 && share <= 1) return { share }
  if (count !== undefined && Number.isSafeInteger(count) && count > 0) return { count }
  throw new TypeError(`${where}: sample must be a number of blobs from 1 or a share such as 5%, not ${show(given)}`)
}

export interface VerifyRequest {
  readonly store: Store
  readonly options: VerifyOptions
  readonly checked: CheckedVerifyOptions
  /** A device by its name, or the caller's. */
  readonly deviceOf: (choice: DeviceChoice | Device | undefined) => DeviceSource
  readonly jobs: number
  readonly memoryBytes: number
  readonly fingerprint: Fingerprint
  readonly signal: AbortSignal
}

/** Reads again, computes again, mends: in this order, each as asked. */
export async function verify({ store, options, checked, deviceOf, jobs, memoryBytes, fingerprint, signal }: VerifyRequest): Promise<Verification> {
  const { sample, seed, fix, dryRun } = checked
  if (fix && !dryRun && store.readonly) throw new StoreError(store.layout.dir, 'is opened read-only, and cannot be mended')
  const began = performance.now()
  const checkSmall = (small: Uint8Array): string | undefined => smallFault(small, store.layout.index)
  const count = sample === undefined ? undefined : (of: number): number => 'count' in sample ? sample.count : Math.max(1, Math.ceil(sample.share * of))
  const found = await verifyStore(store, { jobs, sample: count, seed, checkSmall, signal, onProgress: options.onProgress })
  const deviceFor = (kind: string | undefined): DeviceSource => deviceOf(options.device ?? (kind === undefined || kind === 'cpu' ? 'auto' : 'cpu'))
  const recomputed = checked.recompute === 0 ? null : await recompute({ store, items: checked.recompute, seed, deviceFor, signal })
  const differing = new Set((recomputed?.differences ?? []).map(({ shard }) => shard))
  for (const { digest } of found.damaged) differing.delete(digest)
  const damaged = [...found.damaged, ...doubtedBlobs(store, differing)]
  const isClean = damaged.length === 0 && found.broken.length === 0
  // Where two devices do not agree, the processor's word counts: the kernels on it are the reference.
  const device = deviceOf(options.device ?? (differing.size > 0 ? 'cpu' : 'auto'))
  const repairs = !fix ? null : isClean ? [] : await mend({ store, damaged, checkSmall, device, jobs, memoryBytes, fingerprint, dryRun, signal, onProgress: options.onRebuild })
  return {
    sound: isClean || (repairs !== null && !dryRun && repairs.every(({ outcome }) => outcome !== 'lost')),
    blobs: found.blobs, of: found.of, bytes: found.bytes, seconds: (performance.now() - began) / 1000, seed: found.blobs === found.of ? null : String(seed),
    records: found.records, damaged, broken: found.broken, recomputed, repairs, dryRun,
  }
}

/** Of several stores. */
export function sumVerifications(all: readonly Verification[]): Verification {
  const sum = (name: 'blobs' | 'of' | 'bytes' | 'seconds' | 'records'): number => all.reduce((total, one) => total + one[name], 0)
  const again = all.flatMap(({ recomputed }) => recomputed ?? [])
  return {
    sound: all.every(({ sound }) => sound), blobs: sum('blobs'), of: sum('of'), bytes: sum('bytes'), seconds: sum('seconds'), seed: all.find(({ seed }) => seed !== null)?.seed ?? null, records: sum('records'),
    damaged: all.flatMap(({ damaged }) => damaged), broken: all.flatMap(({ broken }) => broken),
    recomputed: again.length === 0 ? null : {
      items: again.reduce((total, { items }) => total + items, 0), of: again.reduce((total, { of }) => total + of, 0), seed: again[0]!.seed, devices: Array.from(new Set(again.flatMap(({ devices }) => devices))),
      differences: again.flatMap(({ differences }) => differences), skipped: again.flatMap(({ skipped }) => skipped),
    },
    repairs: all.some(({ repairs }) => repairs !== null) ? all.flatMap(({ repairs }) => repairs ?? []) : null, dryRun: all[0]?.dryRun ?? false,
  }
}

function smallFault(small: Uint8Array, file: string): string | undefined {
  try {
    decodeSmall(small, file)
    return undefined
  } catch (error) {
    return `its value is damaged (${(error as Error).message})`
  }
}
