import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { availableParallelism, cpus, totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { versions } from '../../core/version.js'
import { native } from '../../native/load.js'
import { bytesFree } from '../../store/space.js'
import { humanBytes, table } from '../format.js'
import type { Verb } from '../verb.js'

export const doctor: Verb = {
  name: 'doctor',
  summary: 'Shows what there is to work with: versions, processor, devices, disk. Exit code 1 when something needed is missing.',
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
      webgpu: 'not part of this version; the CPU gives the same bytes',
      cacheDir: dir, cacheExists: existsSync(dir), writable,
      diskFreeBytes: await bytesFree(existing), indexBytes: existsSync(index) ? statSync(index).blocks * 512 : 0,
    }
    if (context.json) {
      context.print(JSON.stringify(facts))
    } else {
      const rows = Object.entries(facts).map(([name, value]) => [name.replace(/Bytes$/, ''), name.endsWith('Bytes') ? humanBytes(value as number) : Array.isArray(value) ? value.join(', ') : String(value)])
      for (const line of table(rows)) context.print(line)
    }
    return writable && facts.addon === 'built' ? 0 : 1
  },
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
