// What does a cache with a million entries cost that nobody asked for? Opening it, pruning a tenth, and verifying what lies in files.
import { randomFillSync } from 'node:crypto'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { openCache } from 'tensorcache'
import { native, verifyStore } from './lib/internals.js'
import { inTurns, seconds, spread } from './lib/measure.js'
import { atMost, check, ofLimit, type Context, type Finding, type Question } from './lib/question.js'

const NAMESPACE = 'many'
const WINDOW = 8000

async function run(context: Context): Promise<Finding[]> {
  return [...await many(context), ...await verified(context)]
}

const value = (n: number): { score: number; ids: Int32Array } => ({ score: n / 3, ids: new Int32Array(16).fill(n) })

async function many({ dir, pick }: Context): Promise<Finding[]> {
  const count = pick({ tiny: 1000, quick: 200_000, full: 1_000_000 })
  const where = { dir: join(dir, 'many'), minFree: 0, memory: 0 }
  let cache = await openCache(where)
  const filled = await seconds(async () => {
    let next = 0
    await Promise.all(Array.from({ length: Math.min(WINDOW, count) }, async () => {
      while (next < count) {
        const n = next++
        await cache.put(`entry_${n}`, value(n), { namespace: NAMESPACE })
      }
    }))
  })
  await cache.close()

  const { open } = await inTurns(pick({ tiny: 1, quick: 5, full: 21 }), {
    open: async () => {
      const began = performance.now()
      const cache = await openCache(where)
      const hit = await cache.get<ReturnType<typeof value>>(`entry_${count - 1}`, { namespace: NAMESPACE })
      const took = performance.now() - began
      check(hit?.value.ids[15] === count - 1 && hit.value.score === (count - 1) / 3, 'the last value')
      await cache.close()
      return took
    },
  })

  cache = await openCache(where)
  const tenth = count / 10
  const times: number[] = []
  for (let round = 0; round < pick({ tiny: 1, quick: 3, full: 3 }); round++) {
    const { stored } = await cache.stats()
    const each = stored.bytes / stored.entries
    // All were made and read at about the same time, so their sizes decide how many have to go.
    let pruned = 0
    times.push(await seconds(async () => { pruned = (await cache.prune({ namespace: NAMESPACE, maxSize: Math.floor(stored.bytes - tenth * each) })).entries }))
    check(Math.abs(pruned - tenth) <= tenth / 20, `${pruned} entries pruned of ${tenth}`)
    check((await cache.stats()).stored.entries === stored.entries - pruned, 'what is left')
  }
  await cache.close()
  const name = count.toLocaleString('en')
  return [
    { what: `puts of 64 bytes and a number, ${WINDOW} under way, durable, until there are ${name}`, unit: '1/s', ours: spread([count / filled]), peers: [], limits: [], target: undefined },
    { what: `open with ${name} entries, to the first value`, unit: 'ms', ours: open, peers: [], limits: [], target: atMost(100, open, 'ms') },
    { what: `prune of ${tenth.toLocaleString('en')} entries of ${name}, the next and the next`, unit: 's', ours: spread(times), peers: [], limits: [], target: atMost(5, spread(times), 's') },
  ]
}

async function verified({ dir, pick }: Context): Promise<Finding[]> {
  const cache = await openCache({ dir: join(dir, 'files'), minFree: 0, memory: 0 })
  const [files, bytes] = pick({ tiny: [2, 100_000], quick: [32, 2 ** 23], full: [128, 2 ** 23] }) as [number, number]
  for (let n = 0; n < files; n++) await cache.put(`file_${n}`, randomFillSync(new Uint8Array(bytes)))
  const cores = availableParallelism()
  const plain = randomFillSync(new Uint8Array(2 ** 26))
  const results = await inTurns(pick({ tiny: 1, quick: 3, full: 11 }), {
    verify: async () => {
      let report: Awaited<ReturnType<typeof verifyStore>> | undefined
      const took = await seconds(async () => { report = await verifyStore(cache.store, { jobs: cores }) })
      check(report!.blobs === files && report!.damaged.length === 0 && report!.bytes >= files * bytes, 'nothing is damaged')
      return report!.bytes / 1e9 / took
    },
    // As many threads as verify has, so that whatever else keeps the cores busy meets both.
    sha: async () => plain.length * cores / 1e9 / await seconds(() => Promise.all(Array.from({ length: cores }, async () => {
      const hash = new (native().Sha256)()
      await hash.update(plain)
      return hash.digest()
    }))),
  })
  await cache.close()
  const limit = { ...results.sha, name: `SHA-256 of memory, ${cores} threads` }
  return [{
    what: `verify ${files} files of ${(bytes / 1e6).toFixed(1)} MB`, unit: 'GB/s', ours: results.verify, peers: [], limits: [limit], target: ofLimit(0.8, results.verify, limit, 'SHA-256'),
  }]
}

export const entries: Question = { name: 'entries', about: 'a cache with a million entries', run }
