import { setImmediate } from 'node:timers/promises'
import { sha256 } from '../core/hash.js'
import { native } from '../native/load.js'
import { brief } from './brief.js'
import { cifBlocks, holdsAtoms, type CifBlock } from './cif.js'
import { fault, type Where } from './cif-tokens.js'
import { crystalOf, numberOf, type Crystal, type CrystalOptions } from './crystal.js'
import { isAboutContent, type CrystalEntries, type LoadedEntries } from './crystal-entries.js'

export interface EntryOptions extends CrystalOptions {
  readonly block: number | string | undefined
  /** Columns of the properties, for messages. */
  readonly columns: readonly string[]
}

export interface Parts {
  readonly crystal: boolean
  readonly properties: boolean
}

/** What a place holds; of what was not asked for, nothing. */
export interface Entry {
  readonly crystal: Crystal | undefined
  readonly properties: Float32Array
}

/** Time on the event loop before others have their turn. */
const TURN_MS = 8

/** Parses what lies at a place. */
export class EntryReader {
  readonly #entries: CrystalEntries
  readonly #options: EntryOptions

  constructor(entries: CrystalEntries, options: EntryOptions) {
    this.#entries = entries
    this.#options = options
  }

  /** What lies at these places, in order. Throws FormatError or UnsupportedError; with `onBad`, tells it instead and goes on. */
  async *read(places: readonly number[], parts: Parts, signal?: AbortSignal, onBad?: (place: number, error: Error) => void): AsyncGenerator<Entry> {
    let began = performance.now()
    for (let at = 0; at < places.length;) {
      const loaded = await this.#entries.load(places.slice(at, at + PLACES_OFFERED), signal)
      for (let k = 0; k < loaded.count; k++, at++) {
        if (performance.now() - began > TURN_MS) {
          await setImmediate()
          signal?.throwIfAborted()
          began = performance.now()
        }
        let entry: Entry
        try {
          entry = this.#parse(places[at]!, loaded, k, parts)
        } catch (error) {
          if (onBad === undefined || !isAboutContent(error)) throw error
          onBad(places[at]!, error)
          continue
        }
        yield entry
      }
    }
  }

  /** SHA-256 of what lies at each of these places and how it is read: 32 bytes each. */
  async witnesses(places: readonly number[], reading: string, signal?: AbortSignal): Promise<Uint8Array> {
    const all: Uint8Array[] = []
    for (let at = 0; at < places.length;) {
      const loaded = await this.#entries.load(places.slice(at, at + PLACES_OFFERED), signal)
      const raw = Array.from({ length: loaded.count }, (_, k) => loaded.raw(k))
      const offsets = new Float64Array(loaded.count + 1)
      raw.forEach((bytes, k) => { offsets[k + 1] = offsets[k]! + bytes.byteLength })
      const { occupancy, siteTolerance, block } = this.#options
      const head = Buffer.from(JSON.stringify([reading, loaded.meaning, occupancy, siteTolerance, block ?? null]))
      all.push(await native().sha256Rows(loaded.count, [{ data: sha256(head), stride: 0 }, { data: Buffer.concat(raw), offsets }], 1))
      at += loaded.count
    }
    return Buffer.concat(all)
  }

  /** Reads everything once; what cannot be read is added to the reasons. */
  async tryAll(reasons: Map<number, Error>): Promise<void> {
    const places = Array.from({ length: this.#entries.length }, (_, place) => place).filter((place) => !reasons.has(place))
    const all = this.read(places, { crystal: true, properties: true }, undefined, (place, error) => { reasons.set(place, error) })
    for await (const _ of all);
  }

  #parse(place: number, loaded: LoadedEntries, k: number, parts: Parts): Entry {
    const where = this.#entries.where(place)
    const crystal = parts.crystal ? crystalOf(chosenBlock(loaded.cif(k), this.#options.block, where), this.#options, where) : undefined
    return { crystal, properties: parts.properties ? this.#properties(loaded.properties(k), where) : NONE }
  }

  #properties(texts: readonly string[], where: Where): Float32Array {
    return Float32Array.from(texts, (text, k) => {
      const value = Math.fround(numberOf(text.trim()))
      if (!Number.isFinite(value)) throw fault(where, `column ${brief(this.#options.columns[k])}`, 'a number that float32 can hold', brief(text))
      return value
    })
  }
}

/** Places that are offered to be loaded together: more than are taken. */
const PLACES_OFFERED = 1024
const NONE = new Float32Array(0)

function chosenBlock(text: string, wanted: number | string | undefined, where: Where): CifBlock {
  let position = 0
  const names: string[] = []
  for (const block of cifBlocks(text, where)) {
    if (!holdsAtoms(block)) continue
    if (typeof wanted === 'string' ? block.name === wanted : position === (wanted ?? 0)) return block
    if (names.length < 8) names.push(brief(block.name))
    position++
  }
  const expected = typeof wanted === 'string' ? `a data block ${brief(wanted)} with atoms` : wanted === undefined || wanted === 0 ? 'a data block with atoms' : `${wanted + 1} data blocks with atoms`
  throw fault(where, 'CIF', expected, position === 0 ? 'none' : `${position} (${names.join(', ')})`)
}
