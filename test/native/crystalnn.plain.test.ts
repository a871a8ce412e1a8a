import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const here = fileURLToPath(new URL('.', import.meta.url))
const source = join(here, '../../native/src')

test('Voronoi cells fill awkward crystals, neighbours are complete, and graphs are symmetric', { timeout: 240_000 }, () => {
  const dir = mkdtempSync(join(tmpdir(), 'tensorcache-crystal-'))
  try {
    const program = join(dir, 'crystal')
    const files = ['lattice', 'exact', 'candidates', 'niggli', 'neighbors', 'periodic', 'voronoi', 'crystalnn', 'elements', 'batch'].map((name) => join(source, 'crystal', `${name}.cc`)).concat(join(source, 'memory/pool.cc'))
    execFileSync(process.env.CXX ?? 'c++', ['-std=c++20', '-O1', '-g', '-pthread', '-ffp-contract=off', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', `-I${source}`, join(here, 'crystalnn.plain.cc'), ...files, '-o', program])
    expect(Number(execFileSync(program, { encoding: 'utf8' }))).toBeGreaterThan(1000)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})
