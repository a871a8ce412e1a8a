import { join } from 'node:path'
import { expect } from 'vitest'
import { runChild, writeInput } from './support.js'

/** Several processes build one dataset at the same time: each item is computed by exactly one of them, and all get the same bytes. */
export async function buildTogether(dir: string, processes: number, items: number): Promise<{ computed: number[] }> {
  const file = join(dir, 'input.npz')
  writeInput(file, items, 8192)
  const expected = (await runChild({ dir: join(dir, 'reference'), file })).output!
  const results = await Promise.all(Array.from({ length: processes }, () => runChild({ dir: join(dir, 'cache'), file })))
  for (const { output, stderr } of results) expect(output, stderr).toMatchObject({ digest: expected.digest, sums: expected.sums, items })
  const computed = results.map(({ output }) => output!.computed)
  expect(computed.reduce((sum, count) => sum + count, 0)).toBe(items)
  return { computed }
}
