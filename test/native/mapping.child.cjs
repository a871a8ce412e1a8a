// Scenes of mapping.test.ts that need a process of their own: node --expose-gc mapping.child.cjs <scene> <file>
const { readFileSync, truncateSync, writeFileSync } = require('node:fs')
const { join } = require('node:path')
const { setTimeout: sleep } = require('node:timers/promises')
const { Worker } = require('node:worker_threads')

const addonPath = join(__dirname, '../../native/build/tensorcache.node')
const [scene, path] = process.argv.slice(2)

const scenes = {
  async views() {
    const { MappedFile } = require(addonPath)
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

  // The main thread does not load the addon, so that the end of the first worker is the end of the addon's last user.
  async worker() {
    const source = `
      const { MappedFile } = require(${JSON.stringify(addonPath)})
      const mapped = new MappedFile(${JSON.stringify(path)})
      require('node:fs').truncateSync(${JSON.stringify(path)}, 4096)
      const view = new Uint8Array(mapped.view(0, 8192))
      require('node:worker_threads').parentPort.postMessage([view[0], view[8191], mapped.faulted].join())`
    for (let k = 0; k < 2; k++) {
      writeFileSync(path, new Uint8Array(8192).fill(9))
      await new Promise((resolve, reject) => new Worker(source, { eval: true }).on('message', console.log).on('exit', resolve).on('error', reject))
    }
    process.kill(process.pid, 'SIGBUS')
    await sleep(2000)
  },

  signal() {
    const { MappedFile } = require(addonPath)
    new MappedFile(path)
    process.kill(process.pid, 'SIGBUS')
    return sleep(2000)
  },

  async scattered() {
    const { MappedFile } = require(addonPath)
    const mapped = new MappedFile(path)
    truncateSync(path, 0)
    const view = new Uint8Array(mapped.view(0, 2 ** 31))
    // From the end, every other page, so that no two zeroed pages would join.
    for (let at = 2 ** 31 - 4096; at > 2 ** 31 - 200_000 * 8192; at -= 8192) if (view[at] !== 0) throw new Error('not zero')
    console.log(mapped.faulted)
  },
}
scenes[scene]()
