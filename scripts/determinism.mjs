// `npm run test:determinism`: the long form of test/determinism on every adapter that Dawn finds here, and a record of it for each in bench/records/.
// Whoever has an adapter that docs/determinism.md does not name runs this and adds it there.
import { spawnSync } from 'node:child_process'
import { mkdtempSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, release, tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bootstrap } from './bootstrap.mjs'

bootstrap()
const root = fileURLToPath(new URL('..', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'tensorcache-determinism-'))
const begin = Date.now()
const { status } = spawnSync(process.execPath, ['node_modules/vitest/vitest.mjs', 'run', 'test/determinism', ...process.argv.slice(2)], {
  cwd: root, stdio: 'inherit', env: { ...process.env, TENSORCACHE_LONG: '1', TENSORCACHE_TALLY: folder },
})
const seconds = Math.round((Date.now() - begin) / 1000)

// Each test file has left a part: [{ facts, dawn, kernels: { name: { values, differingBits } } }].
const adapters = new Map()
for (const file of readdirSync(folder)) {
  for (const { facts, dawn, kernels } of JSON.parse(readFileSync(join(folder, file), 'utf8'))) {
    const all = adapters.get(facts.name) ?? { facts, dawn, kernels: {} }
    adapters.set(facts.name, all)
    for (const [kernel, { values, differingBits }] of Object.entries(kernels)) {
      const sum = all.kernels[kernel] ??= { values: 0, differingBits: 0 }
      sum.values += values
      sum.differingBits += differingBits
    }
  }
}
rmSync(folder, { recursive: true })

const commit = spawnSync('git', ['rev-parse', '--short', 'HEAD'], { cwd: root, encoding: 'utf8' }).stdout?.trim() || undefined
const at = new Date().toISOString()
mkdirSync(join(root, 'bench/records'), { recursive: true })
for (const { facts, dawn, kernels } of adapters.values()) {
  const { name, vendor, architecture, driver, software, limits } = facts
  const slug = name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-').replaceAll(/^-|-$/g, '')
  const path = join('bench/records', `determinism-${at.slice(0, 10)}-${slug}.json`)
  const sorted = Object.fromEntries(Object.entries(kernels).sort(([a], [b]) => a < b ? -1 : 1))
  writeFileSync(join(root, path), `${JSON.stringify({
    format: 1, at, commit, passed: status === 0, seconds,
    adapter: { name, vendor, architecture, driver, software, limits }, dawn, node: process.version, cpu: cpus()[0]?.model, system: `${process.platform} ${release()}`,
    kernels: sorted,
  }, null, 1)}\n`)
  console.log(`${path}: ${Object.values(kernels).reduce((sum, { values }) => sum + values, 0)} values through ${Object.keys(kernels).length} kernels, ${Object.values(kernels).reduce((sum, { differingBits }) => sum + differingBits, 0)} bits differ`)
}
if (adapters.size === 0) console.error('No adapter was found; the CPU alone was compared with the reference.')
process.exitCode = status ?? 1
