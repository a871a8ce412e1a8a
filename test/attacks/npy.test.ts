import { describe, expect, test } from 'vitest'
import { UnsupportedError } from '../../src/core/errors.js'
import { file, npyBytes, npyHeader } from '../sources/write.js'
import { random } from '../sources/random.js'
import { expectRefused, use } from './refuse.js'

const DATA = Buffer.alloc(24)
const npy = (header: string, data: Uint8Array = DATA, version = 1, length?: number): string => file('x.npy', Buffer.concat([npyHeader(header, version, length), data]))
const dict = (shape: string, descr = '\'<f4\'', order = 'False'): string => `{'descr': ${descr}, 'fortran_order': ${order}, 'shape': ${shape}, }`

describe('.npy: the header as bytes', () => {
  test('magic only', () => expectRefused(file('x.npy', Buffer.from('\x93NUMPY', 'latin1')), /size/))
  test('cut in the version', () => expectRefused(file('x.npy', Buffer.from('\x93NUMPY\x01', 'latin1')), /size/))
  test('cut in the header length', () => expectRefused(file('x.npy', Buffer.from('\x93NUMPY\x02\x00\x76\x00', 'latin1')), /size/))
  test('version 0', () => expectRefused(npy(dict('(6,)'), DATA, 0), /version/))
  test('version 4', () => expectRefused(npy(dict('(6,)'), DATA, 4), /version/))
  test('minor version 1', () => {
    const bytes = Buffer.concat([npyHeader(dict('(6,)')), DATA])
    bytes[7] = 1
    return expectRefused(file('x.npy', bytes), /version/)
  })
  test('a header that is said to be longer than the file', () => expectRefused(npy(dict('(6,)'), DATA, 1, 60_000), /header length/))
  test('a header of 4 GiB', () => expectRefused(npy(dict('(6,)'), DATA, 2, 0xffffffff), /header length/))
  test('a header over the limit, all there', () => expectRefused(file('x.npy', Buffer.concat([npyHeader(' '.repeat(2 ** 20 + 1), 2), DATA])), /header length/))
  test('a header that ends within the dict', () => expectRefused(npy(dict('(6,)'), DATA, 1, 20), /header/))
  test('bytes that are no UTF-8 in version 3', () => {
    const bytes = Buffer.concat([npyHeader(dict('(6,)'), 3), DATA])
    bytes[20] = 0xff
    return expectRefused(file('x.npy', bytes), /UTF-8/)
  })
})

describe('.npy: the header as text', () => {
  const texts: Record<string, string> = {
    'empty': '',
    'a call': '__import__("os").system("true")',
    'a call as a value': dict('(6,)', '__import__("os")'),
    'an expression': dict('(2*3,)'),
    'a list, not a dict': '[1, 2]',
    'text after the dict': `${dict('(6,)')} 1`,
    'a key missing': '{\'descr\': \'<f4\', \'shape\': (6,)}',
    'a key too many': '{\'descr\': \'<f4\', \'fortran_order\': False, \'shape\': (6,), \'x\': 1}',
    'a key twice': '{\'descr\': \'<f4\', \'descr\': \'<f8\', \'fortran_order\': False, \'shape\': (6,)}',
    'a key that is no string': '{1: 2}',
    'a dict without an end': '{\'descr\': \'<f4\', ',
    'a string without an end': '{\'descr',
    'a missing colon': '{\'descr\' \'<f4\'}',
    'a missing comma': '{\'descr\': \'<f4\' \'fortran_order\': False}',
    'an unknown escape': '{\'\\q\': 1}',
    'a cut escape': '{\'\\x4\': 1}',
    'an escape beyond Unicode': '{\'\\U00110000\': 1}',
    'brackets 100,000 deep': '('.repeat(50_000),
    'a number of 10,000 digits': dict(`(${'9'.repeat(10_000)},)`),
    'order as a number': dict('(6,)', '\'<f4\'', '0'),
    'order as text': dict('(6,)', '\'<f4\'', '\'False\''),
    'None as order': dict('(6,)', '\'<f4\'', 'None'),
    'shape as a number': dict('(6)'),
    'shape as a list': dict('[6]'),
    'shape of text': dict('(\'6\',)'),
    'shape of floats': dict('(6.0,)'),
    'shape of booleans': dict('(True, 6)'),
    'descr as a number': dict('(6,)', '4'),
    'descr None': dict('(6,)', 'None'),
    'descr empty': dict('(6,)', '\'\''),
    'descr with two byte orders': dict('(6,)', '\'<>f4\''),
    'descr of a size that does not exist': dict('(6,)', '\'<f3\''),
    'descr of a kind that does not exist': dict('(6,)', '\'<q4\''),
    'descr with text after it': dict('(6,)', '\'<f4 \''),
  }
  for (const [name, text] of Object.entries(texts)) test(name, () => expectRefused(npy(text, DATA, 2), /header|descr|shape|order/))
})

