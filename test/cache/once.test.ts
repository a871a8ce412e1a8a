import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { openCache } from '../../src/index.js'
import { tempDir } from '../support/temp.js'

test('of processes that ask for the same values at the same time one computes each', async () => {
  const dir = join(tempDir(), 'cache')
  await (await openCache({ dir, minFree: 0 })).close()
  const child = join(import.meta.dirname, 'once-child.mjs')
  const outputs = await Promise.all(Array.from({ length: 3 }, () => promisify(execFile)(process.execPath, [child, dir, '60'])))
  const computed = outputs.flatMap(({ stdout }) => JSON.parse(stdout) as number[])
  expect(computed.sort((a, b) => a - b)).toEqual(Array.from({ length: 60 }, (_, k) => k))
}, 60_000)
