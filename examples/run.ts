// `npm start`: every example built cold into an empty cache, then opened again warm, up to the first batch both times.
import { rmSync } from 'node:fs'
import { openCache } from 'tensorcache'
import type { Example } from './example.js'
import { patterns } from './patterns/patterns.js'

const examples: readonly Example[] = [patterns]
const dir = '.tensorcache/examples'

interface Visit { readonly items: number; readonly computed: number; readonly seconds: number; readonly device: string; readonly digest: string }

async function visit(example: Example): Promise<Visit> {
  const began = performance.now()
  const cache = await openCache({ dir, minFree: 0 })
  const source = await example.source()
  const dataset = await cache.dataset(source, example.recipe, { name: example.name, namespace: 'examples' })
  for await (const batch of dataset.batches({ size: 32, shuffle: true, seed: 7 })) {
    if (batch.ids.length === 0) throw new Error('an empty batch')
    break
  }
  const seconds = (performance.now() - began) / 1000
  const { device } = dataset.provenance
  const result = { items: dataset.length, computed: dataset.report.computed, seconds, device: device === null ? '' : `${device.kind} (${device.name})`, digest: dataset.digest }
  source.close()
  await cache.close()
  return result
}

function print(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  for (const row of rows) console.log(row.map((cell, column) => cell.padEnd(widths[column]!)).join('   ').trimEnd())
}

rmSync(dir, { recursive: true, force: true })
const rows = [['example', 'items', 'cold', 'warm', 'speed-up', 'device', 'digest']]
for (const example of examples) {
  const cold = await visit(example)
  const warm = await visit(example)
  if (cold.computed !== cold.items || warm.computed !== 0 || warm.digest !== cold.digest) throw new Error(`${example.name}: the second visit was not a hit`)
  rows.push([example.name, String(cold.items), seconds(cold.seconds), seconds(warm.seconds), `${(cold.seconds / warm.seconds).toFixed(0)}×`, cold.device, cold.digest.slice(0, 16)])
}
console.log('\nEach example is built into an empty cache (cold), then opened again (warm), up to its first shuffled batch.\n')
print(rows)
for (const example of examples) console.log(`\n${example.name}: ${example.about}`)
console.log(`\nThe cache stays in ${dir}. Look inside: node dist/cli/main.js ls --cache-dir ${dir}`)

function seconds(value: number): string {
  return value < 1 ? `${(value * 1000).toFixed(1)} ms` : `${value.toFixed(2)} s`
}
