// Runs a model that takes a second and does what it is told meanwhile: see life.test.ts.
import { openCache, npz, recipe } from 'tensorcache'
import { closeModels, onnx } from 'tensorcache/onnx'

const [what, dir] = process.argv.slice(2)
const cache = await openCache({ dir: null })
const call = await onnx({ model: `${dir}/model.onnx`, batch: 1, threads: 1 })
const live = await cache.dataset(await npz(`${dir}/rows.npz`), recipe([call]), { cache: false })
if (what !== 'exit while it opens') await live.get(0)
if (what === 'ends by itself') console.log('done')
if (what === 'exit') process.exit(0)
if (what === 'exit while it runs' || what === 'exit while it opens') {
  void live.get(1)
  void live.get(2)
  setTimeout(() => process.exit(0), 50)
}
if (what === 'throws while it runs') {
  void live.get(1)
  setTimeout(() => { throw new Error('on purpose') }, 50)
}
if (what === 'does not block') {
  let ticks = 0
  const timer = setInterval(() => ticks++, 5)
  const began = performance.now()
  await live.get(1)
  const took = performance.now() - began
  clearInterval(timer)
  // Blocked, it would have ticked once.
  console.log(took > 100 && ticks > 5 ? 'free' : `blocked: ${ticks} ticks in ${took} ms`)
}
if (what === 'closes and opens again') {
  await closeModels()
  await live.get(1)
  await Promise.all([live.get(2), closeModels(), live.get(3)])
  await closeModels()
  console.log('again')
}
