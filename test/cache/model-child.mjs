// A second process for test/cache/model.test.ts: does what it is told with a cache of its own.
import { openCache } from '../../dist/index.js'

const cache = await openCache(JSON.parse(process.argv[2]))
const does = {
  put: (key, value, options) => cache.put(key, value, options),
  compute: (key, value, options) => cache.getOrCompute(key, () => value, options),
  get: async (key, options) => (await cache.get(key, options))?.value,
  has: (key, options) => cache.has(key, options),
  delete: (key, options) => cache.delete(key, options),
  clear: (options) => cache.clear(options),
  prune: (options) => cache.prune(options),
  keys: async (options) => {
    const keys = []
    for await (const key of cache.keys(options)) keys.push(key)
    return keys.sort()
  },
  scope: async (name, values) => {
    const scope = cache.scope(name)
    for (const [key, value] of values) await scope.put(key, value, { namespace: 'inner' })
    await scope.dispose()
  },
  close: () => cache.close(),
}
process.on('message', async ({ op, args }) => {
  try {
    process.send({ result: await does[op](...args) })
  } catch (error) {
    process.send({ error: error.stack })
  }
  if (op === 'close') process.disconnect()
})
process.send({ result: undefined })
