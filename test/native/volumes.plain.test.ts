import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const here = fileURLToPath(new URL('.', import.meta.url))
const source = join(here, '../../native/src')

test('boxes and gzip members equal the slow way; damaged members are noticed, and nothing outside is touched', () => {
  const dir = mkdtempSync(join(tmpdir(), 'tensorcache-plain-'))
  try {
    const program = join(dir, 'plain')
    // As native/build.mjs compiles these files.
    const flags = process.arch === 'x64' ? ['-mpclmul', '-msse4.1'] : []
    const files = ['arrays/place.cc', 'inflate/stream.cc', 'inflate/gzip.cc', 'inflate/decoder.cc', 'inflate/tables.cc', 'hash/crc32.cc', 'hash/crc32.clmul.cc'].map((name) => join(source, name))
    execFileSync(process.env.CXX ?? 'c++', ['-std=c++20', '-O1', '-g', '-ffp-contract=off', '-fsanitize=address,undefined', '-fno-sanitize-recover=all', ...flags, `-I${source}`, join(here, 'volumes.plain.cc'), ...files, '-o', program])
    expect(execFileSync(program, { encoding: 'utf8' })).toBe('ok\n')
  } finally {
    rmSync(dir, { recursive: true, force: true })
  }
}, 120_000)
