import { createHash } from 'node:crypto'
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import type { Cache } from '../../src/index.js'

/**
 * What must hold of the values of a cache at any time, whatever happened before: what is counted is what is there, no file without an entry, no entry without its file, every file
 * is what its name says, nothing unfinished, nothing in quarantine but what was damaged on purpose, and no scope of a process that is gone.
 */
export async function expectSound(cache: Cache, dir: string, where = '', quarantined = 0): Promise<void> {
  const { entries } = cache.store
  await cache.store.sweep()
  await entries.collect()
  const held = new Set<string>()
  for (const { name, entries: count, bytes, owner } of entries.namespaces()) {
    const found = [...entries.keys(name, 0)]
    expect([name, count, bytes], where).toEqual([name, found.length, found.reduce((sum, { entry }) => sum + entry.bytes, 0)])
    expect(owner, `${where}: scope ${name}`).toBeUndefined()
    for (const { entry } of entries.keys(name, 0)) if (entry.blob !== undefined) held.add(Buffer.from(entry.blob).toString('hex'))
  }
  const files = readdirSync(join(dir, 'blobs')).flatMap((folder) => readdirSync(join(dir, 'blobs', folder)))
  expect(files.sort(), where).toEqual([...held].sort())
  for (const name of files) expect(createHash('sha256').update(readFileSync(join(dir, 'blobs', name.slice(0, 2), name))).digest('hex'), where).toBe(name)
  expect(readdirSync(join(dir, 'tmp')), where).toEqual([])
  expect(readdirSync(join(dir, 'quarantine')).length, where).toBe(quarantined)
}

/** What a process said of its work: `? key n` before it asks for something, `+ key n` when it was told that it is done, n being 0 for a removal, `! text` when something is wrong. */
export class Diary {
  readonly #acknowledged = new Map<string, number>()
  readonly #asked = new Map<string, Set<number>>()
  /** True when it came to its end. */
  readonly ended: boolean

  constructor(text: string, before: ReadonlyMap<string, number> = new Map()) {
    for (const [key, n] of before) this.#acknowledged.set(key, n)
    // The last line may be cut.
    const lines = text.slice(0, Math.max(0, text.lastIndexOf('\n'))).split('\n').filter((line) => line !== '')
    this.ended = lines.at(-1) === '.'
    for (const line of lines) {
      const [op, key, n] = line.split(' ') as [string, string, string]
      if (op === '!') throw new Error(line)
      if (op === '?') this.#asked.set(key, (this.#asked.get(key) ?? new Set()).add(Number(n)))
      if (op !== '+') continue
      this.#acknowledged.set(key, Number(n))
      this.#asked.get(key)?.delete(Number(n))
    }
  }

  get acknowledged(): number {
    return this.#acknowledged.size
  }

  /** Every key holds what was acknowledged last, or what was asked for since. Values are `{ n, data }` with n everywhere in data. */
  async check(cache: Cache, namespace: string, where = ''): Promise<void> {
    for (const key of new Set([...this.#acknowledged.keys(), ...this.#asked.keys()])) {
      const hit = await cache.get<{ n: number; data: Float32Array }>(key, { namespace })
      const n = hit?.value.n ?? 0
      const right = n === (this.#acknowledged.get(key) ?? 0) || this.#asked.get(key)?.has(n) === true
      expect(right, `${where}: ${namespace} ${key}: acknowledged ${this.#acknowledged.get(key)}, asked for ${[...this.#asked.get(key) ?? []].join(' ')}, found ${n}`).toBe(true)
      if (hit !== undefined) expect(hit.value.data.every((x) => x === n), `${where}: ${key}`).toBe(true)
    }
  }
}
