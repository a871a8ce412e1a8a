// One process of the stress tests: everything that changes values, once or a few times each. `node values-work.mjs <dir> <namespace>`. Says what it asks for and what was
// acknowledged, as test/support/soundness.ts reads it. What fails with an error of ours is told and gone on from: `x <code>`.
import { openCache } from '../../dist/index.js'

const [dir, namespace] = process.argv.slice(2)
const say = (line) => process.stdout.write(`${line}\n`)
/** Small ones lie in the index, large ones in files. */
const valueOf = (n, large) => ({ n, data: new Float32Array(large ? 12_000 : 20).fill(n) })

async function attempt(work) {
  try {
    await work()
    return true
  } catch (error) {
    if (typeof error.code !== 'string') throw error
    say(`x ${error.code} ${error.message}`)
    return false
  }
}

async function put(cache, key, n, large, options = {}) {
  say(`? ${key} ${n}`)
  if (await attempt(() => cache.put(key, valueOf(n, large), { namespace, ...options }))) say(`+ ${key} ${n}`)
}

async function remove(cache, keys, work) {
  for (const key of keys) say(`? ${key} 0`)
  if (await attempt(work)) for (const key of keys) say(`+ ${key} 0`)
}

let cache
if (await attempt(async () => { cache = await openCache({ dir, minFree: 0, memory: 0 }) })) {
  await Promise.all(Array.from({ length: 8 }, (_, k) => put(cache, `small${k}`, 10 + k, false)))
  await Promise.all(Array.from({ length: 3 }, (_, k) => put(cache, `large${k}`, 20 + k, true, k === 2 ? { compression: 'gzip' } : {})))
  // The same file under two names, and entries that change their kind.
  await put(cache, 'twin', 20, true)
  await put(cache, 'old0', 31, true)
  await put(cache, 'old1', 32, false)
  await remove(cache, ['old2'], () => cache.delete('old2', { namespace }))
  await remove(cache, ['old3', 'large0'], () => Promise.all(['old3', 'large0'].map((key) => cache.delete(key, { namespace }))))
  for (const [key, n, large] of [['made0', 40, true], ['made1', 41, false], ['made0', 40, true]]) {
    say(`? ${key} ${n}`)
    let made
    if (await attempt(async () => { made = await cache.getOrCompute(key, () => valueOf(n, large), { namespace }) }) && made.n !== n) say(`! ${key} ${made.n}`)
  }
  const scope = cache.scope(`${namespace}/cycle`)
  await attempt(() => Promise.all([scope.put('a', valueOf(50, true)), scope.put('b', valueOf(51, false))]))
  await attempt(() => scope.dispose())
  // One value was damaged before.
  await attempt(() => cache.verify({ fix: true }))
  // What can be made again goes, and nothing else.
  for (const key of ['made0', 'made1']) say(`? ${key} 0`)
  await attempt(() => cache.prune({ maxSize: 0 }))
  await attempt(() => Promise.all(Array.from({ length: 5 }, (_, k) => cache.put(`c${k}`, valueOf(60 + k, k === 0), { namespace: `${namespace}/cleared` }))))
  await attempt(() => cache.clear({ namespace: `${namespace}/cleared` }))
  await put(cache, 'last', 70, true)
  await attempt(() => cache.close())
  say('.')
}
