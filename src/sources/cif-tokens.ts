import { brief } from './brief.js'
import { FormatError } from '../core/errors.js'

/** Where a text comes from, for messages: `row 17 (mp-149)`, `block NaCl`. */
export interface Where { readonly file: string; readonly place: string }

export function fault({ file, place }: Where, detail: string, expected: string, found: string): FormatError {
  return new FormatError({ file, place: [place, detail].filter((part) => part !== '').join(': '), expected, found })
}

export const END = 0
export const TAG = 1
export const VALUE = 2
export const LOOP = 3
export const BLOCK = 4
export type Token = typeof END | typeof TAG | typeof VALUE | typeof LOOP | typeof BLOCK

const [TAB, NEWLINE, RETURN, SUBSTITUTE, SPACE, QUOTES, HASH, QUOTE, SEMICOLON, UNDERSCORE, DELETE] = [9, 10, 13, 26, 32, 34, 35, 39, 59, 95, 127]

/** Tokens of a CIF 1.1 text in one pass. Characters are looked at once, and nothing is copied before `value` is asked for. */
export class CifTokens {
  readonly #text: string
  readonly #where: Where
  #at = 0
  /** First character of the token with its delimiters, and where its content lies. */
  start = 0
  #from = 0
  #to = 0

  constructor(text: string, where: Where) {
    // Line ends of old Macs.
    this.#text = text.includes('\r') && !text.includes('\n') ? text.replaceAll('\r', '\n') : text
    this.#where = where
    if (this.#text.charCodeAt(0) === 0xfeff) this.#at = 1
  }

  /** Content of the token: of a tag its name, of a block what follows `data_`. */
  get value(): string {
    return this.#text.slice(this.#from, this.#to)
  }

  next(): Token {
    const text = this.#text
    const first = this.#skip()
    this.start = this.#at
    if (this.#at >= text.length) return END
    if (first === SEMICOLON && (this.#at === 0 || text.charCodeAt(this.#at - 1) === NEWLINE)) return this.#textField()
    if (first === QUOTE || first === QUOTES) return this.#quoted(first)
    this.#from = this.#at
    while (this.#at < text.length && text.charCodeAt(this.#at) > SPACE) this.#at++
    this.#to = this.#at
    if (first === UNDERSCORE) return TAG
    return this.#to - this.#from >= 5 && text.charCodeAt(this.#from + 4) === UNDERSCORE || text.charCodeAt(this.#from + 6) === UNDERSCORE ? this.#reserved() : VALUE
  }

  fault(expected: string, found: string, at = this.start): FormatError {
    let line = 1
    for (let k = this.#text.indexOf('\n'); k >= 0 && k < at; k = this.#text.indexOf('\n', k + 1)) line++
    return fault(this.#where, `line ${line} of the CIF`, expected, found)
  }

  /** Passes space and comments; returns the character that follows. */
  #skip(): number {
    const text = this.#text
    for (; this.#at < text.length; this.#at++) {
      let code = text.charCodeAt(this.#at)
      if (code === HASH) {
        const end = text.indexOf('\n', this.#at)
        this.#at = end < 0 ? text.length : end
        if (end < 0) return -1
        code = NEWLINE
      }
      if (code > SPACE && code !== DELETE) return code
      const isSpace = code === SPACE || (code >= TAB && code <= RETURN) || code === SUBSTITUTE
      if (!isSpace) throw this.fault('text', `the control character ${code}`, this.#at)
    }
    return -1
  }

  #textField(): Token {
    const end = this.#text.indexOf('\n;', this.#at)
    if (end < 0) throw this.fault('a text field that ends with ; at the beginning of a line', 'the end of the text')
    this.#from = this.#at + 1
    this.#to = end > this.#from && this.#text.charCodeAt(end - 1) === RETURN ? end - 1 : Math.max(end, this.#from)
    this.#at = end + 2
    return VALUE
  }

  /** A quote ends a string only before space: `'5'-end'` is one. */
  #quoted(quote: number): Token {
    const text = this.#text
    for (let at = this.#at + 1; at < text.length; at++) {
      const code = text.charCodeAt(at)
      if (code === NEWLINE) break
      if (code !== quote || (at + 1 < text.length && text.charCodeAt(at + 1) > SPACE)) continue
      this.#from = this.#at + 1
      this.#to = at
      this.#at = at + 1
      return VALUE
    }
    throw this.fault(`a string that ends with ${String.fromCharCode(quote)} on its line`, brief(text.slice(this.#at, this.#at + 100).split('\n', 1)[0]))
  }

  #reserved(): Token {
    const word = this.#text.slice(this.#from, Math.min(this.#to, this.#from + 7)).toLowerCase()
    if (word === 'loop_') return LOOP
    if (word.startsWith('data_')) {
      this.#from += 5
      return BLOCK
    }
    // What a dictionary or a STAR file of another kind has.
    if (word.startsWith('save_') || word === 'global_' || word === 'stop_') throw this.fault('a CIF', brief(this.value))
    return VALUE
  }
}
