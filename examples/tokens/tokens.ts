// Text for a language model: a .jsonl file of documents → tokens, one value of the cache per document → rows of a fixed length. A document's key is made of what the tokens depend on, the tokenizer and the
// text; so when one is edited, one is tokenised again.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { jsonl, keyOf, openCache, recipe, type Tensor } from 'tensorcache'
import { inExamples } from '../folder.js'

export interface TokensResult {
  readonly table: readonly (readonly string[])[]
  readonly tokenised: readonly number[]
  readonly packed: Packed
  /** A row in words: the text that its tokens stand for. */
  readonly firstRow: string
}

export interface Packed {
  /** int32 [rows, LENGTH]: documents one after the other, each with its end; END also fills the last row. */
  readonly inputIds: Tensor<'int32'>
  /** int32 [rows, LENGTH]: which document of its row a token belongs to, from 1; 0 where there is none. Tokens attend to those of their own document. */
  readonly segmentIds: Tensor<'int32'>
  /** bool [rows, LENGTH]: 1 for tokens, 0 for what only fills the row. */
  readonly attentionMask: Tensor<'bool'>
}

export const LENGTH = 128
const TOKENIZER = { name: 'r50k_base', package: 'gpt-tokenizer', version: 4 }
/** `<|endoftext|>` */
export const END = 50256

export const corpus = inExamples('tokens/corpus.jsonl')

export async function tokens(dir: string): Promise<TokensResult> {
  const path = join(dir, 'corpus.jsonl')
  const table = [['run', 'documents', 'tokenised', 'from the cache', 'rows of 128', 'filled', 'seconds']]
  const tokenised: number[] = []
  let packed: Packed | undefined
  const run = async (name: string): Promise<void> => {
    const began = performance.now()
    const { documents, computed, rows } = await tokenise(path, join(dir, 'cache'))
    packed = rows
    tokenised.push(computed)
    const filled = rows.attentionMask.data.reduce((sum, bit) => sum + bit, 0) / rows.attentionMask.data.length
    table.push([name, String(documents), String(computed), String(documents - computed), String(rows.inputIds.shape[0]), `${(100 * filled).toFixed(0)} %`, ((performance.now() - began) / 1000).toFixed(3)])
  }
  const text = readFileSync(corpus, 'utf8')
  writeFileSync(path, text)
  await run('cold')
  await run('warm')
  writeFileSync(path, text.replace('Gallium melts in the hand.', 'Gallium melts in a warm hand, and caesium would too if it did not burn.'))
  await run('one edited')
  const { decode } = await import('gpt-tokenizer/encoding/r50k_base')
  return { table, tokenised, packed: packed!, firstRow: decode(packed!.inputIds.data.subarray(0, LENGTH)) }
}

async function tokenise(path: string, dir: string): Promise<{ documents: number; computed: number; rows: Packed }> {
  const cache = await openCache({ dir, minFree: 0 })
  const source = await jsonl(path, { fields: { text: 'text' }, id: 'id' })
  // The texts as they are: items of a dataset, of which also only the edited one is read again.
  const corpus = await cache.dataset(source, recipe([]), { name: 'corpus', namespace: 'documents' })
  let computed = 0
  // Asked for all at once, so that what is computed is committed together.
  const waiting = Array.from({ length: corpus.length }, async (_, k) => {
    const { text: { data } } = await corpus.get(k) as unknown as { text: Tensor<'uint8'> }
    const text = new TextDecoder().decode(data)
    return cache.getOrCompute(keyOf(TOKENIZER, { prefix: 'tokens', content: text }), async () => {
      computed++
      // Loaded when there is something to do.
      const { encode } = await import('gpt-tokenizer/encoding/r50k_base')
      return Int32Array.from([...encode(text), END])
    }, { namespace: 'tokens/r50k_base', metadata: { tokenizerHash: TOKENIZER.name } })
  })
  const documents = await Promise.all(waiting)
  const rows = pack(documents)
  source.close()
  await cache.close()
  return { documents: documents.length, computed, rows }
}

/** First fit, longest first: as many whole documents to a row as there is room for. A document that is longer than a row is cut. */
export function pack(documents: readonly Int32Array[]): Packed {
  const rows: { used: number; documents: Int32Array[] }[] = []
  for (const document of [...documents].sort((a, b) => b.length - a.length)) {
    const part = document.subarray(0, LENGTH)
    let row = rows.find(({ used }) => used + part.length <= LENGTH)
    if (row === undefined) rows.push(row = { used: 0, documents: [] })
    row.documents.push(part)
    row.used += part.length
  }
  const shape = [rows.length, LENGTH]
  const inputIds = new Int32Array(rows.length * LENGTH).fill(END)
  const segmentIds = new Int32Array(rows.length * LENGTH)
  rows.forEach(({ documents: parts }, r) => {
    let at = r * LENGTH
    parts.forEach((part, k) => {
      inputIds.set(part, at)
      segmentIds.fill(k + 1, at, at + part.length)
      at += part.length
    })
  })
  return {
    inputIds: { dtype: 'int32', shape, data: inputIds },
    segmentIds: { dtype: 'int32', shape, data: segmentIds },
    attentionMask: { dtype: 'bool', shape, data: Uint8Array.from(segmentIds, (segment) => segment === 0 ? 0 : 1) },
  }
}
