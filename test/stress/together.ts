import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import { openCache } from '../../src/index.js'
import { Diary, expectSound } from '../support/soundness.js'
import { root } from './support.js'

const child = join(root, 'test/stress/values-child.mjs')

/** Runs one until it is killed. What it had asked for and not yet heard of may have happened or not. */
async function run(dir: string, name: string, seed: number, ms: number): Promise<Diary> {
  const process_ = spawn(process.execPath, [child, dir, name, String(seed)], { stdio: ['ignore', 'pipe', 'pipe'] })
  let [out, err] = ['', '']
  process_.stdout.on('data', (data: Buffer) => { out += data.toString() })
  process_.stderr.on('data', (data: Buffer) => { err += data.toString() })
  const ended = new Promise<[number | null, string | null]>((resolve) => process_.on('close', (code, signal) => resolve([code, signal])))
  const first = await Promise.race([ended, sleep(ms).then(() => undefined)])
  process_.kill('SIGKILL')
  const [code, signal] = first ?? await ended
  expect([code, signal], `${err}\n${out.slice(-200)}`).toEqual([null, 'SIGKILL'])
  return new Diary(out)
}

/**
 * Several processes at once put, replace, read, delete and clear values and dispose of scopes, until they are killed; then others do. Nothing that was acknowledged is lost, and nothing is left half.
 * Gives how many entries were looked at.
 */
export async function workTogether(dir: string, { processes, rounds, ms }: { processes: number; rounds: number; ms: number }): Promise<number> {
  await (await openCache({ dir, minFree: 0 })).close()
  const all = new Map<string, Diary>()
  for (let round = 0; round < rounds; round++) {
    const made = await Promise.all(Array.from({ length: processes }, (_, k) => run(dir, `p${round}-${k}`, 97 * round + k + 1, ms * (1 + k / processes))))
    made.forEach((diary, k) => all.set(`p${round}-${k}`, diary))
  }
  const cache = await openCache({ dir, minFree: 0, memory: 0 })
  let checked = 0
  for (const [namespace, diary] of all) {
    await diary.check(cache, namespace)
    checked += diary.acknowledged
  }
  await expectSound(cache, dir)
  await cache.close()
  return checked
}
