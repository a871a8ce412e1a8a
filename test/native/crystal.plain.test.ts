import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const here = fileURLToPath(new URL('.', import.meta.url))
const source = join(here, '../../native/src')

test('Niggli reduction and neighbour lists keep their properties, and read and write nothing that is not theirs', () => {
  const dir = mkdtempSync(join(tmpdir(), 'tensorcache-plain-'))
  try {
    const program = join(dir, 'plain')
    const files = ['lattice', 'niggli', 'exact', 'candidates', 'neighbors'].map((name) => join(source, 'crystal', `${name}.cc`)).concat(join(source, 'memory/pool.cc'))
    execFileSync(process.env.CXX ?? 'c++', ['-std=c++20', '-O1', '-g1', '-ffp-contract=off', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', `-I${source}`, join(here, 'crystal.plain.cc'), ...files, '-o', program])
    expect(Number(execFileSync(program, { encoding: 'utf8' }))).toBeGreaterThan(150_000)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}, 300_000)
