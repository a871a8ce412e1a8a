import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { availableParallelism, cpus, totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { MissingDependencyError } from '../../core/errors.js'
import { versions } from '../../core/version.js'
import { examineAdapters, type ExaminedAdapter } from '../../devices/webgpu/examine.js'
import { native } from '../../native/load.js'
import { bytesFree } from '../../store/space.js'
import { Store } from '../../store/store.js'
import { humanBytes, table } from '../format.js'
import type { Verb } from '../verb.js'

export const doctor: Verb = {
  name: 'doctor',
  summary: 'Shows what there is to work with: versions, processor, GPUs and whether they compute what they should, disk. Exit code 1 when something needed is missing.',
  usage: '',
  example: 'tensorcache doctor',
  options: {},
  positionals: [0, 0],
  async run(context) {
    const dir = context.cacheDir()
    const existing = nearestExisting(dir)
    const writable = canWrite(existing)
    const index = join(dir, 'index/data.mdb')
    const facts = {
      ...versions(),
      processor: cpus()[0]?.model ?? 'unknown', cores: availableParallelism(), memoryBytes: totalmem(),
      ...addon(),
      cacheDir: dir, cacheExists: existsSync(dir), writable,
      diskFreeBytes: await bytesFree(existing), indexBytes: existsSync(index) ? statSync(index).blocks * 512 : 0,
    }
    const gpus = await examined(dir, existsSync(index), writable)
    if (context.json) {
      context.print(JSON.stringify({ ...facts, adapters: gpus.adapters, webgpu: gpus.note }))
    } else {
      const rows = Object.entries(facts).map(([name, value]) => [name.replace(/Bytes$/, ''), name.endsWith('Bytes') ? humanBytes(value as number) : Array.isArray(value) ? value.join(', ') : String(value)])
      if (gpus.note !== null) rows.push(['webgpu', gpus.note])
      for (const adapter of gpus.adapters) rows.push(...describeAdapter(adapter))
      for (const line of table(rows)) context.print(line)
    }
    return writable && facts.addon === 'built' ? 0 : 1
  },
}

/** The adapters, with what a cache remembers of them; what is learned is remembered there. */
async function examined(dir: string, exists: boolean, writable: boolean): Promise<{ adapters: ExaminedAdapter[]; note: string | null }> {
  const store = exists ? await Store.open({ dir, readonly: !writable, minFree: 0 }) : undefined
  try {
    const { adapters, learned } = await examineAdapters(store?.verdicts() ?? {})
    if (Object.keys(learned).length > 0) await store?.judge(learned)
    return { adapters, note: adapters.length > 0 ? null : 'no adapter; a GPU needs its Vulkan driver, and without a GPU a software adapter does: apt install mesa-vulkan-drivers (Mesa 24 or newer)' }
  } catch (error) {
    if (!(error instanceof MissingDependencyError)) throw error
    return { adapters: [], note: error.message }
  } finally {
    await store?.close()
  }
}

function describeAdapter({ name, driver, software, features, limits, canary }: ExaminedAdapter): string[][] {
  const failed = Object.entries(canary).filter(([, verdict]) => verdict !== 'passed').map(([check, verdict]) => `${check} ${verdict}`)
  return [
    ['adapter', `${name}${software ? ', emulated by the processor: used only when asked for' : ''}`],
    ['', `driver ${driver}`],
    ['', `canary ${failed.length === 0 ? `passed (${Object.keys(canary).join(', ')})` : failed.join(', ')}`],
    ['', `limits ${Object.entries(limits).map(([limit, value]) => `${limit} ${value}`).join(', ')}`],
    ['', `features ${features.join(', ')}`],
  ]
}

function addon(): { addon: string; instructionSets: string[]; selected: string } {
  try {
    return { addon: 'built', instructionSets: native().isaAvailable(), selected: native().isaSelected() }
  } catch (error) {
    return { addon: (error as Error).message, instructionSets: [], selected: 'none' }
  }
}

function nearestExisting(path: string): string {
  return existsSync(path) || dirname(path) === path ? path : nearestExisting(dirname(path))
}

function canWrite(path: string): boolean {
  try {
    accessSync(path, constants.W_OK)
    return true
  } catch {
    return false
  }
}