describe('.npy: shapes', () => {
  const shapes: Record<string, string> = {
    'negative': '(-6,)',
    'two negatives whose product is right': '(-2, -3)',
    'an extent of 2^53': '(9007199254740992,)',
    'an extent of 2^64 + 6, which wraps to 6': '(18446744073709551622,)',
    'a product of 2^64 + ...': '(4294967296, 4294967296)',
    'a product that wraps to 6': '(6, 2305843009213693953, 8)',
    'a huge extent beside 0': '(0, 9007199254740991, 9007199254740991)',
    'more rows than there is data': '(7,)',
    'fewer rows than there is data': '(5,)',
    '2^40 rows': '(1099511627776,)',
    '65 axes': `(${'1,'.repeat(64)}6)`,
    '100,000 axes': `(${'1,'.repeat(100_000)})`,
  }
  for (const [name, shape] of Object.entries(shapes)) test(name, () => expectRefused(npy(dict(shape), DATA, 2), /shape|data/))
  test('data cut off', () => expectRefused(npy(dict('(6,)'), DATA.subarray(0, 23)), /data/))
  test('no data', () => expectRefused(npy(dict('(6,)'), Buffer.alloc(0)), /data/))
  test('junk behind the data', () => expectRefused(npy(dict('(6,)'), Buffer.alloc(25)), /data/))
  test('a second array behind the first', () => expectRefused(file('x.npy', Buffer.concat([npyBytes({ dtype: 'int8', shape: [1], data: Int8Array.of(1) }), npyBytes({ dtype: 'int8', shape: [1], data: Int8Array.of(2) })])), /data/))
})

describe('.npy: what is sound but not numbers is refused when used', () => {
  for (const descr of ['\'|O\'', '\'|S4\'', '\'<U6\'', '\'|V24\'', '\'<M8[ns]\'', '\'<m8[D]\'', '\'<f16\'', '\'<c32\'', '[(\'a\', \'<i4\'), (\'b\', \'<i8\')]', '(\'<f4\', (2,))']) {
    test(descr, () => expectRefused(npy(dict('(6,)', descr)), /array data/, UnsupportedError))
  }
  test('a pickle is never run', async () => {
    const pickle = Buffer.from('cos\nsystem\n(S\'touch /tmp/tensorcache-attacked\'\ntR.', 'latin1')
    await expectRefused(npy(dict('(1,)', '\'|O\''), pickle), /objects/, UnsupportedError)
  })
})

test('.npy: any byte changed, or any cut, is read or refused, never worse', async () => {
  const whole = npyBytes({ dtype: 'float32', shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) }, { fortran: true })
  const draw = random(31)
  for (let k = 0; k < 600; k++) {
    const bytes = Buffer.from(whole)
    if (k % 3 === 0) await tolerated(bytes.subarray(0, draw(bytes.length)))
    else {
      for (let times = 1 + draw(3); times > 0; times--) bytes[draw(128)] = draw(2) === 0 ? draw(256) : 0x20 + draw(96)
      await tolerated(bytes)
    }
  }
})

async function tolerated(bytes: Uint8Array): Promise<void> {
  await use(file('x.npy', bytes)).catch((error: { code?: string }) => { expect(['E_FORMAT', 'E_UNSUPPORTED'], String(error)).toContain(error.code) })
}
