// One process of the kill tests: `node child.mjs '{"what":"fix","dir":…,"target":…}'` mends, reindexes, backs up or restores, and prints what came of it.
import { openCache, reindexCache, restoreCache } from '../../dist/index.js'

const { what, dir, target, force = true } = JSON.parse(process.argv[2])
const open = () => openCache({ dir, minFree: 0, memoryBudget: 6 * 2 ** 20 })

async function withCache(use) {
  const cache = await open()
  try {
    return await use(cache)
  } finally {
    await cache.close()
  }
}

const works = {
  fix: () => withCache((cache) => cache.verify({ fix: true, device: 'cpu' })),
  reindex: () => reindexCache(dir, { force }),
  backup: () => withCache((cache) => cache.backup(target)),
  restore: () => restoreCache(target, dir, { force: true }),
}
console.log(JSON.stringify(await works[what]()))
