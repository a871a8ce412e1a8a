import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { encodeBlob } from '../../src/store/shard-format.js'
import { ShardBuilder } from '../../src/dataset/shard-builder.js'

test('the bytes of a fixed shard', () => {
  const shard = new ShardBuilder()
  const fields = { x: { dtype: 'float32' as const, shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }, y: { dtype: 'int64' as const, shape: [2], data: BigInt64Array.of(5n, -6n) } }
  shard.add({ count: 2, fields }, new Uint8Array(64).fill(7), new Uint8Array(64).fill(9), ['first', 'zweiter ß'])
  const { tensors, chunkBytes } = shard.tensors()
  const hash = createHash('sha256')
  for (const segment of encodeBlob(tensors, { 'tensorcache.format': '1' }).parts) hash.update(segment)
  expect(chunkBytes).toBe(65536)
  expect(hash.digest('hex'), 'If this fails, shards written from now on differ from those of the same items in every existing cache. Raise the format version instead.')
    .toBe('766cc13c16521b021d29317507901b88689709a79866d201f85a4972c6b34d63')
})
