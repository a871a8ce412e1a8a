// Asks for the same values as its siblings, in the same order, and says what it computed itself.
import { openCache } from '../../dist/index.js'

const [dir, count] = process.argv.slice(2)
const cache = await openCache({ dir, minFree: 0 })
const computed = []
for (let k = 0; k < Number(count); k++) {
  await cache.getOrCompute(`v${k}`, async () => {
    computed.push(k)
    await new Promise((resolve) => { setTimeout(resolve, 3) })
    return { k, data: new Float32Array(k % 3 === 0 ? 12_000 : 10).fill(k) }
  })
}
await cache.close()
console.log(JSON.stringify(computed))
