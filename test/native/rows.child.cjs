// Scenes of rows.test.ts that need a process of their own: node rows.child.cjs <scene> <file>. The file holds ROWS rows of ROW bytes.
const { join } = require('node:path')
const { setTimeout: sleep } = require('node:timers/promises')
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads')
const { gzipSync } = require('node:zlib')

const addonPath = join(__dirname, '../../native/build/tensorcache.node')
const ROWS = 1024
const ROW = 4096
const PART = 256

/** Starts gathers of PART rows each and gives their promises. The first ones check chunks besides. */
async function gathers(path, count) {
  const { MappedFile, RowTable, VerifiedBlob, xxh64Chunks } = require(addonPath)
  const mapped = new MappedFile(path)
  const checksums = await xxh64Chunks(new Uint8Array(mapped.view(0, mapped.size)), 65536)
  const table = new RowTable([new VerifiedBlob(mapped, checksums, 65536)], new Float64Array(1), ROW, new Uint32Array(ROWS), Uint32Array.from({ length: ROWS }, (_, i) => i))
  return Array.from({ length: count }, (_, call) => {
    const indices = Float64Array.from({ length: PART }, (__, k) => (k * 31 + call * 97) % ROWS)
    return table.gather(indices, new Uint8Array(PART * ROW))
  })
}

/** The same with the other kind of work. */
function inflations(count) {
  const { Inflate } = require(addonPath)
  const raw = Buffer.from(Uint8Array.from({ length: 2 ** 18 }, (_, k) => k * k >> 5))
  const file = gzipSync(raw)
  return Array.from({ length: count }, () => new Inflate(file, raw.length, 0, true).read(0, new Uint8Array(raw.length)))
}

async function terminate(path, rounds) {
  for (let round = 0; round < rounds; round++) {
    const worker = new Worker(__filename, { workerData: path })
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject))
    await sleep(round % 5)
    await worker.terminate()
  }
}

const scenes = {
  // Nobody else has the addon, so that it may be unloaded with the worker.
  async worker(path) {
    await terminate(path, 10)
    console.log('alive')
  },

  // The main thread gathers meanwhile, and goes on when the workers are gone.
  async workers(path) {
    const results = []
    let ended = false
    const all = Promise.all([terminate(path, 10), terminate(path, 10)]).then(() => { ended = true })
    while (!ended) results.push(...await Promise.all(await gathers(path, 20)))
    await all
    results.push(...await Promise.all(await gathers(path, 20)))
    console.log(results.every((result) => result === -1) ? 'alive' : 'wrong')
  },

  async exit(path) {
    inflations(50)
    await gathers(path, 200)
    process.exit(7)
  },

  async exception(path) {
    await gathers(path, 200)
    throw new Error('thrown on purpose')
  },

  // Nothing but the gathers keeps the process; and what has been idle does so again.
  async idle(path) {
    let left = 2
    const again = async () => {
      const count = (await Promise.all(await gathers(path, 50))).length
      console.log(count)
      // The lane has been idle in between.
      if (--left > 0) setTimeout(again, 50)
    }
    again()
  },
}

if (isMainThread) {
  const [scene, path] = process.argv.slice(2)
  scenes[scene](path)
} else {
  const go = async () => {
    const started = [...await gathers(workerData, 100), ...inflations(50)]
    parentPort.postMessage('started')
    await Promise.all(started)
    go()
  }
  go()
}
