import { readFileSync } from 'node:fs'
import { decode } from 'gpt-tokenizer/encoding/r50k_base'
import { expect, test } from 'vitest'
import { corpus, END, LENGTH, pack, tokens } from '../../examples/tokens/tokens.js'
import { tempDir } from '../support/temp.js'

const documents = readFileSync(corpus, 'utf8').trim().split('\n').map((line) => (JSON.parse(line) as { text: string }).text)

test('of forty documents the edited one is tokenised again', async () => {
  const { tokenised, packed: { inputIds, segmentIds, attentionMask }, firstRow } = await tokens(tempDir())
  expect(tokenised).toEqual([40, 0, 1])
  const [rows] = inputIds.shape
  for (const { shape } of [inputIds, segmentIds, attentionMask]) expect(shape).toEqual([rows, LENGTH])
  // Every document is in the rows once, whole, and with its end.
  const found: string[] = []
  for (let r = 0; r < rows!; r++) {
    const segments = segmentIds.data.subarray(r * LENGTH, (r + 1) * LENGTH)
    for (let segment = 1; segment <= Math.max(...segments); segment++) {
      const ids = inputIds.data.subarray(r * LENGTH + segments.indexOf(segment), r * LENGTH + segments.lastIndexOf(segment) + 1)
      expect(ids.at(-1)).toBe(END)
      found.push(decode(ids.subarray(0, -1)))
    }
  }
  const edited = documents.map((text) => text.replace('Gallium melts in the hand.', 'Gallium melts in a warm hand, and caesium would too if it did not burn.'))
  expect(found.sort()).toEqual(edited.sort())
  expect(edited).not.toEqual(documents.sort())
  attentionMask.data.forEach((bit, i) => expect(bit === 1).toBe(segmentIds.data[i] !== 0))
  expect(firstRow).toContain('<|endoftext|>')
})

test('packing leaves no row that another fits into, and cuts what is longer than a row', () => {
  const { inputIds, segmentIds } = pack([60, 60, 100, 28, 8, 300].map((length, k) => new Int32Array(length).fill(k)))
  expect(inputIds.shape).toEqual([3, LENGTH])
  expect(Array.from({ length: 3 }, (_, r) => [...new Set(inputIds.data.subarray(r * LENGTH, (r + 1) * LENGTH))])).toEqual([[5], [2, 3], [0, 1, 4]])
  expect(Array.from({ length: 3 }, (_, r) => Math.max(...segmentIds.data.subarray(r * LENGTH, (r + 1) * LENGTH)))).toEqual([1, 2, 3])
})
