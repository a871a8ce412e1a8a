import { spawn } from 'node:child_process'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test, vi } from 'vitest'
import { FLUSH_MS } from '../../src/cache/tally.js'
import { npz, openCache } from '../../src/index.js'
import { TALLY_PARTS } from '../../src/store/entry-transactions.js'
import { layoutOf } from '../../src/store/layout.js'
import { openTables } from '../../src/store/tables.js'
import { range, smallCache, steps, writeRows } from '../support/data.js'
import { tempDir } from '../support/temp.js'

const index = pathToFileURL(resolve(import.meta.dirname, '../../dist/index.js')).href
const fresh = (): string => join(tempDir(), 'cache')
const large = (): Float32Array => Float32Array.from({ length: 20_000 }, (_, k) => k)

/** Runs a module in a process of its own; gives what it exits with. */
function child(code: string): { readonly done: Promise<number | null>; readonly kill: () => void; readonly said: (text: string) => Promise<void> } {
  const running = spawn(process.execPath, ['--input-type=module', '-e', `import { openCache } from ${JSON.stringify(index)}\n${code}`], { stdio: ['ignore', 'pipe', 'inherit'] })
  let output = ''
  running.stdout.on('data', (data: Buffer) => { output += data.toString() })
  return {
    done: new Promise((resolve) => running.on('close', (status) => resolve(status))),
    kill: () => running.kill('SIGKILL'),
    said: async (text) => { while (!output.includes(text)) await sleep(5) },
  }
}

describe('counts', () => {
  test('of values are those of the tier that answered, and of those that could not', async () => {
    const dir = fresh()
    const cache = await openCache({ dir, minFree: 0, memory: { items: 2 } })
    await cache.get('none')
    await cache.put('small', 1)
    await cache.put('large', large())
    for (let k = 0; k < 3; k++) for (const key of ['small', 'large']) await cache.get(key)
    expect(await cache.get('large', { validate: () => false })).toBeUndefined()
    await cache.put('gone', 1, { expiresIn: 0 })
    expect(await cache.get('gone')).toBeUndefined()
    const { session, ...all } = await cache.stats()
    expect(all).toMatchObject(session)
    // small and large: once from the disk, twice from memory. Not there; there and not accepted, in memory; there and expired, on the disk.
    expect(session).toMatchObject({ memory: { hits: 4, misses: 5, stale: 1, evictions: 1 }, disk: { hits: 2, misses: 2, stale: 1, evictions: 0 }, misses: 3, stale: 2, puts: 3 })
    expect(session.disk.bytesRead).toBeGreaterThan(80_000)
    expect(session.memory.bytesRead).toBe(2 * session.disk.bytesRead)
    expect(session.disk.bytesWritten).toBeGreaterThan(session.disk.bytesRead)
    await cache.close()
    const memoryOnly = await openCache({ dir: null })
    await memoryOnly.put('a', large())
    await memoryOnly.get('a')
    await memoryOnly.get('b')
    expect(await memoryOnly.stats()).toMatchObject({ memory: { hits: 1, misses: 1, bytesWritten: expect.any(Number) as number }, disk: { hits: 0, misses: 0, bytesWritten: 0 } })
    expect((await memoryOnly.stats()).memory.bytesWritten).toBeGreaterThan(80_000)
    await memoryOnly.close()
  })

  test('of datasets say what was reused and what that saved, also in a later process', async () => {
    const dir = fresh()
    const file = join(tempDir(), 'a.npz')
    writeRows(file, range(0, 60), 1024)
    for (let round = 0; round < 3; round++) {
      const cache = await smallCache(dir)
      const source = await npz(file)
      const dataset = await cache.dataset(source, steps)
      const { datasets } = await cache.stats()
      expect(datasets).toMatchObject({ built: 1, reused: round, itemsComputed: 60, itemsReused: 60 * round })
      if (round === 0) expect(datasets.secondsSaved).toBe(0)
      else expect(datasets.secondsSaved / round).toBeCloseTo(dataset.report.secondsSaved, 9)
      expect(dataset.report.secondsSaved > 0).toBe(round > 0)
      // Never more than the build took.
      expect(dataset.report.secondsSaved).toBeLessThanOrEqual(datasets.secondsComputed)
      await dataset.close()
      await cache.close()
      source.close()
    }
  })

  test('of several processes at once add up', async () => {
    const dir = fresh()
    const cache = await openCache({ dir, minFree: 0 })
    await cache.put('k', 1)
    const code = `
      const cache = await openCache({ dir: ${JSON.stringify(dir)}, minFree: 0 })
      for (let k = 0; k < 500; k++) {
        await cache.get('k')
        if (k % 50 === 0) await cache.stats()
      }
      await cache.close()`
    expect(await Promise.all(range(0, 4).map(() => child(code).done))).toEqual([0, 0, 0, 0])
    const { memory, disk } = await cache.stats()
    expect(memory.hits + disk.hits).toBe(2000)
    await cache.close()
  })

  test(`of a process that is killed are those until ${FLUSH_MS / 1000} s before`, async () => {
    const dir = fresh()
    const cache = await openCache({ dir, minFree: 0 })
    await cache.put('k', 1)
    const { said, kill, done } = child(`
      const cache = await openCache({ dir: ${JSON.stringify(dir)}, minFree: 0 })
      for (let k = 0; k < 100; k++) await cache.get('k')
      const counted = setInterval(() => {
        const { 'disk-hits': disk = 0, 'memory-hits': memory = 0 } = cache.store.tallies()
        if (disk + memory === 100) console.log('written')
      }, 20)`)
    await said('written')
    kill()
    await done
    const { memory, disk } = await cache.stats()
    expect(memory.hits + disk.hits).toBe(100)
    await cache.close()
  }, 60_000)

  test('of processes that only look are written without the writer thread, and summed up when there are many', async () => {
    const dir = fresh()
    const first = await openCache({ dir, minFree: 0 })
    await first.put('k', 1)
    await first.close()
    const waiting = async (): Promise<number> => {
      const tables = openTables(layoutOf(dir), { readOnly: true })
      const { entryCount } = tables.tallies.getStats() as { entryCount: number }
      await tables.root.close()
      return entryCount
    }
    const seen: number[] = []
    for (let k = 0; k < TALLY_PARTS + 10; k++) {
      const cache = await openCache({ dir, minFree: 0 })
      await cache.get('none')
      await cache.close()
      const looking = await openCache({ dir, readonly: true })
      expect((await looking.stats()).misses).toBe(k + 1)
      await looking.close()
      seen.push(await waiting())
    }
    expect(seen).toEqual([...range(1, TALLY_PARTS + 1), ...range(0, 10)])
  })

  test('that could not be written are written the next time', async () => {
    const cache = await openCache({ dir: fresh(), minFree: 0 })
    await cache.get('none')
    const full = vi.spyOn(cache.store, 'tally').mockRejectedValueOnce(new Error('full'))
    await expect(cache.stats()).rejects.toThrow('full')
    full.mockRestore()
    await cache.get('none')
    expect(await cache.stats()).toMatchObject({ misses: 2 })
    await cache.close()
  })
})
