import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const here = fileURLToPath(new URL('.', import.meta.url))
const source = join(here, '../../native/src')

test('portable hashes equal those with special instructions, and read nothing beyond the message', () => {
  const dir = mkdtempSync(join(tmpdir(), 'tensorcache-plain-'))
  try {
    const program = join(dir, 'plain')
    // As native/build.mjs compiles these files.
    const flags = process.arch === 'x64' ? ['-msha', '-mpclmul', '-msse4.1', '-mssse3'] : []
    const files = ['hash/sha256.cc', 'hash/sha256.shani.cc', 'hash/crc32.cc', 'hash/crc32.clmul.cc'].map((name) => join(source, name))
    execFileSync(process.env.CXX ?? 'c++', ['-std=c++20', '-O1', '-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', ...flags, `-I${source}`, join(here, 'hash.plain.cc'), ...files, '-o', program])
    expect(Number(execFileSync(program, { encoding: 'utf8' }))).toBeGreaterThan(5000)
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
})
