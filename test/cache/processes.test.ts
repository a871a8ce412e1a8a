import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { openCache } from '../../src/index.js'
import { tempDir } from '../support/temp.js'

const child = join(import.meta.dirname, 'values-child.mjs')
const PROCESSES = 4
const ROUNDS = 3

interface Known { readonly acknowledged: Map<string, number>; readonly asked: Map<string, Set<number>> }

/** Runs one until it is killed. What it had asked for and not yet heard of may have happened or not. */
async function run(dir: string, name: string, seed: number, ms: number): Promise<Known> {
  const process_ = spawn(process.execPath, [child, dir, name, String(seed)], { stdio: ['ignore', 'pipe', 'pipe'] })
  let [out, err] = ['', '']
  process_.stdout.on('data', (data: Buffer) => { out += data.toString() })
  process_.stderr.on('data', (data: Buffer) => { err += data.toString() })
  const ended = new Promise<[number | null, string | null]>((resolve) => process_.on('close', (code, signal) => resolve([code, signal])))
  const first = await Promise.race([ended, sleep(ms).then(() => undefined)])
  process_.kill('SIGKILL')
  const [code, signal] = first ?? await ended
  expect([code, signal], `${err}\n${out.slice(-200)}`).toEqual([null, 'SIGKILL'])
  const known: Known = { acknowledged: new Map(), asked: new Map() }
  // The last line may be cut.
  for (const line of out.slice(0, Math.max(0, out.lastIndexOf('\n'))).split('\n').filter((each) => each !== '')) {
    const [op, key, number] = line.split(' ') as [string, string, string]
    if (op === '?') known.asked.set(key, (known.asked.get(key) ?? new Set()).add(Number(number)))
    else {
      known.acknowledged.set(key, Number(number))
      known.asked.get(key)!.delete(Number(number))
    }
  }
  return known
}

test('processes that are killed in the middle lose nothing that was acknowledged, and leave nothing half', async () => {
  const dir = join(tempDir(), 'cache')
  await (await openCache({ dir, minFree: 0 })).close()
  const all = new Map<string, Known>()
  for (let round = 0; round < ROUNDS; round++) {
    const made = await Promise.all(Array.from({ length: PROCESSES }, (_, k) => run(dir, `p${round}-${k}`, 97 * round + k + 1, 900 + 311 * k)))
    made.forEach((known, k) => all.set(`p${round}-${k}`, known))
  }
  const cache = await openCache({ dir, minFree: 0, memory: 0 })
  let checked = 0
  for (const [namespace, { acknowledged, asked }] of all) {
    for (const [key, number] of acknowledged) {
      const hit = await cache.get<{ n: number; data: Float32Array }>(key, { namespace })
      const n = hit?.value.n ?? 0
      expect(n === number || asked.get(key)!.has(n), `${namespace} ${key}: acknowledged ${number}, found ${n}`).toBe(true)
      if (hit !== undefined) expect(hit.value.data.every((x) => x === n)).toBe(true)
      checked++
    }
  }
  expect(checked).toBeGreaterThan(PROCESSES * ROUNDS * 20)
  // Accounting is exact: what is counted is what is there; scopes of the dead are gone.
  const { entries } = cache.store
  for (const { name, entries: count, bytes } of entries.namespaces()) {
    const found = [...entries.keys(name, 0)].map(({ entry }) => entry.bytes)
    expect([name, count, bytes]).toEqual([name, found.length, found.reduce((sum, x) => sum + x, 0)])
    expect(name).not.toMatch(/scope/)
  }
  // No file without an entry, no entry without its file, and every file is what its name says.
  await cache.store.sweep()
  await entries.collect()
  const held = new Set(entries.namespaces().flatMap(({ name }) => [...entries.keys(name, 0)].flatMap(({ entry }) => entry.blob === undefined ? [] : Buffer.from(entry.blob).toString('hex'))))
  const files = readdirSync(join(dir, 'blobs')).flatMap((folder) => readdirSync(join(dir, 'blobs', folder)))
  expect(files.sort()).toEqual([...held].sort())
  for (const name of files) expect(createHash('sha256').update(readFileSync(join(dir, 'blobs', name.slice(0, 2), name))).digest('hex')).toBe(name)
  expect(readdirSync(join(dir, 'tmp'))).toEqual([])
  await cache.close()
}, 60_000)
