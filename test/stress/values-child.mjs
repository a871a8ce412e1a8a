// Puts, reads, replaces and deletes values of its own until it is stopped, and tells what was acknowledged: a line before and after, as test/support/soundness.ts reads them.
import { openCache } from '../../dist/index.js'

const [dir, name, seed] = process.argv.slice(2)
const cache = await openCache({ dir, minFree: 0, memory: { bytes: 1e6, items: 20 } })
let state = Number(seed)
const random = (below) => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) % below
const valueOf = (n) => ({ n, data: new Float32Array(n % 5 === 0 ? 12_000 : n % 40).fill(n) })
const held = new Map()
const say = (line) => process.stdout.write(`${line}\n`)
const shared = { namespace: 'shared' }
for (let n = 1; ; n++) {
  const work = []
  for (let k = 0; k < 8; k++) {
    const key = `k${random(60)}-${k}`
    const number = n * 8 + k
    if (random(6) === 0) {
      say(`? ${key} 0`)
      work.push(cache.delete(key, { namespace: name }).then(() => { held.delete(key); say(`+ ${key} 0`) }))
    } else {
      say(`? ${key} ${number}`)
      work.push(cache.put(key, valueOf(number), { namespace: name }).then(() => { held.set(key, number); say(`+ ${key} ${number}`) }))
    }
  }
  await Promise.all(work)
  for (const [key, number] of [...held].slice(0, 3)) {
    const hit = await cache.get(key, { namespace: name })
    if (hit?.value.n !== number || hit.value.data.some((x) => x !== number)) { say(`! ${key} ${number}`); process.exit(3) }
  }
  // All children want the same ones: whoever computes, everybody gets that.
  const common = `c${random(4)}`
  const made = await cache.getOrCompute(common, () => valueOf(7 + 5 * Number(common.slice(1))), shared)
  if (made.n !== 7 + 5 * Number(common.slice(1))) { say(`! ${common} 0`); process.exit(3) }
  if (random(20) === 0) await cache.clear({ namespace: 'shared' })
  if (random(15) === 0) {
    const scope = cache.scope(`${name}/scope`)
    await scope.put('x', valueOf(5))
    await scope.dispose()
  }
}
