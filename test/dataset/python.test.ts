import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { npz, type Tensor } from '../../src/index.js'
import { range, smallCache, steps, writeRows } from '../support/data.js'
import { tempDir } from '../support/temp.js'

// A reader that knows nothing but the safetensors specification: 8 bytes of length, JSON, data in the order of the offsets, no holes.
const READER = `
import hashlib, json, struct, sys
for path in sys.argv[1:]:
    data = open(path, 'rb').read()
    assert hashlib.sha256(data).hexdigest() == path.split('/')[-1]
    length, = struct.unpack('<Q', data[:8])
    assert length <= 100_000_000 and data[8:9] == b'{'
    header = json.loads(data[8:8 + length].decode())
    metadata = header.pop('__metadata__')
    assert all(isinstance(k, str) and isinstance(v, str) for k, v in metadata.items())
    sizes = dict(BOOL=1, U8=1, I8=1, U16=2, I16=2, F16=2, BF16=2, U32=4, I32=4, F32=4, U64=8, I64=8, F64=8)
    end, out = 0, dict(kind=metadata['tensorcache.kind'])
    for name, t in sorted(header.items(), key=lambda item: item[1]['data_offsets']):
        count = 1
        for extent in t['shape']: count *= extent
        begin, stop = t['data_offsets']
        assert begin == end and stop - begin == count * sizes[t['dtype']]
        end = stop
        if not name.startswith('tensorcache.'):
            out[name] = [t['dtype'], t['shape'], hashlib.sha256(data[8 + length + begin:8 + length + stop]).hexdigest()]
    assert 8 + length + end == len(data)
    print(json.dumps(out))
`

const python = spawnSync('python3', ['-c', '']).status === 0

describe.skipIf(!python)('shards', () => {
  test('are opened by Python by the plain safetensors rules, with the same tensors', async () => {
    const dir = tempDir()
    writeRows(join(dir, 'a.npz'), range(0, 12), 100)
    const cache = await smallCache(join(dir, 'cache'))
    const dataset = await cache.dataset(await npz(join(dir, 'a.npz')), steps)
    const all = async (field: string): Promise<string> => {
      const hash = createHash('sha256')
      for (let i = 0; i < dataset.length; i++) {
        const { data } = (await dataset.get(i))[field] as Tensor
        hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
      }
      return hash.digest('hex')
    }
    const root = join(dir, 'cache/blobs')
    const blobs = readdirSync(root).flatMap((folder) => readdirSync(join(root, folder)).map((name) => join(root, folder, name)))
    const { status, stdout, stderr } = spawnSync('python3', ['-c', READER, ...blobs], { encoding: 'utf8' })
    expect(status, stderr).toBe(0)
    const shards = stdout.trim().split('\n').map((line) => JSON.parse(line) as Record<string, unknown>).filter(({ kind }) => kind === 'shard')
    expect(shards).toEqual([{ kind: 'shard', x: ['F32', [12, 100], await all('x')], y: ['I32', [12], await all('y')] }])
    await cache.close()
  })
})
