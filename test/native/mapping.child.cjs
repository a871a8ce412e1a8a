// Scenes of mapping.test.ts that need a process of their own: node --expose-gc mapping.child.cjs <scene> <file>
const { readFileSync, truncateSync } = require('node:fs')
const { join } = require('node:path')
const { setTimeout: sleep } = require('node:timers/promises')
const { Worker } = require('node:worker_threads')

const addonPath = join(__dirname, '../../native/build/tensorcache.node')
const { MappedFile } = require(addonPath)
const [scene, path] = process.argv.slice(2)

const scenes = {
  async views() {
    let mapped = new MappedFile(path)
    for (let round = 0; round < 20; round++) {
      const views = []
      for (let k = 0; k < 1000; k++) views.push(new Uint8Array(mapped.view(k, (1 << 20) - 2 * k)))
      for (const view of views) if (view[round] !== 9) throw new Error('a view reads wrong')
      globalThis.gc()
      await sleep(0)
    }
    mapped.close()
    mapped = undefined
    for (let k = 0; k < 50 && readFileSync('/proc/self/maps', 'utf8').includes(path); k++) {
      globalThis.gc()
      await sleep(10)
    }
    console.log(readFileSync('/proc/self/maps', 'utf8').includes(path) ? 'still mapped' : 'unmapped')
  },

  async worker() {
    const source = `const { MappedFile } = require(${JSON.stringify(addonPath)}); new Uint8Array(new MappedFile(${JSON.stringify(path)}).view(0, 1))`
    // The addon of this thread keeps the library loaded; only in a process where no other thread has it would it be unloaded.
    for (let k = 0; k < 3; k++) await new Promise((resolve, reject) => new Worker(source, { eval: true }).on('exit', resolve).on('error', reject))
    const mapped = new MappedFile(path)
    truncateSync(path, 0)
    console.log(new Uint8Array(mapped.view(0, 10))[0] === 0 && mapped.faulted)
  },

  signal() {
    new MappedFile(path)
    process.kill(process.pid, 'SIGBUS')
    return sleep(2000)
  },

  async scattered() {
    const mapped = new MappedFile(path)
    truncateSync(path, 0)
    const view = new Uint8Array(mapped.view(0, 2 ** 31))
    // From the end, every other page, so that no two zeroed pages would join.
    for (let at = 2 ** 31 - 4096; at > 2 ** 31 - 200_000 * 8192; at -= 8192) if (view[at] !== 0) throw new Error('not zero')
    console.log(mapped.faulted)
  },
}
scenes[scene]()
